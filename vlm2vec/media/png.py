"""What Pillow misses in PNG files: large comments, and transparent levels of other than 8 bits."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, PngImagePlugin

__all__ = ["chunks", "transparent_level", "transparent_pixels", "without_large_comments"]

_START = 8  # bytes of the signature
# Chunks of text and of colour profiles (PNG 1.2, 4.2.2.4 and 4.2.3).
_COMMENTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
# What a level of fewer than 8 bits is multiplied by when Pillow reads it, by its name for the layout.
_SCALES = {"L;2": 85, "L;4": 17}
_DEEP = "RGB;16B"


def chunks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Name, offset and length of each chunk's content, from its header alone; moves the file's position."""
    file.seek(_START)
    while len(header := file.read(8)) == 8:
        length, name = struct.unpack(">I4s", header)
        offset = file.tell()
        yield name, offset, length
        file.seek(offset + length + 4)


def without_large_comments(file: BinaryIO) -> BinaryIO:
    """The same PNG without the comments and colour profiles that Pillow takes for bombs; mostly itself."""
    spans, total = [], 0
    for name, offset, length in chunks(file):
        if name not in _COMMENTS:
            continue
        unpacked = 0
        # Behind that many, all are left out, whatever they hold: a file may have thousands of bombs.
        if name != b"tEXt" and total <= PngImagePlugin.MAX_TEXT_MEMORY:
            file.seek(offset)
            unpacked = _unpacked_size(name, file.read(length))
        total += max(length, unpacked)
        if unpacked >= PngImagePlugin.MAX_TEXT_CHUNK or total > PngImagePlugin.MAX_TEXT_MEMORY:
            spans.append((offset - 8, offset + length + 4))
    file.seek(0)
    if not spans:
        return file
    kept = []
    for start, end in spans:
        kept.append(file.read(start - file.tell()))
        file.seek(end)
    return io.BytesIO(b"".join([*kept, file.read()]))


def transparent_level(picture: Image.Image) -> int | None:
    """The transparent level of a PNG that is opened and not loaded, as Pillow's pixels have it.

    Pillow leaves it as the file has it, and stretches the pixels to 8 bits; `None` where it is right.
    """
    level = picture.info.get("transparency")
    scale = _SCALES.get(_layout(picture))
    return level * scale if isinstance(level, int) and scale is not None else None


def transparent_pixels(picture: Image.Image, file: BinaryIO) -> np.ndarray | None:
    """Where a PNG of 16 bits a channel, opened and not loaded, has its transparent colour.

    Pillow keeps the upper bytes of the pixels alone, and they do not tell. `file` is read once more for the
    lower ones: those that Pillow takes for the upper ones when the order of bytes is turned round.

    Returns:
        Of shape (H, W), bool; `None` for any other picture.
    """
    colour = picture.info.get("transparency")
    if _layout(picture) != _DEEP or not isinstance(colour, tuple):
        return None
    file.seek(0)
    with Image.open(without_large_comments(file), formats=["PNG"]) as again:
        tiles: Any = again
        tiles.tile = [tile._replace(args="RGB;16L") for tile in tiles.tile]
        lower = np.asarray(again.convert("RGB"))
    upper = np.asarray(picture.convert("RGB"))
    clear: np.ndarray = (upper.astype(np.uint16) << 8 | lower) == np.asarray(colour, np.uint16)
    return np.asarray(clear.all(axis=2))


def _layout(picture: Image.Image) -> str:
    """Pillow's name for how a PNG's pixels are stored; empty for anything else, or once it is loaded."""
    tile = getattr(picture, "tile", None) if picture.format == "PNG" else None
    args = tile[0].args if tile else ""
    return str(args if isinstance(args, str) else args[0])


def _unpacked_size(name: bytes, content: bytes) -> int:
    """Bytes of a chunk's compressed text, counted to Pillow's limit; 0 where it is not compressed."""
    packed = content.partition(b"\0")[2][1:]  # behind the keyword, and the method of compression
    if name == b"iTXt":  # the method comes second there, and two more words follow
        if content.partition(b"\0")[2][:1] == b"\0":
            return 0
        packed = packed[1:].split(b"\0", 2)[-1]
    with suppress(zlib.error):
        return len(zlib.decompressobj().decompress(packed, PngImagePlugin.MAX_TEXT_CHUNK))
    return 0
