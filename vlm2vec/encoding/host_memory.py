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

__all__ = ["HostMemory", "keep_freed_memory"]

_SECONDS_BETWEEN = 0.25  # a call takes some milliseconds
_SECONDS_OF_REUSE = 2.0  # and what it returned is to be had from the system again
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # in glibc's malloc.h
_LARGE = 2**25  # bytes; the most that glibc takes
_END, _LONG_END = 2 * _LARGE, 2**30  # of the heap; the first is glibc's own for blocks as large


class HostMemory:
    """Returns freed memory to the system; does nothing where the system has no call for it.

    What is freed serves the next blocks (`keep_freed_memory`); what is left over is returned now and then.

    Args:
        reuse: Keep more of it, and for longer, as a training step needs.
    """

    def __init__(self, *, reuse: bool = False) -> None:
        self._last = time.monotonic()
        self._between = _SECONDS_OF_REUSE if reuse else _SECONDS_BETWEEN
        keep_freed_memory(longer=reuse)

    def give_back(self) -> None:
        """Return what is free, unless that was done a moment ago."""
        now = time.monotonic()
        if now - self._last >= self._between:
            self._last = now
            _glibc("malloc_trim")(0)


def keep_freed_memory(*, longer: bool = False) -> None:
    """Let freed blocks serve the next ones, in the whole process, unless the environment decides it.

    A block that comes from the system each time has new pages each time, and making these takes time. By
    itself glibc keeps blocks only up to the size of the largest that was freed before.

    Args:
        longer: Keep more at the end of the heap.
    """
    if "MALLOC_MMAP_THRESHOLD_" not in os.environ:
        _glibc("mallopt")(_M_MMAP_THRESHOLD, _LARGE)
        # With the first set, glibc leaves the second at 128 KiB, and the heap's end goes with each block.
        _glibc("mallopt")(_M_TRIM_THRESHOLD, _LONG_END if longer else _END)


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
