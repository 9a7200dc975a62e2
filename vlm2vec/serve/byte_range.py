"""Which bytes of a file a request asks for (RFC 9110, section 14)."""

from __future__ import annotations

import re

__all__ = ["UnsatisfiableRangeError", "byte_range"]

_ONE_RANGE = re.compile(r"\s*bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.ASCII | re.IGNORECASE)


class UnsatisfiableRangeError(Exception):
    """The range starts behind the end of the file."""


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """The first byte and the one behind the last; `None` for all.

    A request for several ranges, or one that is not understood, is one for all, as the standard allows.

    Args:
        header: The value of `Range`; `None` where there is none.
        size: Of the file, in bytes.

    Raises:
        UnsatisfiableRangeError: There is nothing in it.

    Example:
        >>> byte_range("bytes=2-5", 10), byte_range("bytes=-3", 10), byte_range("bytes=0-1,4-5", 10)
        ((2, 6), (7, 10), None)
    """
    asked = None if header is None else _ONE_RANGE.fullmatch(header)
    if asked is None or not any(asked.groups()):
        return None
    first, last = asked.groups()
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < int(first):
            return None
    if start >= size or start >= end:
        raise UnsatisfiableRangeError
    return start, end
