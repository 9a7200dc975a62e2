"""How long the index of a Matroska file is: FFmpeg puts it in order in a time that grows with its square."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO

__all__ = ["has_long_index"]

# Elements (RFC 9559, section 5.1).
_EBML, _SEGMENT, _SEEK_HEAD, _SEEK, _SEEK_POSITION = 0x1A45DFA3, 0x18538067, 0x114D9B74, 0x4DBB, 0x53AC
_CUES, _CLUSTER = 0x1C53BB6B, 0x1F43B675
_LONG = 3 * 2**19  # bytes: about a hundred thousand entries, which take a second in the worst order


def has_long_index(file: BinaryIO) -> bool:
    """Whether its index has more than 1.5 MiB, or how long it is cannot be seen.

    FFmpeg reads what comes before the first cluster, and what tables of places there lead to.

    Args:
        file: A Matroska or WebM file; its position moves.
    """
    header = _element(file, 0)
    if header is None or header[0] != _EBML or header[2] is None:
        return True
    segment = _element(file, header[2])
    if segment is None or segment[0] != _SEGMENT:
        return True
    places, known, total = [segment[1]], set[int](), 0
    is_first = True  # what stands one behind the other from the first place on, and each other one alone
    while places:
        place: int | None = places.pop()
        while place is not None and place not in known and (element := _element(file, place)) is not None:
            known.add(place)
            name, start, place = element
            if name == _CLUSTER:
                break
            if place is None:
                return True
            total += place - start if name == _CUES else 0
            if name == _SEEK_HEAD:
                places += [segment[1] + found for found in _sought(file, start, place)]
            if not is_first:
                break
        is_first = False
    return total > _LONG


def _sought(file: BinaryIO, start: int, end: int) -> Iterator[int]:
    """The places that a table of them names."""
    for name, content, stop in _elements(file, start, end):
        if name == _SEEK:
            for inner, place, after in _elements(file, content, stop):
                if inner == _SEEK_POSITION:
                    file.seek(place)
                    yield int.from_bytes(file.read(max(0, min(8, after - place))), "big")


def _elements(file: BinaryIO, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    while start < end and (element := _element(file, start)) is not None:
        name, content, stop = element
        start = end if stop is None else min(stop, end)
        yield name, content, start


def _element(file: BinaryIO, place: int) -> tuple[int, int, int | None] | None:
    """Name of the element at a place, and where its content starts and ends, `None` where it does not say."""
    size = file.seek(0, os.SEEK_END)
    file.seek(min(place, size))  # a file may claim places that no file has
    head = file.read(12)
    if not head or not head[0]:
        return None
    width = 9 - head[0].bit_length()
    name, head = int.from_bytes(head[:width], "big"), head[width:]
    if not head or not head[0]:
        return None
    length = 9 - head[0].bit_length()
    content = int.from_bytes(head[:length], "big") & ~(1 << 7 * length)
    start = place + width + length
    return name, start, None if content == (1 << 7 * length) - 1 else start + content
