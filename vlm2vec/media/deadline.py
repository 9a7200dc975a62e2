"""Two reasons to stop in the middle of an input: it has computed too long, or the caller has given up.

A decoder cannot be interrupted, so loops over packets, frames and pictures ask between two of them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from vlm2vec.errors import LimitError

__all__ = [
    "Cancelled",
    "Deadline",
    "Stopwatch",
    "cancellable",
    "clock_limit",
    "computed_too_long",
    "events_of_this_thread",
    "raise_if_cancelled",
    "waited_too_long",
]

# How long work may take on the clock: so many times what it may compute, and at least so many seconds.
_CLOCK_FACTOR = 10
_LEAST_CLOCK = 300.0
_LOOK_EVERY = 0.001  # seconds on the clock between two looks at what was spent
_LONGEST_GAP = 60.0  # seconds on the clock that count at most between two looks

_this_thread = threading.local()


class Cancelled(BaseException):
    """Work on an input was called off. Nothing is wrong with the input, so handlers of errors let it pass."""


@contextmanager
def cancellable(*events: threading.Event) -> Iterator[None]:
    """Stops what this thread does inside the block soon after one of `events` is set, or of a block around.

    Each job of a worker thread runs inside one; on Ctrl-C the main thread sets the event, and every job ends
    with `Cancelled` after the packet, frame or picture in hand.

    Example:
        >>> stop = threading.Event()
        >>> with cancellable(stop):
        ...     raise_if_cancelled()
    """
    outer = events_of_this_thread()
    _this_thread.events = (*outer, *events)
    try:
        yield
    finally:
        _this_thread.events = outer


def raise_if_cancelled() -> None:
    """Raises Cancelled when an event of a `cancellable` around is set."""
    _raise_if_any(events_of_this_thread())


def events_of_this_thread() -> tuple[threading.Event, ...]:
    """Those that stop what this thread does, for threads that work for it."""
    events: tuple[threading.Event, ...] = getattr(_this_thread, "events", ())
    return events


def _raise_if_any(events: tuple[threading.Event, ...]) -> None:
    for event in events:  # not by any(): it is asked for each packet of a clip, which may take a microsecond
        if event.is_set():
            raise Cancelled


def clock_limit(seconds: float) -> float:
    """How long work may take on the clock that may compute for so many seconds."""
    return max(_CLOCK_FACTOR * seconds, _LEAST_CLOCK)


def computed_too_long(work: str, seconds: float) -> LimitError:
    """The error for work that has computed for longer than it may."""
    return LimitError(
        f"{work} took longer than {seconds:g} s of the processor", fix="Raise Limits.decode_seconds."
    )


def waited_too_long(work: str, seconds: float) -> LimitError:
    """The error for work that has taken longer on the clock than it may."""
    return LimitError(
        f"{work} took longer than {seconds:g} s, most of which it waited",
        fix="Look whether the disk or the network that it is read from hangs, or raise "
        f"Limits.decode_seconds: {_CLOCK_FACTOR} times as long may pass.",
    )


class Stopwatch:
    """Seconds since it was made, for one who looks often.

    Between two looks a minute counts at most: a process that was stopped (Ctrl-Z), or whose machine slept,
    has not waited for anything.

    Example:
        >>> Stopwatch().look() < 60
        True
    """

    def __init__(self) -> None:
        self._seconds = 0.0
        self._last_look = time.monotonic()

    def look(self) -> float:
        """The seconds until now."""
        now = time.monotonic()
        self._seconds += min(now - self._last_look, _LONGEST_GAP)
        self._last_look = now
        return self._seconds


class Deadline:
    """The computing that work on one input may take, after which it stops.

    What counts is the time that the processor spends on it, in all threads that ask: a machine that is busy
    with other work, or that sleeps, refuses nothing. FFmpeg decodes in the thread that asks (`ClipFile`).
    Against what waits and never computes, such as a disk that hangs, a far longer time on the clock counts.

    Args:
        seconds: Time of the processor from now, in seconds.
        work: What is being done, for the message.

    Example:
        >>> Deadline(60, "decoding the video").check()
    """

    def __init__(self, seconds: float, work: str) -> None:
        self._seconds = seconds
        self._work = work
        self._events = events_of_this_thread()
        self._clock_limit = clock_limit(seconds)
        self._stopwatch = Stopwatch()
        self._next_look = 0.0
        self._spent = 0.0
        self._lock = threading.Lock()
        self._thread = threading.local()
        self._thread.seen = time.thread_time()

    def check(self) -> None:
        """Raises LimitError when the time is up, and Cancelled when the work was called off.

        The time of a thread counts from the first time that it asks here; of the one that made this, from
        then on.
        """
        _raise_if_any(self._events)
        clock = time.monotonic()
        if clock < self._next_look:
            return
        self._next_look = clock + _LOOK_EVERY
        now = time.thread_time()
        with self._lock:
            self._spent += now - getattr(self._thread, "seen", now)
            passed = self._stopwatch.look()
        self._thread.seen = now
        if self._spent > self._seconds:
            raise computed_too_long(self._work, self._seconds)
        if passed > self._clock_limit:
            raise waited_too_long(self._work, self._clock_limit)
