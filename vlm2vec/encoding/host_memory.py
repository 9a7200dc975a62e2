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
_LARGE, _HUGE = 2**25, 2**30  # bytes; the first is the most that glibc takes for its threshold


class HostMemory:
    """Returns freed memory to the system; does nothing where the system has no call for it.

    What is freed serves the next blocks, unless it is very large, and what is left over is returned now and
    then: a block that comes from the system each time has new pages each time, which cost a tenth of the time
    of encoding texts and a quarter of that of images. That holds for the whole process, from the first job
    on, unless the environment says `MALLOC_MMAP_THRESHOLD_`.

    Args:
        reuse: Keep what is free for longer, and the end of the heap too, as a training step needs.
    """

    def __init__(self, *, reuse: bool = False) -> None:
        self._last = time.monotonic()
        self._between = _SECONDS_OF_REUSE if reuse else _SECONDS_BETWEEN
        if "MALLOC_MMAP_THRESHOLD_" not in os.environ:
            # By itself glibc comes to as much only after blocks as large have been freed.
            _glibc("mallopt")(_M_MMAP_THRESHOLD, _LARGE)
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
