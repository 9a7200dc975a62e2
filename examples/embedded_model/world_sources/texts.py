"""What is read and written in the rows of the world: the small tokenizer is learned from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from embedded_model.world_sources.sources import TASKS
from vlm2vec.world.vocabulary import ALL_WORDS

__all__ = ["world_texts"]


def world_texts(rows: int = 2000, *, seed: int = 0) -> Iterator[str]:
    """All texts of some rows of each task, and every word; nothing is drawn in ink for it.

    Args:
        rows: Rows of each task.
        seed: Of the rows.

    Example:
        >>> sum(len(text) > 0 for text in world_texts(rows=1)) > 100
        True
    """
    for number, task in enumerate(TASKS):
        for row in range(rows):
            yield from _texts(task.draw(np.random.default_rng([2 * seed, number, row])))
    for word in ALL_WORDS:
        yield f"a {word}"


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
