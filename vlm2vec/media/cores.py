"""How many threads one clip may decode with: clips that are read at the same time share the cores."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from vlm2vec.fork import free_after_fork

__all__ = ["core_count", "share_of_cores"]

_LOCK = free_after_fork(threading.Lock())
_takers = 0


def core_count() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):  # what a container or taskset allows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def share_of_cores() -> Iterator[int]:
    """The threads for one of those who hold a share now: all cores for one alone, one for each of many.

    Example:
        >>> with share_of_cores() as threads:
        ...     1 <= threads <= core_count()
        True
    """
    global _takers  # noqa: PLW0603  # of the whole process, as its cores are
    with _LOCK:
        _takers += 1
        share = max(1, core_count() // _takers)
    try:
        yield share
    finally:
        with _LOCK:
            _takers -= 1
