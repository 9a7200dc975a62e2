"""What a stored vector depends on is compared, and named where it differs; what changes no vector is not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from golden_cases import GOLDEN

from vlm2vec import VLM2Vec, profiles
from vlm2vec.errors import IndexMismatchError
from vlm2vec.media.limits import Limits
from vlm2vec.vectors_identity import VectorsIdentity

TINY = GOLDEN / "tiny_qwen2vl"


@pytest.fixture(scope="module")
def kept() -> VectorsIdentity:
    return VectorsIdentity.of(VLM2Vec(device="cpu"))


def test_it_is_the_same_after_a_file(kept: VectorsIdentity) -> None:
    read = VectorsIdentity.from_dict(json.loads(json.dumps({**kept.as_dict(), "later": 1})))
    assert read.differences(kept) == []
    assert kept.differences(read) == []


def test_what_changes_no_vector_is_not_compared(kept: VectorsIdentity, tmp_path: Path) -> None:
    model = VLM2Vec(device="cpu", limits=Limits(max_pages=3))
    model.prompts["query"] = "Find something else."
    model.encode(["some", "words"], max_tokens_per_batch=64)
    assert kept.differences(VectorsIdentity.of(model)) == []
    model.save_pretrained(str(tmp_path))
    assert kept.differences(VectorsIdentity.of(VLM2Vec(tmp_path, device="cpu"))) == []
    renamed = replace(kept, profile={**kept.profile, "name": "other", "query_instruction": "Find it."})
    assert kept.differences(renamed) == []


def test_weights_that_changed_in_place_are_other_weights(kept: VectorsIdentity) -> None:
    model = VLM2Vec(device="cpu")
    assert kept.differences(VectorsIdentity.of(model)) == []
    with torch.no_grad():
        next(model.parameters()).add_(1e-3)
    (difference,) = kept.differences(VectorsIdentity.of(model))
    assert difference.startswith("weights are of ")


def test_each_difference_is_named(kept: VectorsIdentity) -> None:
    model = VLM2Vec(device="cpu", dtype="bfloat16")
    assert kept.differences(VectorsIdentity.of(model)) == ["dtype is 'float32' there, and 'bfloat16' here"]
    now = replace(
        kept,
        instruction="Describe it.",
        dimensions=64,
        profile={**kept.profile, "num_frames": 16, "pixels": {**kept.profile["pixels"], "max_pixels": 99}},
        settings={"segment_seconds": 5},
    )
    with pytest.raises(IndexMismatchError) as caught:
        kept.check(now, source="photos", error=IndexMismatchError, fix="Reindex.")
    assert str(caught.value) == (
        "photos: the vectors there are others: dimensions is 224 there, and 64 here; instruction is "
        "'Represent the content.' there, and 'Describe it.' here; profile.pixels.max_pixels is 19208 there, "
        "and 99 here; profile.num_frames is 8 there, and 16 here; segment_seconds is not set there, and 5 "
        "here. Reindex."
    )


def test_another_model_and_profile_are_named() -> None:
    first = VectorsIdentity.of(VLM2Vec(TINY, profile="vlm2vec-v2", device="cpu"))
    second = VectorsIdentity.of(VLM2Vec(TINY, profile="gme-qwen2vl", device="cpu"))
    assert first.differences(second)[0] == "profile is vlm2vec-v2 there, and gme-qwen2vl here"
    other = replace(first, weights="0", model="owner/name", revision="0123456789abcdef")
    assert first.differences(other) == [
        f"weights are of {TINY} there, and of owner/name at 0123456789ab here",
    ]


def test_versions_count_for_the_kinds_that_there_are_vectors_of(kept: VectorsIdentity) -> None:
    now = replace(kept, versions={**kept.versions, "pdf": 7})
    assert kept.differences(now) == ["VECTORS_VERSION of pdf is 1 there, and 7 here"]
    assert kept.differences(now, kinds={"image", "pdf"}) != []
    assert kept.differences(now, kinds={"image", "text"}) == []
    network = replace(kept, versions={**kept.versions, "qwen2_vl": 7})
    assert kept.differences(network, kinds={"image"}) == [
        "VECTORS_VERSION of qwen2_vl is 1 there, and 7 here"
    ]


def test_all_profiles_are_plain_values() -> None:
    for name in profiles.names():
        assert json.loads(json.dumps(profiles.get(name).as_dict()))
