"""The inputs and numbers of the original code of families that run transformers' own forward."""

from __future__ import annotations

import functools
import json
import re
from dataclasses import replace
from typing import Any

from golden_cases import GOLDEN
from safetensors.torch import load_file

from vlm2vec import VLM2Vec, profiles
from vlm2vec.profiles import Profile

DATA = GOLDEN.parent
INPUTS = GOLDEN / "inputs"
FAMILIES = {
    "llava_next": "vlm2vec-v1-llava-next",
    "llava_onevision": "unime-v2-llava-onevision",
    "phi3v": "vlm2vec-v1-phi3v",
}
"""Network -> profile of its golden vectors."""


def checkpoint(family: str) -> Any:
    return DATA / f"golden_{family}" / f"tiny_{family}"


def cases(family: str) -> dict[str, dict[str, Any]]:
    listed = json.loads((DATA / f"golden_{family}" / "cases.json").read_text(encoding="utf-8"))
    return {case["id"]: case for case in listed}


@functools.cache
def numbers(family: str) -> dict[str, Any]:
    return dict(load_file(DATA / f"golden_{family}" / "golden.safetensors"))


def profile_of(family: str, case: dict[str, Any]) -> Profile:
    """The profile, with the resizing or the crops of a case."""
    profile = profiles.get(FAMILIES[family])
    changes: dict[str, Any] = {"fixed_size": tuple(case["resize"])} if case.get("resize") else {}
    changes |= {"crops": case["num_crops"]} if case.get("num_crops") else {}
    return replace(profile, pixels=replace(profile.pixels, **changes))


def input_of(case: dict[str, Any]) -> dict[str, Any]:
    """A case as users give an exact prompt."""
    prompt = re.sub(r"<image>|<\|image_\d+\|>", "<|image_pad|>", case["text"])
    given: dict[str, Any] = {"prompt": prompt.replace("<video>", "<|video_pad|>")}
    if case["images"]:
        given["images"] = [INPUTS / file for file in case["images"]]
    if case.get("video"):
        given["video"] = [INPUTS / file for file in case["video"]]
    return given


def load(family: str) -> VLM2Vec:
    """A model of its own, which a test may change."""
    return VLM2Vec(checkpoint(family), profile=FAMILIES[family], device="cpu", dtype="float32")


@functools.cache
def model_of(family: str) -> VLM2Vec:
    return load(family)


def token_ids(family: str, case: dict[str, Any]) -> list[int]:
    """The ids that the network sees, media at their length."""
    import torch

    from vlm2vec.backbones.stock.forward import media_features
    from vlm2vec.encoding.unpacked import Unpacked
    from vlm2vec.inputs.parse import parse_input

    module = model_of(family)[0]
    ready = module.preparer_of(profile_of(family, case))(parse_input(input_of(case)))
    batch = Unpacked([ready], pooled_only=True, has_positions=False)
    with torch.no_grad():
        features = {key: media_features(module.model, medium) for key, medium in batch.media.items()}
    found: list[int] = batch.rows(features, torch.device("cpu"))[0].token_ids.tolist()
    return found
