"""Decoders that ask, while they read, whether they may go on.

A decoder is one call of C after another, and between two of them Pillow reads on. So the file that it reads
asks the deadline. Where a few bytes make much work, as in a JPEG that paints its pixels over and over, it
gets no more of them at a time.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, BinaryIO

import numpy as np
from PIL import Image, JpegImagePlugin

from vlm2vec.media.deadline import Deadline

__all__ = ["WatchedFile", "reading_in_steps", "watched"]

_BLOCK = 2**20  # bytes

# Pixels that the scans of a JPEG may paint in a step. A scan may have a dozen bytes, so one read of Pillow's,
# 64 KiB, may hold thousands, each of which takes up to 0.1 s for 64 megapixels.
_PAINTED_AT_ONCE = 10**9
_BYTES_AT_ONCE = 64
_START_OF_SCAN = 0xDAFF  # its two bytes, FF DA, as a little-endian number


class WatchedFile:
    """A file that asks a deadline each time that it is read.

    Args:
        file: The file.
        deadline: What it asks.

    Example:
        >>> WatchedFile(io.BytesIO(b"abc"), Deadline(60, "reading")).read(2)
        b'ab'
    """

    def __init__(self, file: BinaryIO, deadline: Deadline) -> None:
        self.file = file
        self._deadline = deadline

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def read(self, size: int = -1) -> bytes:
        """As the file's own.

        Raises:
            LimitError: The time is up.
            Cancelled: The work was called off.
        """
        self._deadline.check()
        if size > _BLOCK:  # Python takes room for as many, before it looks how many there are
            position = self.file.tell()
            size = max(0, min(size, self.file.seek(0, io.SEEK_END) - position))
            self.file.seek(position)
        return self.file.read(size)


@contextmanager
def watched(picture: Image.Image, deadline: Deadline) -> Iterator[None]:
    """Lets the file of a picture that somebody else opened ask the deadline inside the block."""
    file = getattr(picture, "fp", None)
    if file is None:
        yield
        return
    picture.fp = WatchedFile(file, deadline)  # type: ignore[attr-defined]  # of those that have a file
    try:
        yield
    finally:
        if isinstance(picture.fp, WatchedFile):  # type: ignore[attr-defined]
            picture.fp = file  # type: ignore[attr-defined]


def reading_in_steps(picture: Image.Image) -> None:
    """Lets Pillow read a JPEG, opened and not loaded, a few bytes at a time if its scans paint very often."""
    if not isinstance(picture, JpegImagePlugin.JpegImageFile) or not picture.tile or picture.fp is None:
        return
    if _scan_count(picture.fp) * picture.width * picture.height > _PAINTED_AT_ONCE:
        picture.decodermaxblock = _BYTES_AT_ONCE


def _scan_count(file: IO[bytes]) -> int:
    """Scans of a JPEG, and what looks like one in its comments: pairs of bytes that are FF DA."""
    count, last = 0, b""
    position = file.tell()
    file.seek(0)
    while block := file.read(_BLOCK):
        data = last + block
        for start in (0, 1):
            pairs = np.frombuffer(data, "<u2", (len(data) - start) // 2, start)
            count += int(np.count_nonzero(pairs == _START_OF_SCAN))
        last = block[-1:]
    file.seek(position, io.SEEK_SET)
    return count
