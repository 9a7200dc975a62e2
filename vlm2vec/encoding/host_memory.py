"""Giving memory back to the system while a long job runs.

glibc keeps what is freed. Batches differ in size, so each needs room of another shape, and the gaps between
add up: without this, peak memory on a CPU grows slowly with the number of inputs, though nothing is held.
"""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable
from functools import lru_cache

__all__ = ["HostMemory"]

_SECONDS_BETWEEN = 0.25  # a call takes some milliseconds


class HostMemory:
    """Returns freed memory to the system, now and then; does nothing where the system has no call for it."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def give_back(self) -> None:
        """Return what is free, unless that was done a moment ago."""
        now = time.monotonic()
        if now - self._last >= _SECONDS_BETWEEN:
            self._last = now
            _trim()(0)


@lru_cache(maxsize=1)
def _trim() -> Callable[[int], object]:
    """`malloc_trim` of glibc, or something without effect."""
    if sys.platform == "linux":
        try:
            trim: Callable[[int], object] = ctypes.CDLL(None).malloc_trim
        except (OSError, AttributeError):  # another C library
            pass
        else:
            return trim
    return lambda _: None
