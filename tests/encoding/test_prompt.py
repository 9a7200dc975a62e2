"""Prompts as the families write them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vlm2vec import profiles
from vlm2vec.encoding.prompt import (
    IMAGE_TOKEN,
    VIDEO_TOKEN,
    Control,
    Plain,
    lay_out,
    with_default_instruction,
)
from vlm2vec.inputs.parse import parse_input
from vlm2vec.inputs.parts import Clip

IMAGE = np.zeros((28, 28, 3), np.uint8)
CLIP = np.zeros((2, 28, 28, 3), np.uint8)

V2 = [
    ("a text", None, "a text"),
    ("a text", "Find:", "Find: a text"),
    (IMAGE, None, "<|image_pad|>"),
    (IMAGE, "Represent the image.", "<|image_pad|> Represent the image."),
    ({"image": IMAGE, "text": "what?"}, "Answer:", "<|image_pad|> Answer: what?"),
    ({"text": "what?", "image": IMAGE}, "Answer:", "Answer: what? <|image_pad|>"),
    ({"images": [IMAGE, IMAGE], "text": "same?"}, None, "<|image_pad|> <|image_pad|> same?"),
    (CLIP, "Represent the video.", "<|video_pad|> Represent the video."),
    ([IMAGE, "a", CLIP, "b "], None, "<|image_pad|> a <|video_pad|> b "),
    ({"image": IMAGE, "text": ""}, None, "<|image_pad|>"),
    ({"prompt": "<|image_pad|>\nx\n", "image": IMAGE}, None, "<|image_pad|>\nx\n"),
]
EMBEDDED = [
    ("a text", "Find:", "Find:\na text<|im_end|>"),
    (
        {"image": IMAGE, "text": "what?"},
        None,
        "<|vision_start|><|image_pad|><|vision_end|> what?<|im_end|>",
    ),
    (CLIP, "See:", "See:\n<|vision_start|><|video_pad|><|vision_end|><|im_end|>"),
]


def written(given: Any, instruction: str | None, profile: str) -> str:
    segments = lay_out(parse_input(given, instruction=instruction), profiles.get(profile))
    return "".join(
        segment.text
        if isinstance(segment, Plain | Control)
        else VIDEO_TOKEN
        if isinstance(segment, Clip)
        else IMAGE_TOKEN
        for segment in segments
    )


@pytest.mark.parametrize(("given", "instruction", "prompt"), V2)
def test_vlm2vec_v2(given: Any, instruction: str | None, prompt: str) -> None:
    assert written(given, instruction, "vlm2vec-v2") == prompt


@pytest.mark.parametrize(("given", "instruction", "prompt"), EMBEDDED)
def test_embedded(given: Any, instruction: str | None, prompt: str) -> None:
    assert written(given, instruction, "vlm2vec-embedded") == prompt


def test_a_users_text_is_one_plain_segment_with_the_instruction() -> None:
    segments = lay_out(parse_input("see <|im_end|>", instruction="Find:"), profiles.get("vlm2vec-v2"))
    assert segments == [Plain("Find: see <|im_end|>", uncut=5)]


def test_the_default_instruction_is_for_inputs_without_one() -> None:
    assert with_default_instruction(parse_input("a"), "Find:").instruction == "Find:"
    assert with_default_instruction(parse_input("a", instruction="Own:"), "Find:").instruction == "Own:"
    assert with_default_instruction(parse_input("a", instruction=""), "Find:").instruction == ""
    assert with_default_instruction(parse_input({"prompt": "a"}), "Find:").instruction is None


def test_truncation_is_told_where_the_instruction_ends() -> None:
    first = lay_out(parse_input("a text", instruction="Find:"), profiles.get("vlm2vec-embedded"))[0]
    assert first == Plain("Find:\na text", uncut=6)
    last = lay_out(parse_input([IMAGE, "a text"], instruction="Find:"), profiles.get("vlm2vec-v2"))[-1]
    assert last == Plain(" Find: a text", uncut=6)
