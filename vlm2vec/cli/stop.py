"""Ctrl-C: a line at once, exit code 130, and none of the seconds in which Python tidies up."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

__all__ = ["stopped_means", "stopping_at_once"]

_EXIT_CODE = 128 + signal.SIGINT

_meaning = ""
_is_stopped = False


@contextmanager
def stopped_means(meaning: str) -> Iterator[None]:
    """What a user who stops the work inside the block is told.

    Args:
        meaning: What there is then, such as "nothing was written".
    """
    global _meaning  # noqa: PLW0603  # read by a signal handler, of which a process has one
    outer, _meaning = _meaning, f"; {meaning}"
    try:
        yield
    finally:
        _meaning = outer


@contextmanager
def stopping_at_once(*, is_program: bool) -> Iterator[None]:
    """Says that it stops on Ctrl-C inside the block, which then ends with `KeyboardInterrupt`.

    Where somebody else takes the signal, or ignores it, that stays as it is.

    Args:
        is_program: Whether the process ends with the block: then it ends without freeing its memory piece by
            piece, and a second Ctrl-C, or one while modules are loaded, ends it there and then.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    global _is_stopped  # noqa: PLW0603  # as above
    _is_stopped = False
    process = os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        global _is_stopped  # as above
        is_second, _is_stopped = _is_stopped, True
        is_own = os.getpid() == process  # a worker that was forked has the handler too
        if is_own and not is_second:
            _say(f"stopped{_meaning}")
        if is_own and is_program and (is_second or _is_importing(frame)):
            os._exit(_EXIT_CODE)
        signal.default_int_handler(number, frame)

    if is_program:
        atexit.register(_leave)  # before torch is there, and so after what it registers
    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _say(line: str) -> None:
    # Not by print, which may be at work just now: it cannot be called within itself.
    start = "\n" if os.isatty(2) else ""  # behind a bar, or what the terminal shows of the keys
    with suppress(OSError):
        os.write(2, f"{start}{line}\n".encode())


def _is_importing(frame: FrameType | None) -> bool:
    """Whether a module is being loaded: libraries in C++ abort the process when that is interrupted."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _leave() -> None:
    if _is_stopped:
        for file in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                file.flush()
        os._exit(_EXIT_CODE)
