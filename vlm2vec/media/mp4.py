"""How many samples an MP4 or QuickTime file says it has, before FFmpeg takes memory for each of them."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

from vlm2vec.errors import MediaError

__all__ = ["check_sample_counts"]

# Boxes that hold others on the way to the counts (ISO/IEC 14496-12), and how deep FFmpeg follows them.
_HOLDERS = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf"}
_MAX_DEPTH = 10
# One that starts a file of this kind.
_FIRST = {b"ftyp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"styp", b"sidx", b"pnot"}
_ALWAYS = 4_000_000  # samples that any file may have: nine hours of 120 a second
_BLOCK = 2**16  # bytes of a table that are read at a time


def check_sample_counts(file: BinaryIO) -> None:
    """Refuses counts that are no description of this file: a sample takes a byte at least.

    FFmpeg makes an entry for each sample that a table or a fragment counts, so that a few bytes can take
    gigabytes and minutes before the first frame.

    Args:
        file: At any position, where it is left.

    Raises:
        MediaError: It counts more samples than it has bytes, and more than four million.
    """
    position = file.tell()
    try:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        if file.read(8)[4:] not in _FIRST:
            return
        most = max(size, _ALWAYS)
        fragments = 0
        for name, start, end in _boxes(file, 0, size, 0):
            count = _counted(file, name, start, end)
            if name == b"trun":
                fragments += count
            if max(count, fragments) > most:
                raise MediaError(
                    f"the video counts {max(count, fragments):,} samples in a file of {size:,} bytes",
                    fix="It is damaged: write it again.",
                )
    finally:
        file.seek(position)


def _boxes(file: BinaryIO, start: int, end: int, depth: int) -> Iterator[tuple[bytes, int, int]]:
    """Name of each box that holds no others, and where its content starts and ends."""
    while start + 8 <= end:
        file.seek(start)
        length, name = struct.unpack(">I4s", file.read(8))
        content = start + 8
        if length == 1:
            content += 8
            length = int.from_bytes(file.read(8), "big")
        stop = min(end, start + length) if length else end
        if stop < content:
            return
        if name in _HOLDERS:
            if depth < _MAX_DEPTH:
                yield from _boxes(file, content, stop, depth + 1)
        else:
            yield name, content, stop
        start = stop


def _counted(file: BinaryIO, name: bytes, start: int, end: int) -> int:
    """Samples that a box counts without a byte for each; 0 for all others."""
    if name not in (b"stsz", b"trun", b"stts", b"ctts") or end - start < 8:
        return 0
    file.seek(start)
    head = file.read(min(12, end - start))
    (first,) = struct.unpack_from(">I", head, 4)
    if name == b"trun":
        return int(first)
    if name == b"stsz":
        return int.from_bytes(head[8:12], "big") if first else 0
    counts = 0  # pairs of a count and what so many samples have
    file.seek(start + 8)
    left = min(8 * first, end - start - 8)
    while left >= 8:
        block = file.read(min(left, _BLOCK))
        if len(block) < 8:
            break
        counts += sum(count for count, _ in struct.iter_unpack(">II", block[: len(block) // 8 * 8]))
        left -= len(block)
    return counts
