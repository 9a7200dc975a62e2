"""Batches cut by what they cost, not by how many inputs they have.

Cost is counted in tokens and patches, which is what memory and time grow with. No batch is padded, so
lengths need not be alike; what inputs share at their start is computed once, so those that start alike are
next to each other.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np

from vlm2vec.encoding.pieces import MediaPiece, TextPiece
from vlm2vec.encoding.plan import Failed, Planned
from vlm2vec.encoding.prefixes import MIN_SAVED

__all__ = ["Batch", "batches"]

_FIRST_MEDIUM = -(2**31)


@dataclass(frozen=True, eq=False)
class Batch:
    """Inputs of one forward pass, and its tokens and patches; without inputs, the end of a window."""

    inputs: Sequence[Planned | Failed]
    cost: int


class HasCost(Protocol):
    """What a batch may cost, now."""

    cost: int


def batches(planned: Sequence[Planned], *, budget: HasCost, max_inputs: int | None) -> Iterator[Batch]:
    """Inputs that start alike next to each other, cut into batches that fit.

    Args:
        planned: The inputs.
        budget: Tokens and patches of a batch, asked for at each cut; what inputs share counts once. An input
            that alone has more is a batch of its own.
        max_inputs: Maximum number of inputs of a batch.
    """
    batch: list[Planned] = []
    cost, seen = 0, set[Hashable]()
    for plan, shared in _by_start(planned):
        extra = _extra_cost(plan, shared, seen)
        if batch and (cost + extra > budget.cost or len(batch) == max_inputs):
            yield Batch(batch, cost)
            batch, cost, seen = [], 0, set()
            extra = _extra_cost(plan, 0, seen)
        batch.append(plan)
        cost += extra
        seen.update(plan.media)
    if batch:
        yield Batch(batch, cost)


def _by_start(planned: Sequence[Planned]) -> list[tuple[Planned, int]]:
    """Inputs in an order in which those that start alike are neighbours, and tokens shared with the last."""
    numbers: dict[Hashable, int] = {}
    symbols = [_symbols(plan, numbers) for plan in planned]
    # Big-endian bytes compare like the numbers themselves, and much faster.
    order = sorted(range(len(planned)), key=lambda i: symbols[i].astype(">u4").tobytes())
    shared = [0] + [_shared(planned[index], symbols[last], symbols[index]) for last, index in pairwise(order)]
    return [(planned[index], tokens) for index, tokens in zip(order, shared, strict=False)]


def _symbols(plan: Planned, numbers: dict[Hashable, int]) -> np.ndarray:
    """The prompt as numbers: tokens of texts, and a negative number for each medium, or step of a clip.

    As numbers without a sign, those of media are in the order in which they come, behind all tokens. So
    inputs without text before their media are decoded in order, and the first that is broken fails first.
    """
    ids: list[int] = []
    for piece in plan.pieces:
        if isinstance(piece, TextPiece):
            ids += piece.ids
        else:
            ids.append(_FIRST_MEDIUM + numbers.setdefault((piece.key, piece.step), len(numbers)))
    return np.array(ids, dtype=np.int32)


def _shared(plan: Planned, last: np.ndarray, symbols: np.ndarray) -> int:
    """Tokens at the start that an input shares with another."""
    length = min(len(symbols), len(last))
    different = np.flatnonzero(symbols[:length] != last[:length])
    prefix = symbols[: different[0] if len(different) else length]
    media = iter(piece for piece in plan.pieces if isinstance(piece, MediaPiece))
    return sum(1 if symbol >= 0 else next(media).tokens for symbol in prefix.tolist())


def _extra_cost(plan: Planned, shared: int, seen: set[Hashable]) -> int:
    """Tokens and patches that an input adds to a batch; `shared` tokens are the last input's too."""
    patches = sum(piece.patches for key, piece in plan.media.items() if key not in seen)
    # A text that is cut to the context may share more than is left of it.
    return plan.tokens + patches - (min(shared, plan.tokens - 1) if shared >= MIN_SAVED else 0)
