"""What the header of an AVI file claims, before FFmpeg takes memory for it."""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

from vlm2vec.errors import MediaError

__all__ = ["check_header"]

_KEPT = b"LIST", b"strf", b"strd"  # of lists, those with texts about the clip


def check_header(file: BinaryIO) -> None:
    """Refuses texts and settings that are longer than the file: FFmpeg takes memory for all of them.

    Other lists are gone into as FFmpeg does (avi_read_header), until the frames come; these may be cut off.

    Args:
        file: An AVI file, at any position, where it is left.

    Raises:
        MediaError: There is such a part.
    """
    position = file.tell()
    size = file.seek(0, os.SEEK_END)
    start = 12  # behind RIFF, a length and AVI
    while start + 12 <= size:
        file.seek(start)
        name, length, kind = struct.unpack("<4sI4s", file.read(12))
        if name == b"LIST" and kind != b"INFO":
            if kind == b"movi":
                break
            start += 12
            continue
        if name in _KEPT and length > size - start - 8:
            raise MediaError(
                f"its header says that it tells {length:,} bytes of itself, in a file of {size:,}",
                fix="It is damaged or cut off: write it again.",
            )
        start += 8 + length + length % 2
    file.seek(position)
