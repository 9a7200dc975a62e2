"""Batches cut by what they cost, not by how many inputs they have.

Cost is counted in tokens and patches, which is what memory and time grow with. No batch is padded, so
lengths need not be alike; what inputs begin with in common is computed once, so those that begin alike stand
next to each other.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vlm2vec.encoding.plan import Failed, MediaPiece, Planned, TextPiece
from vlm2vec.encoding.prefixes import LEAST_SAVED

__all__ = ["Batch", "batches"]

_NOTHING = np.empty(0, np.int32)


@dataclass(frozen=True, eq=False)
class Batch:
    """Inputs of one forward pass, and its tokens and patches; without inputs, the end of a window."""

    inputs: Sequence[Planned | Failed]
    cost: int


class HasCost(Protocol):
    """What a batch may cost, now."""

    cost: int


def batches(planned: Sequence[Planned], *, budget: HasCost, max_inputs: int | None) -> Iterator[Batch]:
    """Inputs that begin alike next to each other, cut into batches that fit.

    Args:
        planned: The inputs.
        budget: Tokens and patches of a batch, asked for at each cut; what inputs share counts once. An input
            that alone has more is a batch of its own.
        max_inputs: Most inputs of a batch.
    """
    numbers: dict[Hashable, int] = {}
    symbols = [_symbols(one, numbers) for one in planned]
    batch: list[Planned] = []
    cost, seen, last = 0, set[Hashable](), _NOTHING
    # Big-endian bytes compare like the numbers themselves, and much faster.
    for place in sorted(range(len(planned)), key=lambda i: symbols[i].astype(">u4").tobytes()):
        one = planned[place]
        extra = _extra_cost(one, symbols[place], last, seen)
        if batch and (cost + extra > budget.cost or len(batch) == max_inputs):
            yield Batch(batch, cost)
            batch, cost, seen = [], 0, set()
            extra = _extra_cost(one, symbols[place], _NOTHING, seen)
        batch.append(one)
        cost, last = cost + extra, symbols[place]
        seen.update(one.media)
    if batch:
        yield Batch(batch, cost)


def _symbols(one: Planned, numbers: dict[Hashable, int]) -> np.ndarray:
    """The prompt as numbers: tokens of texts, and a negative number for each medium."""
    ids: list[int] = []
    for piece in one.pieces:
        if isinstance(piece, TextPiece):
            ids += piece.ids
        else:
            ids.append(-1 - numbers.setdefault(piece.key, len(numbers)))
    return np.array(ids, dtype=np.int32)


def _extra_cost(one: Planned, symbols: np.ndarray, last: np.ndarray, seen: set[Hashable]) -> int:
    """Tokens and patches that an input adds to a batch, behind one that begins like `last`."""
    length = min(len(symbols), len(last))
    different = np.flatnonzero(symbols[:length] != last[:length])
    shared = int(different[0]) if len(different) else length
    media = iter(piece for piece in one.pieces if isinstance(piece, MediaPiece))
    spared = sum(1 if symbol >= 0 else next(media).tokens for symbol in symbols[:shared].tolist())
    patches = sum(piece.patches for key, piece in one.media.items() if key not in seen)
    # A text that is cut to the context may share more than is left of it.
    return one.tokens + patches - (min(spared, one.tokens - 1) if spared >= LEAST_SAVED else 0)
