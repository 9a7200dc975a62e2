"""Tokens, positions, grids and pixels of families on Qwen3-VL and Qwen2.5-VL are those of the originals."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from golden_families import CHECKPOINTS, PROFILES, check_media, qwen2_5_vl_input, qwen3_vl_input, read
from transformers import AutoTokenizer

from vlm2vec import Limits
from vlm2vec.encoding.plan import Planned, Planner
from vlm2vec.encoding.prepare import Prepared, Preparer
from vlm2vec.encoding.prompt import with_role
from vlm2vec.inputs.parse import parse_input

QWEN3_CASES, QWEN3_SAID, QWEN3_NUMBERS = read("golden_qwen3_vl")
QWEN2_5_CASES, QWEN2_5_SAID, QWEN2_5_NUMBERS = read("golden_qwen2_5_vl")


@functools.cache
def preparer_of(name: str) -> Preparer:
    tokenizer = AutoTokenizer.from_pretrained(CHECKPOINTS[name])
    return Preparer(Planner(tokenizer, PROFILES[name], Limits(), 32_768))


def check(
    ready: Prepared, planned: Planned, name: str, said: dict[str, Any], numbers: dict[str, Any]
) -> None:
    assert ready.token_ids.tolist() == numbers[f"input_ids/{name}"].tolist()
    if f"position_ids/{name}" in numbers:
        assert ready.positions.T.tolist() == numbers[f"position_ids/{name}"].tolist()
    assert planned.tokens == len(ready.token_ids)
    assert sum(piece.patches for piece in planned.media.values()) == sum(
        len(visual.patches) for visual in {visual.digest: visual for visual in ready.visuals}.values()
    )


@pytest.mark.parametrize("name", [name for name in QWEN3_CASES if name != "text_control"])
def test_qwen3_vl(name: str) -> None:
    preparer = preparer_of("qwen3_vl")
    item = parse_input(qwen3_vl_input(QWEN3_CASES[name]))
    (planned,) = preparer.planner.plan([(0, item)])
    assert isinstance(planned, Planned)
    ready = preparer(item)
    check(ready, planned, name, QWEN3_SAID[name], QWEN3_NUMBERS)
    check_media(ready, QWEN3_SAID[name], preparer.planner.profile.pixels)


@pytest.mark.parametrize("name", QWEN2_5_CASES)
def test_qwen2_5_vl(name: str) -> None:
    case = QWEN2_5_CASES[name]
    preparer = preparer_of(case["set"])
    item = parse_input(qwen2_5_vl_input(case), instruction=case.get("system"))
    if case.get("kind") == "query":
        item = with_role(item, "query")
    (planned,) = preparer.planner.plan([(0, item)])
    assert isinstance(planned, Planned)
    ready = preparer(item)
    check(ready, planned, name, QWEN2_5_SAID[name], QWEN2_5_NUMBERS)
    check_media(ready, QWEN2_5_SAID[name], preparer.planner.profile.pixels)
