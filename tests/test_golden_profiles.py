"""Ops-MM-v1 and RzenEmbed give the tokens, pixels, positions and vectors of plain transformers.

The numbers and the command that makes them anew are in `data/golden_profiles`.
"""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden_cases import GOLDEN
from safetensors.torch import load_file

from vlm2vec import VLM2Vec

FOLDER = Path(__file__).parent / "data" / "golden_profiles"
CASES = {case["id"]: case for case in json.loads((FOLDER / "cases.json").read_text(encoding="utf-8"))}
SAID = json.loads((FOLDER / "golden.json").read_text(encoding="utf-8"))
NUMBERS = load_file(FOLDER / "golden.safetensors")
PROFILES = {"ops": "ops-mm-v1", "rzen": "rzenembed"}


@functools.cache
def model_of(family: str) -> VLM2Vec:
    return VLM2Vec(GOLDEN / "tiny_qwen2vl", profile=PROFILES[family], device="cpu")


def public_input(case: dict[str, Any]) -> dict[str, Any]:
    """A case as users give it."""
    given: dict[str, Any] = {}
    if "images" in case:
        given["images"] = [GOLDEN / "inputs" / image for image in case["images"]]
    if "frames" in case:
        folder = GOLDEN / "inputs" / case["frames"]
        given["video"] = [folder / f"frame_{number + 1}.png" for number in range(case["count"])]
    return given | {key: case[key] for key in ("text", "instruction") if key in case}


def test_there_are_12_cases() -> None:
    assert len(CASES) == 12 == sum(name.startswith("emb/") for name in NUMBERS)


@pytest.mark.parametrize("name", CASES)
def test_tokens_positions_and_pixels_are_those_of_plain_transformers(name: str) -> None:
    features = model_of(CASES[name]["family"]).preprocess([public_input(CASES[name])])
    assert features["input_ids"][0].tolist() == NUMBERS[f"input_ids/{name}"].tolist()
    assert features["position_ids"][0].T.tolist() == NUMBERS[f"position_ids/{name}"].tolist()
    if "image_grid_thw" in SAID[name]:
        assert features["image_grid_thw"].tolist() == SAID[name]["image_grid_thw"]
        # One of a still's two temporal slices is kept, and they are equal.
        slices = features["pixel_values"].numpy().reshape(-1, 3, 1, 14 * 14)
        digest = hashlib.sha256(np.repeat(slices, 2, axis=2).tobytes()).hexdigest()
        assert digest == SAID[name]["pixel_values_sha256_of_uint8"]


@pytest.mark.parametrize("name", CASES)
def test_vectors_are_those_of_plain_transformers(name: str) -> None:
    vector = model_of(CASES[name]["family"]).encode(public_input(CASES[name]))
    expected = NUMBERS[f"emb/{name}"].numpy()
    assert float(vector @ expected) >= 0.99999
    np.testing.assert_allclose(vector, expected, rtol=0, atol=1e-6)
