"""Retrieval: a text and what it describes, either way."""

from __future__ import annotations

from typing import Any

import numpy as np

from vlm2vec.world.captions import describe
from vlm2vec.world.items import Item, Kind, draw_item
from vlm2vec.world.twins import twin

__all__ = ["item_to_text", "text_to_item", "varied"]

FIND_TEXT = "Find the text that describes this."

_WITHOUT_INSTRUCTION = 0.25
_WITH_TWIN = 0.5
"""Share of texts whose picture has a hard negative: a second picture costs as much as the first."""


def text_to_item(kind: Kind, rng: np.random.Generator) -> dict[str, Any]:
    """A description, and the scene, clip or page it is of; often with a twin as hard negative."""
    item, text, other, others_text = _described(kind, rng)
    row: dict[str, Any] = {"query": varied(text, rng), "document": item}
    if others_text != text and rng.random() < _WITH_TWIN:
        row["negatives"] = [other]
    return row | _instructions(rng, query=None)


def item_to_text(kind: Kind, rng: np.random.Generator) -> dict[str, Any]:
    """A scene, clip or page, and its description; the twin's is a hard negative."""
    item, text, _, others_text = _described(kind, rng)
    row: dict[str, Any] = {"query": item, "document": varied(text, rng)}
    if others_text != text:
        row["negatives"] = [varied(others_text, rng)]
    return row | _instructions(rng, query=FIND_TEXT if rng.random() < 0.4 else None)


def varied(text: str, rng: np.random.Generator) -> str:
    """Sometimes with a capital, sometimes with a full stop, as people write."""
    if rng.random() < 0.1:
        text = text[0].upper() + text[1:]
    return f"{text}." if rng.random() < 0.1 else text


def _described(kind: Kind, rng: np.random.Generator) -> tuple[Item, str, Item, str]:
    """An item, its description, its twin, and the same description of that: equal if it fits both."""
    item = draw_item(kind, rng)
    other = twin(item, rng)
    wording = int(rng.integers(2**32))
    text, others_text = (describe(each, np.random.default_rng(wording)) for each in (item, other))
    return item, text, other, others_text


def _instructions(rng: np.random.Generator, *, query: str | None) -> dict[str, str]:
    """The model's own instructions for most, and none for some, each side by itself."""
    instructions = {} if query is None else {"query_instruction": query}
    for side in ("query_instruction", "document_instruction"):
        if rng.random() < _WITHOUT_INSTRUCTION:
            instructions[side] = ""
    return instructions
