"""Which of two ways of computing the same is faster on the CPU at hand."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

__all__ = ["is_faster"]

_PAIRS = 11
# A way that needs more memory or more code must win by more than this.
_MARGIN = 1.15


def is_faster(new: Callable[[], object], old: Callable[[], object]) -> bool:
    """Whether `new` beats `old` clearly, by the median ratio of some pairs of runs.

    Pairs, because what else the machine does mostly slows both runs of one. Takes some tenths of a second.
    """
    return median(_seconds(old) / _seconds(new) for _ in range(_PAIRS)) > _MARGIN


def _seconds(way: Callable[[], object]) -> float:
    begin = time.perf_counter()
    way()
    return time.perf_counter() - begin
