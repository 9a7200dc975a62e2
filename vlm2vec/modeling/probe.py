"""Which of two ways of computing the same is faster on the CPU at hand."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["is_faster"]

_TRIALS = 3
_ROUNDS = 5
# A way that needs more memory or more code must win by more than the noise of a measurement.
_MARGIN = 1.15


def is_faster(new: Callable[[], object], old: Callable[[], object]) -> bool:
    """Whether `new` beats `old` clearly, in each of a few trials. Takes some tens of milliseconds.

    One trial is not enough: where other work comes and goes, one in some dozen finds a winner by chance, and
    the same program would then need more memory on some days than on others.
    """
    return all(_wins(new, old) for _ in range(_TRIALS))


def _wins(new: Callable[[], object], old: Callable[[], object]) -> bool:
    seconds: dict[Callable[[], object], list[float]] = {new: [], old: []}
    for way in (new, old) * _ROUNDS:
        begin = time.perf_counter()
        way()
        seconds[way].append(time.perf_counter() - begin)
    # The fastest run of each is the one that nothing else on the machine has slowed down.
    return min(seconds[new]) * _MARGIN < min(seconds[old])
