"""Prompts of all families give the token ids of the originals, medium by medium.

The numbers are in `data/golden_qwen3_vl`, `data/golden_qwen2_5_vl` and `data/golden_profiles`. Clips that
become several blocks are left to the tests of the planner, which knows how many. Here, media have as many
tokens as the golden data say.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import pytest
from golden_cases import GOLDEN
from safetensors.torch import load_file
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from vlm2vec import profiles
from vlm2vec.encoding.prompt import Control, Plain, lay_out, with_role
from vlm2vec.inputs.parse import parse_input
from vlm2vec.inputs.parts import Clip
from vlm2vec.profiles import Profile

DATA = GOLDEN.parent
TOKENIZERS = {
    "golden_qwen3_vl": DATA / "golden_qwen3_vl" / "tiny_qwen3vl",
    "golden_qwen2_5_vl": DATA / "golden_qwen2_5_vl" / "tiny_qwen2_5_vl",
    "golden_profiles": GOLDEN / "tiny_qwen2vl",
}
CHAT = replace(
    profiles.get("gme-qwen2vl"),
    name="chat",
    network="qwen2_5_vl",
    suffix="<|im_end|>\n<|im_start|>assistant\n",
    positions="mrope_time",
)
"""The chat prompt of Qwen2.5-VL as it stands, which no embedding model here has."""
PROFILES = {
    "biqwen": profiles.get("nomic-multimodal"),
    "chat_mrope": CHAT,
    "plain_1d": profiles.get("vlm2vec-v2-qwen2.5vl"),
    "lamra_1d": profiles.get("lamra-ret-qwen2.5vl"),
    "ops": profiles.get("ops-mm-v1"),
    "rzen": profiles.get("rzenembed"),
}
# The first is tokenised otherwise on purpose, the second is an error here.
NOT_TAKEN_OVER = ("text_control", "empty")


@dataclass(frozen=True)
class Case:
    """What the original was given, as this package is given it."""

    folder: str
    name: str
    profile: Profile
    given: Any
    instruction: str | None = None
    task: str | None = None


def picture(name: str) -> Path:
    return GOLDEN / "inputs" / name


def said(text: str) -> str:
    if not text.startswith("@corpus:"):
        return text
    corpus = (GOLDEN / "inputs" / "corpus.txt").read_text(encoding="utf-8")
    return corpus[: int(text.removeprefix("@corpus:"))]


def frames(case: dict[str, Any]) -> list[Path]:
    folder = GOLDEN / "inputs" / case["frames"]
    return [folder / f"frame_{number + 1}.png" for number in range(case["count"])]


def several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def cases_of_qwen3_vl(case: dict[str, Any]) -> Case | None:
    given = case["input"]
    if "video" in given or case["id"] in NOT_TAKEN_OVER:
        return None
    texts = [said(text) for text in several(given.get("text", []))]
    images = [picture(image) for image in several(given.get("image", []))]
    parts = [*texts, *images]  # the profile puts them in order
    profile = profiles.get("qwen3-vl-embedding")
    return Case("golden_qwen3_vl", case["id"], profile, parts, given.get("instruction"))


def cases_of_qwen2_5_vl(case: dict[str, Any]) -> Case | None:
    profile, task, system = PROFILES[case["set"]], None, case.get("system")
    given: Any
    if "prompt" in case:
        given = {"prompt": case["prompt"]}
        given |= {"images": [picture(image) for image in case["images"]]} if "images" in case else {}
        given |= {"video": frames(case), "num_frames": case["count"]} if "frames" in case else {}
    elif case["set"] == "biqwen":
        task = case["kind"]
        given = [said(case["text"])] if "text" in case else [picture(image) for image in case["images"]]
    else:
        given = []
        for part in case["content"]:
            if "file" in part:
                return None
            if part["type"] == "text":
                given.append(said(part["text"]))
            elif part["type"] == "image":
                given.append({"image": picture(part["image"])})
            else:
                given.append({"video": frames(part)})
    return Case("golden_qwen2_5_vl", case["id"], profile, given, system, task)


def cases_of_profiles(case: dict[str, Any]) -> Case | None:
    images = [picture(image) for image in case.get("images", [])]
    images += frames(case) if "frames" in case else []
    texts = [case["text"]] if "text" in case else []
    parts = [*images, *texts]
    return Case("golden_profiles", case["id"], PROFILES[case["family"]], parts, case.get("instruction"))


def cases() -> Iterator[Case]:
    for folder, case_of in (
        ("golden_qwen3_vl", cases_of_qwen3_vl),
        ("golden_qwen2_5_vl", cases_of_qwen2_5_vl),
        ("golden_profiles", cases_of_profiles),
    ):
        for case in json.loads((DATA / folder / "cases.json").read_text(encoding="utf-8")):
            if found := case_of(case):
                yield found


@functools.cache
def golden(folder: str) -> tuple[PreTrainedTokenizerBase, dict[str, Any], dict[str, Any]]:
    report = json.loads((DATA / folder / "golden.json").read_text(encoding="utf-8"))
    numbers = load_file(DATA / folder / "golden.safetensors")
    return AutoTokenizer.from_pretrained(TOKENIZERS[folder]), report, numbers


def token_ids(case: Case) -> list[int]:
    """Those of the segments, tokenised as the planner does."""
    tokenizer, report, _ = golden(case.folder)
    grids = {
        "<|image_pad|>": iter(report[case.name].get("image_grid_thw", [])),
        "<|video_pad|>": iter(report[case.name].get("video_grid_thw", [])),
    }
    item = with_role(parse_input(case.given, instruction=case.instruction), case.task)
    ids: list[int] = []
    for segment in lay_out(item, case.profile):
        if isinstance(segment, Plain | Control):
            plain = isinstance(segment, Plain)
            ids += tokenizer(segment.text, add_special_tokens=False, split_special_tokens=plain)["input_ids"]
        else:
            pad = "<|video_pad|>" if isinstance(segment, Clip) else "<|image_pad|>"
            ids += [tokenizer.convert_tokens_to_ids(pad)] * (prod(next(grids[pad])) // 4)
    return ids


@pytest.mark.parametrize("case", list(cases()), ids=lambda case: case.name)
def test_token_ids_are_those_of_the_original(case: Case) -> None:
    assert token_ids(case) == golden(case.folder)[2][f"input_ids/{case.name}"].tolist()


def test_every_case_without_such_a_clip_is_here() -> None:
    assert {name: sum(case.folder == name for case in cases()) for name in TOKENIZERS} == {
        "golden_qwen3_vl": 11,
        "golden_qwen2_5_vl": 21,
        "golden_profiles": 12,
    }
