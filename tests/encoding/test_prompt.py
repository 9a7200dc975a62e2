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
    with_role,
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

SEEN = "<|vision_start|><|image_pad|><|vision_end|>"
TURN = "<|im_end|>\n<|im_start|>assistant\n"


def qwen3(user: str, system: str = "Represent the user's input.") -> str:
    return f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{user}{TURN}<|endoftext|>"


# The clips of these two are bare: they become several blocks once they are measured.
QWEN3 = [
    ("a cat", None, qwen3("a cat")),
    ("a cat", "", qwen3("a cat")),
    ("a cat", " \n ", qwen3("a cat")),
    ("a cat", "  Find it ", qwen3("a cat", "Find it.")),
    ("a cat", "Find it。", qwen3("a cat", "Find it。")),
    ("a cat", "Find it:", qwen3("a cat", "Find it:")),
    ("a cat", "Find 1+", qwen3("a cat", "Find 1+.")),
    (" a \n", None, qwen3(" a \n")),
    (["one", "two"], None, qwen3("onetwo")),
    (["a", IMAGE, "b", CLIP, IMAGE], None, qwen3(f"<|video_pad|>{SEEN}{SEEN}ab")),
]
OPS = [([CLIP, "a", IMAGE], None, qwen3(f"<|video_pad|>a{SEEN}", "You are a helpful assistant."))]
USER = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
UME = [
    ("a cat", None, f"{USER}a cat\n<disc_emb>"),
    ({"image": IMAGE, "text": "what?"}, None, f"{USER}{SEEN}what?\n<disc_emb>"),
    (CLIP, None, f"{USER}<|vision_start|><|video_pad|><|vision_end|>\n<disc_emb>"),
]
NOMIC = [
    ("a cat", None, "a cat"),
    (IMAGE, None, f"<|im_start|>user\n{SEEN}Describe the image.<|im_end|><|endoftext|>"),
    ([IMAGE, "a cat"], None, f"<|im_start|>user\n{SEEN}a cat<|im_end|><|endoftext|>"),
]


def written(given: Any, instruction: str | None, profile: str, task: str | None = None) -> str:
    item = with_role(parse_input(given, instruction=instruction), task)
    segments = lay_out(item, profiles.get(profile))
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


@pytest.mark.parametrize(
    ("profile", "given", "instruction", "prompt"),
    [
        (profile, *case)
        for profile, cases in (
            ("qwen3-vl-embedding", QWEN3),
            ("ops-mm-v1", OPS),
            ("ume-r1", UME),
            ("nomic-multimodal", NOMIC),
            ("unime-v2-qwen2vl", V2),
            ("vlm2vec-v2-qwen2.5vl", V2),
        )
        for case in cases
    ],
)
def test_families(profile: str, given: Any, instruction: str | None, prompt: str) -> None:
    assert written(given, instruction, profile) == prompt


def test_a_query_ends_as_the_family_ends_queries() -> None:
    ending = "<|endoftext|>" * 10
    assert written("a cat", None, "nomic-multimodal", "query") == f"a cat{ending}"
    assert written("a cat", None, "nomic-multimodal", "document") == "a cat"
    assert written(IMAGE, None, "nomic-multimodal", "query") == written(IMAGE, None, "nomic-multimodal")
    for name in set(profiles.names()) - {"nomic-multimodal"}:
        assert written("a cat", None, name, "query") == written("a cat", None, name)


def test_an_input_that_has_a_role_keeps_it() -> None:
    item = parse_input("a cat")
    assert with_role(item, None) is item
    assert with_role(item, "classification") is item
    query = with_role(item, "query")
    assert query.role == "query"
    assert with_role(query, "document") is query
    assert parse_input(query).role == "query"


@pytest.mark.parametrize("profile", ["qwen3-vl-embedding", "rzenembed"])
@pytest.mark.parametrize("around", [("", ""), ("<|vision_start|>", "<|vision_end|>")])
def test_a_raw_prompt_names_a_clip_of_several_blocks_once(profile: str, around: tuple[str, str]) -> None:
    clip = VIDEO_TOKEN.join(around)
    prompt = f"x{clip}y<|vision_start|><|image_pad|><|vision_end|>z"
    item = parse_input({"prompt": prompt, "video": CLIP, "images": [IMAGE]})
    first, video, *others = lay_out(item, profiles.get(profile))
    assert (first, type(video)) == (Control("x"), Clip)
    assert [segment.text for segment in others if isinstance(segment, Control)] == [
        "y<|vision_start|>",
        "<|vision_end|>z",
    ]


def test_a_raw_prompt_of_one_block_keeps_what_is_around_it() -> None:
    item = parse_input({"prompt": "<|vision_start|><|video_pad|><|vision_end|>", "video": CLIP})
    start, clip, end = lay_out(item, profiles.get("vlm2vec-v2"))
    assert (start, type(clip), end) == (Control("<|vision_start|>"), Clip, Control("<|vision_end|>"))


def test_words_before_the_last_control_token_are_never_cut() -> None:
    *_, text, last = lay_out(parse_input("a cat"), profiles.get("ume-r1"))
    assert (text, last) == (Plain("user\na cat\n", uncut=5, uncut_end=1), Control("<disc_emb>"))


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
