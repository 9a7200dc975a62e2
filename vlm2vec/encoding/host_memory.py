"""Giving memory back to the system while a long job runs.

glibc keeps what is freed. Batches differ in size, so each needs room of another shape, and the gaps between
add up: without this, peak memory on a CPU grows slowly with the number of inputs, though nothing is held.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Callable
from functools import lru_cache

__all__ = ["HostMemory"]

_SECONDS_BETWEEN = 0.25  # a call takes some milliseconds
_SECONDS_OF_REUSE = 2.0  # and what it returned is to be had from the system again
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # in glibc's malloc.h
_LARGE, _LARGEST, _HUGE = 2**20, 2**25, 2**30  # bytes; the second is the most that glibc takes


class HostMemory:
    """Returns freed memory to the system; does nothing where the system has no call for it.

    Large blocks get a place of their own, which leaves no gap when they are freed. That holds for the whole
    process, from the first job on, unless the environment says `MALLOC_MMAP_THRESHOLD_`. What smaller blocks
    leave is returned now and then.

    Args:
        reuse: Keep the places of large blocks for the next ones, and return them less often. A training step
            asks for so many that getting each from the system would take a quarter of its time.
    """

    def __init__(self, *, reuse: bool = False) -> None:
        self._last = time.monotonic()
        self._between = _SECONDS_OF_REUSE if reuse else _SECONDS_BETWEEN
        if "MALLOC_MMAP_THRESHOLD_" not in os.environ:
            # By itself glibc raises the first to 32 MiB as soon as such blocks are freed, the second alike.
            _glibc("mallopt")(_M_MMAP_THRESHOLD, _LARGEST if reuse else _LARGE)
            if reuse:
                _glibc("mallopt")(_M_TRIM_THRESHOLD, _HUGE)

    def give_back(self) -> None:
        """Return what is free, unless that was done a moment ago."""
        now = time.monotonic()
        if now - self._last >= self._between:
            self._last = now
            _glibc("malloc_trim")(0)


@lru_cache(maxsize=2)
def _glibc(name: str) -> Callable[..., object]:
    """A function of glibc, or something without effect."""
    if sys.platform == "linux":
        try:
            library = ctypes.CDLL(None)
            library.gnu_get_libc_version  # noqa: B018 - other C libraries have no such name
            found: Callable[..., object] = getattr(library, name)
        except (OSError, AttributeError):
            pass
        else:
            return found
    return lambda *_: None
