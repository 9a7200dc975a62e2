"""Retrieval: a text and what it describes, either way."""

from __future__ import annotations

from typing import Any

import numpy as np

from vlm2vec.world.captions import describe
from vlm2vec.world.items import Item, Kind, draw_item
from vlm2vec.world.near_misses import near_misses
from vlm2vec.world.scenes import Scene
from vlm2vec.world.twins import twin

__all__ = ["item_to_text", "text_to_item", "varied"]

FIND_TEXT = "Find the text that describes this."

_WITHOUT_INSTRUCTION = 0.25
_MOST_TEXTS = 3
"""Hard negatives of a picture: texts cost little beside it."""

_WITH_TWIN = 0.5
"""Share of texts whose clip or page has a hard negative: a second one costs as much as the first."""


def text_to_item(kind: Kind, rng: np.random.Generator) -> dict[str, Any]:
    """A description, and the scene, clip or page it is of; often with a twin as hard negative."""
    item = draw_item(kind, rng)
    other = twin(item, rng)
    text, others_text = _alike(rng, item, other)
    row: dict[str, Any] = {"query": varied(text, rng), "document": item}
    if others_text != text and (kind == "scene" or rng.random() < _WITH_TWIN):
        row["negatives"] = [other]
    return row | _instructions(rng, query=None)


def item_to_text(kind: Kind, rng: np.random.Generator) -> dict[str, Any]:
    """A scene, clip or page, and its description; those of what is almost the same are hard negatives."""
    item = draw_item(kind, rng)
    near = [twin(item, rng), *(near_misses(item, rng) if isinstance(item, Scene) else ())]
    text, *others = _alike(rng, item, *near)
    row: dict[str, Any] = {"query": item, "document": varied(text, rng)}
    # A text that leaves something out may fit both.
    wrong = [other for other in dict.fromkeys(others) if other != text][:_MOST_TEXTS]
    if wrong:
        row["negatives"] = [varied(other, rng) for other in wrong]
    return row | _instructions(rng, query=FIND_TEXT if rng.random() < 0.4 else None)


def varied(text: str, rng: np.random.Generator) -> str:
    """Sometimes with a capital, sometimes with a full stop, as people write."""
    if rng.random() < 0.1:
        text = text[0].upper() + text[1:]
    return f"{text}." if rng.random() < 0.1 else text


def _alike(rng: np.random.Generator, *items: Item) -> list[str]:
    """Descriptions of items, worded alike: equal if one fits both."""
    wording = int(rng.integers(2**32))
    return [describe(item, np.random.default_rng(wording)) for item in items]


def _instructions(rng: np.random.Generator, *, query: str | None) -> dict[str, str]:
    """The model's own instructions for most, and none for some, each side by itself."""
    instructions = {} if query is None else {"query_instruction": query}
    for side in ("query_instruction", "document_instruction"):
        if rng.random() < _WITHOUT_INSTRUCTION:
            instructions[side] = ""
    return instructions
