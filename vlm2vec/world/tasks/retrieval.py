"""Retrieval: a text and what it describes, either way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vlm2vec.world.captions import describe, full_caption
from vlm2vec.world.items import Item, Kind, draw_item
from vlm2vec.world.near_misses import near_misses
from vlm2vec.world.scenes import Scene
from vlm2vec.world.twins import twin

__all__ = ["item_to_text", "text_to_item", "varied"]

FIND_TEXT = "Find the text that describes this."

_WITHOUT_INSTRUCTION = 0.25
_MAX_TEXTS = 3
"""Hard negatives of a picture: texts cost little beside it."""

_WITH_TWIN = 0.5
"""Share of texts whose clip or page has a hard negative: a second one costs as much as the first."""

_MAX_TWINS, _TRIES = 2, 4
"""Hard negatives of a text about a scene, and how many twins are looked at to find as many that differ."""

_IN_FULL = 0.5
"""Share of texts about scenes that say all there is, and where."""


def text_to_item(kind: Kind, rng: np.random.Generator) -> dict[str, Any]:
    """A description, and the scene, clip or page it is of; often with twins as hard negatives."""
    item = draw_item(kind, rng)
    with_twin = rng.random() < _WITH_TWIN
    tries = _TRIES if kind == "scene" else int(with_twin)
    twins = [twin(item, rng) for _ in range(tries)]
    text, *others = _alike(rng, item, *twins)
    row: dict[str, Any] = {"query": varied(text, rng), "document": item}
    # A text that leaves something out may fit both.
    wrong = {other: each for each, other in zip(twins, others, strict=True) if other != text}
    if wrong:
        row["negatives"] = list(wrong.values())[:_MAX_TWINS]
    return row | _some_left_out({}, rng)


def item_to_text(
    kind: Kind, rng: np.random.Generator, *, instructions: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """A scene, clip or page, and its description; those of what is almost the same are hard negatives.

    Args:
        kind: What is drawn.
        rng: Decides everything.
        instructions: `query_instruction` and `document_instruction`, in place of the model's own and of
            `FIND_TEXT`.
    """
    item = draw_item(kind, rng)
    near = [twin(item, rng), *(near_misses(item, rng) if isinstance(item, Scene) else ())]
    text, *others = _alike(rng, item, *near)
    row: dict[str, Any] = {"query": item, "document": varied(text, rng)}
    wrong = [other for other in dict.fromkeys(others) if other != text][:_MAX_TEXTS]
    if wrong:
        row["negatives"] = [varied(other, rng) for other in wrong]
    if instructions is None:
        instructions = {"query_instruction": FIND_TEXT} if rng.random() < 0.4 else {}
    return row | _some_left_out(instructions, rng)


def varied(text: str, rng: np.random.Generator) -> str:
    """Sometimes with a capital, sometimes with a full stop, as people write."""
    if rng.random() < 0.1:
        text = text[0].upper() + text[1:]
    return f"{text}." if rng.random() < 0.1 else text


def _alike(rng: np.random.Generator, *items: Item) -> list[str]:
    """Descriptions of items, worded alike: equal if one fits both."""
    if isinstance(items[0], Scene) and rng.random() < _IN_FULL:
        return [full_caption(item) for item in items]
    wording = int(rng.integers(2**32))
    return [describe(item, np.random.default_rng(wording)) for item in items]


def _some_left_out(instructions: Mapping[str, str], rng: np.random.Generator) -> dict[str, str]:
    """The instructions, of which some rows have none on either side; a side not given has the model's own."""
    sides = ("query_instruction", "document_instruction")
    return dict(instructions) | {side: "" for side in sides if rng.random() < _WITHOUT_INSTRUCTION}
