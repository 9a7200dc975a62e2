"""A time limit that long loops ask about, since a decoder cannot be interrupted."""

from __future__ import annotations

import time

from vlm2vec.errors import LimitError

__all__ = ["Deadline"]


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

    def check(self) -> None:
        """Raises LimitError when the time is up."""
        if time.monotonic() > self._end:
            raise LimitError(
                f"{self._work} took longer than {self._seconds:g} s", fix="Raise Limits.decode_seconds."
            )
