"""What an MP4 or QuickTime file says it has, before FFmpeg takes memory for all of it."""

from __future__ import annotations

import io
import os
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import BinaryIO

from vlm2vec.errors import MediaError

__all__ = ["check_sample_counts"]

# Boxes that FFmpeg looks for others in (ISO/IEC 14496-12 and -14, QuickTime), and how deep it follows them.
_HOLDERS = {
    *(b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf", b"mvex", b"edts", b"dinf", b"tref"),
    *(b"udta", b"meta", b"ilst", b"wave", b"sinf", b"schi"),
}
_MAX_DEPTH = 10
# One that starts a file of this kind.
_FIRST = {b"ftyp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"styp", b"sidx", b"pnot"}
_TABLES = re.compile(b"stsz|stz2|stts|ctts|stsc|stco|co64|elst|trun")
_ALWAYS = 4_000_000  # samples that any file may have: nine hours of 120 a second
_BLOCK = 2**16  # bytes of a table that are read at a time
_UNPACKED = 2**26  # bytes of a header that is packed
# Of sound that is stored in chunks, FFmpeg makes an entry for at least so many samples (mov_build_index).
_SAMPLES_OF_AN_ENTRY = 160
# It makes new entries for each edit (mov_fix_index): so many are a gigabyte. A few edits may have more.
_EDITED, _FEW_EDITS = 2**25, 8


@dataclass
class _Track:
    """What was found of a track so far.

    Attributes:
        kinds: Of its handlers: "soun" is sound.
        is_ticking: Whether each sample is said to last one unit of time, as those of sound are.
        samples: How many there are.
        chunks: How many there are.
        of_a_chunk: Samples of the largest chunk.
        edits: How many there are.
    """

    kinds: set[bytes] = field(default_factory=set)
    is_ticking: bool | None = None
    samples: int = 0
    chunks: int = 0
    of_a_chunk: int = 0
    edits: int = 0

    @property
    def samples_of_an_entry(self) -> int:
        """FFmpeg makes an entry for each sample, but for many of sound that is stored in chunks."""
        is_sound = b"soun" in self.kinds and b"vide" not in self.kinds
        return _SAMPLES_OF_AN_ENTRY if is_sound and self.is_ticking else 1

    @property
    def entries(self) -> int:
        """Those that FFmpeg makes of it, edits aside."""
        in_chunks = self.chunks * self.of_a_chunk // _SAMPLES_OF_AN_ENTRY
        return max(self.samples // self.samples_of_an_entry, in_chunks)


def check_sample_counts(file: BinaryIO) -> None:
    """Refuses counts that are no description of this file: a sample takes a byte at least.

    FFmpeg makes an entry for each sample that a table or a fragment counts, and for each edit once more, so
    that a few bytes can take gigabytes and minutes before the first frame.

    Args:
        file: At any position, where it is left.

    Raises:
        MediaError: It counts more samples than it has bytes, and more than four million; or edits that
            repeat them very often.
    """
    position = file.tell()
    try:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        if file.read(8)[4:] in _FIRST:
            _check(file, size, max(size, _ALWAYS), 0)
    finally:
        file.seek(position)


def _check(file: BinaryIO, size: int, most: int, depth: int) -> None:
    fragments, track = 0, _Track()
    for name, start, end in _boxes(file, 0, size, depth):
        if name == b"cmov" and depth < _MAX_DEPTH:
            file.seek(start)
            header = _unpacked(file.read(min(end - start, _UNPACKED)))
            if len(header) == _UNPACKED:
                raise MediaError(f"its header unpacks to {_UNPACKED:,} bytes and more", fix="Write it again.")
            _check(io.BytesIO(header), len(header), most, depth + 1)
        track = _Track() if name == b"trak" else track
        count = _counted(file, name, start, end, track)
        if name == b"trun":
            fragments += count
        found = max(count, fragments, track.entries)
        if found > most:
            raise MediaError(
                f"the video counts {found:,} samples in a file of {size:,} bytes",
                fix="It is damaged: write it again.",
            )
        if track.edits > _FEW_EDITS and track.edits * track.entries > _EDITED:
            raise MediaError(
                f"the video shows its {track.entries:,} samples in {track.edits:,} edits",
                fix="Write it again, as it is to be shown.",
            )


def _boxes(file: BinaryIO, start: int, end: int, depth: int) -> Iterator[tuple[bytes, int, int]]:
    """Name of each box that holds no others, and of each track, and where its content starts and ends."""
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
        if name not in _HOLDERS or name == b"trak":
            yield name, content, stop
        if name in _HOLDERS and depth < _MAX_DEPTH:
            inside = content + _before_boxes(file) if name == b"meta" else content
            yield from _boxes(file, inside, stop, depth + 1)
        if name == b"stsd":  # what it tells of a codec may have boxes behind it, at no certain place
            yield from _tables(file, content, stop)
        start = stop


def _before_boxes(file: BinaryIO) -> int:
    """Bytes of a box "meta" that the file is in before its first box, which is a handler."""
    return max(0, file.read(_BLOCK).find(b"hdlr") - 4)


def _tables(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """The same for what looks like a table, wherever it stands."""
    for place in range(start, end, _BLOCK):
        file.seek(place)
        for found in _TABLES.finditer(file.read(min(_BLOCK + 3, end - place))):
            yield found[0], place + found.end(), end


def _unpacked(content: bytes) -> bytes:
    """A header that is packed (QuickTime, compressed movie resource), as far as it may go."""
    with suppress(zlib.error):  # behind two boxes' heads, the name of the method and the length
        return zlib.decompressobj().decompress(content[24:], _UNPACKED)
    return b""


def _counted(file: BinaryIO, name: bytes, start: int, end: int, track: _Track) -> int:
    """Entries that a box makes without a byte for each; 0 for all others. What else counts is noted."""
    if name != b"hdlr" and (_TABLES.fullmatch(name) is None or end - start < 8):
        return 0
    file.seek(start)
    head = file.read(min(16, end - start))
    if name == b"hdlr":
        track.kinds.add(head[8:12])
        return 0
    (first,) = struct.unpack_from(">I", head, 4)
    if name == b"stts":
        track.is_ticking = track.is_ticking is not False and first == 1 and head[12:16] == b"\0\0\0\1"
    if name == b"trun":
        return int(first)
    if name in (b"stsz", b"stz2"):
        track.samples = max(track.samples, int.from_bytes(head[8:12], "big"))
        return 0
    if name in (b"stco", b"co64"):
        track.chunks = max(track.chunks, min(first, file.seek(0, os.SEEK_END) // 4))
        return 0
    if name == b"elst":
        track.edits = max(track.edits, (end - start - 8) // (20 if head[0] == 1 else 12))
        return 0
    width = 12 if name == b"stsc" else 8
    counts = 0  # pairs of a count and what so many samples have; or of chunks, the samples in the middle
    file.seek(start + 8)
    left = min(width * first, end - start - 8)
    while left >= width:
        block = file.read(min(left, _BLOCK // width * width))
        if len(block) < width:
            break
        numbers = struct.iter_unpack(
            ">4xI4x" if width == 12 else ">I4x", block[: len(block) // width * width]
        )
        found = [number for (number,) in numbers]
        track.of_a_chunk = max(track.of_a_chunk, *found) if width == 12 else track.of_a_chunk
        counts += sum(found) if width == 8 else 0
        left -= len(block)
    return counts // track.samples_of_an_entry
