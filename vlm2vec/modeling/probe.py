"""Which of two ways of computing the same is faster on the CPU at hand."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

__all__ = ["is_faster"]

_PAIRS = 15
# A way that needs more memory or more code must win by more than this.
_MARGIN = 1.15


def is_faster(new: Callable[[], object], old: Callable[[], object]) -> bool:
    """Whether `new` beats `old` clearly, in the middle one of a few pairs of runs, one right after the other.

    Pairs, because whatever else the machine does slows both runs of one alike: the same machine gives the
    same answer each time, and with it the same speed and memory. Takes some tenths of a second.
    """
    _seconds(new), _seconds(old)  # the first run of each also loads and compiles
    return median(_seconds(old) / _seconds(new) for _ in range(_PAIRS)) > _MARGIN


def _seconds(way: Callable[[], object]) -> float:
    begin = time.perf_counter()
    way()
    return time.perf_counter() - begin
