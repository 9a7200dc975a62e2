"""Batches cut by what they cost, not by how many inputs they have.

Cost is counted in tokens and patches, which is what memory and time grow with. No batch is padded, so
lengths need not be alike; what inputs begin with in common is computed once, so those that begin alike stand
next to each other.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np

from vlm2vec.encoding.plan import Failed, MediaPiece, Planned, TextPiece
from vlm2vec.encoding.prefixes import LEAST_SAVED

__all__ = ["Batch", "batches"]


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
    batch: list[Planned] = []
    cost, seen = 0, set[Hashable]()
    for one, shared in _by_begin(planned):
        extra = _extra_cost(one, shared, seen)
        if batch and (cost + extra > budget.cost or len(batch) == max_inputs):
            yield Batch(batch, cost)
            batch, cost, seen = [], 0, set()
            extra = _extra_cost(one, 0, seen)
        batch.append(one)
        cost += extra
        seen.update(one.media)
    if batch:
        yield Batch(batch, cost)


def _by_begin(planned: Sequence[Planned]) -> list[tuple[Planned, int]]:
    """Inputs in an order in which those that begin alike are neighbours, and tokens shared with the last."""
    numbers: dict[Hashable, int] = {}
    symbols = [_symbols(one, numbers) for one in planned]
    # Big-endian bytes compare like the numbers themselves, and much faster.
    order = sorted(range(len(planned)), key=lambda i: symbols[i].astype(">u4").tobytes())
    shared = [0] + [_shared(planned[place], symbols[last], symbols[place]) for last, place in pairwise(order)]
    return [(planned[place], tokens) for place, tokens in zip(order, shared, strict=False)]


def _symbols(one: Planned, numbers: dict[Hashable, int]) -> np.ndarray:
    """The prompt as numbers: tokens of texts, and a negative number for each medium."""
    ids: list[int] = []
    for piece in one.pieces:
        if isinstance(piece, TextPiece):
            ids += piece.ids
        else:
            ids.append(-1 - numbers.setdefault(piece.key, len(numbers)))
    return np.array(ids, dtype=np.int32)


def _shared(one: Planned, last: np.ndarray, symbols: np.ndarray) -> int:
    """Tokens with which an input begins like another."""
    length = min(len(symbols), len(last))
    different = np.flatnonzero(symbols[:length] != last[:length])
    begin = symbols[: different[0] if len(different) else length]
    media = iter(piece for piece in one.pieces if isinstance(piece, MediaPiece))
    return sum(1 if symbol >= 0 else next(media).tokens for symbol in begin.tolist())


def _extra_cost(one: Planned, shared: int, seen: set[Hashable]) -> int:
    """Tokens and patches that an input adds to a batch; `shared` tokens are the last input's too."""
    patches = sum(piece.patches for key, piece in one.media.items() if key not in seen)
    # A text that is cut to the context may share more than is left of it.
    return one.tokens + patches - (min(shared, one.tokens - 1) if shared >= LEAST_SAVED else 0)
