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
_M_MMAP_THRESHOLD = -3  # in glibc's malloc.h
_LARGE = 2**20  # bytes


class HostMemory:
    """Returns freed memory to the system; does nothing where the system has no call for it.

    Large blocks get a place of their own, which leaves no gap when they are freed. That holds for the whole
    process, from the first job on, unless the environment says `MALLOC_MMAP_THRESHOLD_`. What smaller blocks
    leave is returned now and then.
    """

    def __init__(self) -> None:
        self._last = time.monotonic()
        _large_blocks_apart()

    def give_back(self) -> None:
        """Return what is free, unless that was done a moment ago."""
        now = time.monotonic()
        if now - self._last >= _SECONDS_BETWEEN:
            self._last = now
            _glibc("malloc_trim")(0)


@lru_cache(maxsize=1)
def _large_blocks_apart() -> None:
    if "MALLOC_MMAP_THRESHOLD_" not in os.environ:
        # By itself glibc raises this to 32 MiB as soon as such blocks are freed.
        _glibc("mallopt")(_M_MMAP_THRESHOLD, _LARGE)


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
