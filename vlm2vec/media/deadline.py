"""Two reasons to stop in the middle of an input: its time is up, or the caller has given up.

A decoder cannot be interrupted, so loops over packets, frames and pictures ask between two of them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from vlm2vec.errors import LimitError

__all__ = ["Cancelled", "Deadline", "cancellable", "raise_if_cancelled"]

_this_thread = threading.local()


class Cancelled(BaseException):
    """Work on an input was called off. Nothing is wrong with the input, so handlers of errors let it pass."""


@contextmanager
def cancellable(event: threading.Event) -> Iterator[None]:
    """Stops what this thread reads, draws or decodes inside the block soon after `event` is set.

    Each job of a worker thread runs inside one; on Ctrl-C the main thread sets the event, and every job ends
    with `Cancelled` after the packet, frame or picture in hand.

    Example:
        >>> stop = threading.Event()
        >>> with cancellable(stop):
        ...     raise_if_cancelled()
    """
    outer = _event()
    _this_thread.event = event
    try:
        yield
    finally:
        _this_thread.event = outer


def raise_if_cancelled() -> None:
    """Raises Cancelled when the event of the innermost `cancellable` is set."""
    event = _event()
    if event is not None and event.is_set():
        raise Cancelled


def _event() -> threading.Event | None:
    return getattr(_this_thread, "event", None)


class Deadline:
    """A point in time after which work on one input stops.

    Args:
        seconds: Time from now, in seconds.
        work: What is being done, for the message.

    Example:
        >>> Deadline(60, "decoding the video").check()
    """

    def __init__(self, seconds: float, work: str) -> None:
        self._seconds = seconds
        self._work = work
        self._end = time.monotonic() + seconds
        self._event = _event()

    def check(self) -> None:
        """Raises LimitError when the time is up, and Cancelled when the work was called off."""
        if self._event is not None and self._event.is_set():
            raise Cancelled
        if time.monotonic() > self._end:
            raise LimitError(
                f"{self._work} took longer than {self._seconds:g} s", fix="Raise Limits.decode_seconds."
            )
