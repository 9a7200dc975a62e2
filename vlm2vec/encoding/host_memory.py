"""Giving memory back to the system while a long job runs.

glibc keeps what is freed. Batches differ in size, so each needs room of another shape, and the gaps between
add up: without this, peak memory on a CPU grows slowly with the number of inputs, though nothing is held.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, cast

__all__ = ["HostMemory", "give_back_end", "keep_freed_memory"]

_SHARE, _SHARE_OF_REUSE = 0.02, 0.01  # of the time; what was returned may have to be fetched again
_SECONDS_OF_A_CALL = 0.005  # until one was timed
_SAVED_UP = 0.5  # seconds at most: enough for a burst of files, though a job waited long for its inputs
_LONGEST_CALL = 0.05  # that counts, for a call may have waited for other threads
_SECONDS_BETWEEN, _SECONDS_OF_REUSE = 0.25, 2.0  # of a thread's calls
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # in glibc's malloc.h
_LARGE = 2**25  # bytes; the most that glibc takes
_END, _LONG_END = 2 * _LARGE, 2**30  # of the heap; the first is glibc's own for blocks as large
_LOOKED_AT = 2**16  # bytes of a block that makes glibc look at the heap's end when it is freed
_DECIDED_BY = "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"


class HostMemory:
    """Returns freed memory to the system; does nothing where the system has no call for it.

    What is freed serves the next blocks (`keep_freed_memory`); what is left over is returned now and then,
    for a small share of the time that the job takes. Any of its threads may ask for that.

    Args:
        reuse: Keep more of it, and for longer, as a training step needs.
    """

    def __init__(self, *, reuse: bool = False) -> None:
        self._share = _SHARE_OF_REUSE if reuse else _SHARE
        self._left, self._last, self._looked = 0.0, _SECONDS_OF_A_CALL, time.monotonic()
        self._at_it = threading.Lock()
        keep_freed_memory(longer=reuse)

    def give_back(self) -> None:
        """Return what is free, unless that has taken its share of the time already, or is being done."""
        if not self._at_it.acquire(blocking=False):
            return
        try:
            now = time.monotonic()
            self._left = min(self._left + self._share * (now - self._looked), _SAVED_UP)
            self._looked = now
            if self._last <= self._left:
                _glibc("malloc_trim")(0)
                self._last = min(time.monotonic() - now, _LONGEST_CALL)
                self._left -= self._last
        finally:
            self._at_it.release()


@dataclass
class _Told:
    """What glibc was told of the ends of heaps, for it cannot be asked.

    Attributes:
        end: Bytes that it keeps; `None` as long as it was told nothing.
        lock: Held while that changes.
    """

    end: int | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


_TOLD = _Told()
_LAST = threading.local()  # the time of each thread's last call


def keep_freed_memory(*, longer: bool = False) -> None:
    """Let freed blocks serve the next ones, in the whole process, unless the environment decides it.

    A block that comes from the system each time has new pages each time, and making these takes time. By
    itself glibc keeps blocks only up to the size of the largest that was freed before.

    Args:
        longer: Keep more at the end of the heap.
    """
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    if "glibc.malloc." in tunables or any(name in os.environ for name in _DECIDED_BY):
        return
    with _TOLD.lock:
        _TOLD.end = _LONG_END if longer else _END
        _glibc("mallopt")(_M_MMAP_THRESHOLD, _LARGE)
        # With the first set, glibc leaves the second at 128 KiB, and the heap's end goes with each block.
        _glibc("mallopt")(_M_TRIM_THRESHOLD, _TOLD.end)


def give_back_end() -> None:
    """Return the free end of this thread's own heap to the system, unless that was done a moment ago.

    Threads have heaps, and `malloc_trim` leaves the end of all but the first as it is: a worker would keep as
    much as its largest input ever took. When a large block is freed, glibc returns the end if that is longer
    than `keep_freed_memory` allows, which for that moment is nothing.
    """
    with _TOLD.lock:
        between = _SECONDS_OF_REUSE if _TOLD.end == _LONG_END else _SECONDS_BETWEEN
        now = time.monotonic()
        if _TOLD.end is None or now - getattr(_LAST, "time", -between) < between:
            return
        _LAST.time = now
        _glibc("mallopt")(_M_TRIM_THRESHOLD, 0)
        _glibc("free")(_glibc("malloc")(_LOOKED_AT))
        _glibc("mallopt")(_M_TRIM_THRESHOLD, _TOLD.end)


@lru_cache(maxsize=4)
def _glibc(name: str) -> Callable[..., Any]:
    """A function of glibc, or something without effect."""
    if sys.platform == "linux":
        try:
            library = ctypes.CDLL(None)
            library.gnu_get_libc_version  # noqa: B018 - other C libraries have no such name
            found: Any = getattr(library, name)
        except (OSError, AttributeError):
            pass
        else:
            found.restype, found.argtypes = _SIGNATURES[name]
            return cast(Callable[..., Any], found)
    return lambda *_: None


_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "free": (None, [ctypes.c_void_p]),
    "malloc": (ctypes.c_void_p, [ctypes.c_size_t]),
    "malloc_trim": (ctypes.c_int, [ctypes.c_size_t]),
    "mallopt": (ctypes.c_int, [ctypes.c_int, ctypes.c_int]),
}
