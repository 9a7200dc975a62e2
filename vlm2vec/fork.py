"""Forked processes: locks that are free in them, and whether this thread has come through a fork.

Only the thread that forks lives on in the child. A lock that another thread held then is never released
there, and threads that a library has started for the one that forked are gone without its knowing.
"""

from __future__ import annotations

import os
import threading

__all__ = ["free_after_fork", "has_forked"]

_survivor: int | None = None


def free_after_fork(lock: threading.Lock) -> threading.Lock:
    """The lock, for which a fork waits: what it guards is whole in the child, and the lock is free there.

    Example:
        >>> free_after_fork(threading.Lock()).locked()
        False
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)
    return lock


def has_forked() -> bool:
    """Whether this thread was there before the process was forked from another."""
    return threading.get_ident() == _survivor


def _after_fork() -> None:
    global _survivor  # noqa: PLW0603  # a process has one
    _survivor = threading.get_ident()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
