"""The chat template writes the same prompts as the package does."""

from __future__ import annotations

import unicodedata
from typing import Any

import jinja2
import pytest

from vlm2vec import profiles
from vlm2vec.encoding.prompt import IMAGE_TOKEN, VIDEO_TOKEN, Control, Plain, lay_out
from vlm2vec.inputs.parse import parse_input
from vlm2vec.inputs.parts import Clip, Input
from vlm2vec.profiles.chat_template import chat_template

# As transformers sets it up; prompts are no HTML.
ENVIRONMENT = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, autoescape=False)  # noqa: S701

MESSAGES: list[list[dict[str, Any]]] = [
    [{"type": "text", "text": "a text\n"}],
    [{"type": "image"}],
    [{"type": "video"}, {"type": "text", "text": " what moves?"}],
    [{"type": "text", "text": "it's"}, {"type": "image"}, {"type": "text", "text": "and"}, {"type": "image"}],
    [{"type": "image"}, {"type": "video"}, {"type": "text", "text": ""}, {"type": "text", "text": "x"}],
]


def as_input(content: list[dict[str, Any]], instruction: str | None) -> Input:
    import numpy as np

    given = {
        "image": np.zeros((28, 28, 3), np.uint8),
        "video": np.zeros((2, 28, 28, 3), np.uint8),
    }
    return parse_input(
        [given.get(part["type"], part.get("text")) for part in content], instruction=instruction
    )


def written(item: Input, profile: profiles.Profile) -> str:
    def text(segment: object) -> str:
        if isinstance(segment, Plain | Control):
            return segment.text
        if not isinstance(segment, Clip):
            return IMAGE_TOKEN
        # One block stands for a clip that becomes several.
        around = ("", "") if profile.clip == "block" else (profile.media_start, profile.media_end)
        return VIDEO_TOKEN.join(around)

    return "".join(text(segment) for segment in lay_out(item, profile))


@pytest.mark.parametrize("name", profiles.names())
@pytest.mark.parametrize("instruction", [None, "Represent this:", " Represent this \n", "  "])
@pytest.mark.parametrize("content", MESSAGES)
def test_renders_the_prompt_of_the_profile(
    name: str, instruction: str | None, content: list[dict[str, Any]]
) -> None:
    profile = profiles.get(name)
    template = ENVIRONMENT.from_string(chat_template(profile))
    messages = [{"role": "user", "content": content}]
    if instruction is not None:
        messages.insert(0, {"role": "system", "content": [{"type": "text", "text": instruction}]})
    assert template.render(messages=messages) == written(as_input(content, instruction), profile)


def test_plain_strings_as_content_render_too() -> None:
    template = ENVIRONMENT.from_string(chat_template(profiles.get("vlm2vec-v2")))
    messages = [{"role": "system", "content": "Find:"}, {"role": "user", "content": "a cat"}]
    assert template.render(messages=messages) == "Find: a cat"


def test_every_punctuation_mark_ends_an_instruction() -> None:
    template = ENVIRONMENT.from_string(chat_template(profiles.get("qwen3-vl-embedding")))
    marks = {chr(code) for code in range(0x110000) if unicodedata.category(chr(code))[0] == "P"}
    others = {chr(code) for code in range(33, 0x3000) if chr(code).isprintable()} - marks
    for last in sorted(marks) + sorted(others):
        system = {"role": "system", "content": f"Find it{last}"}
        rendered = template.render(messages=[system, {"role": "user", "content": "a"}])
        stop = "" if last in marks else "."
        assert rendered.startswith(f"<|im_start|>system\nFind it{last.strip()}{stop}<|im_end|>"), last
