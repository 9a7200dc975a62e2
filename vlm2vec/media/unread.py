"""Kinds of pictures that Pillow does not read though the file is whole: what they are, by their headers."""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import Any, BinaryIO

from PIL.TiffImagePlugin import ImageFileDirectory_v2

__all__ = ["unread_kind"]

# TIFF 6.0: SampleFormat (section 19), Compression (section 8, and the registered ones of libtiff's tiff.h).
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLE_FORMAT = 256, 257, 258, 259, 262, 339
_SAMPLE_FORMATS = {2: "signed ", 3: "float ", 5: "complex integer ", 6: "complex "}
_COMPRESSIONS = {
    33003: "JPEG 2000",
    33005: "JPEG 2000",
    34712: "JPEG 2000",
    34887: "LERC",
    34892: "lossy JPEG",
    50001: "WebP",
    50002: "JPEG XL",
}
_MOST_SAMPLES = 16  # a pixel: pictures of satellites have a dozen
# PhotometricInterpretation (the same): those that are not grey, RGB, a palette, CMYK or YCbCr.
_PHOTOMETRICS = {
    8: "CIELAB",
    9: "ICCLAB",
    10: "ITULAB",
    32803: "raw camera",
    32844: "LogL",
    32845: "LogLuv",
    34892: "raw camera",
}
# The second byte of a JPEG's frame headers, and what is neither baseline nor progressive (T.81, table B.1).
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_FRAME_KINDS = {
    **dict.fromkeys((0xC3, 0xC7, 0xCB, 0xCF), "lossless "),
    **dict.fromkeys((0xC5, 0xC6, 0xCD, 0xCE), "hierarchical "),
}


def unread_kind(file: BinaryIO, label: str) -> str | None:
    """What a file is that Pillow may not read, as its header has it; `None` where it is nothing special.

    Args:
        file: The file; its position moves.
        label: Its format.
    """
    reader = {"TIFF": _tiff_kind, "JPEG": _jpeg_kind}.get(label)
    if reader is not None:
        with suppress(Exception):  # whatever Pillow's parser raises on a header that is broken
            return reader(file)
    return None


def _tiff_kind(file: BinaryIO) -> str | None:
    file.seek(0)
    head = file.read(8)
    if head[2:4] in (b"\x2b\0", b"\0\x2b"):
        head += file.read(8)  # of a BigTIFF
    tags: Any = ImageFileDirectory_v2(head)
    file.seek(tags.next)
    tags.load(file)
    if any(tag not in tags for tag in (_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC)):
        return None  # most often it is cut off
    bits = tags[_BITS]
    if len(bits) > _MOST_SAMPLES or not all(isinstance(size, int) for size in bits):
        return None  # it is damaged
    formats = set(tags.get(_SAMPLE_FORMAT, (1,)))
    number = tags.get(_COMPRESSION, 1)
    if not isinstance(number, int):
        return None
    sizes = " and ".join(f"{size}-bit" for size in sorted(set(bits)))
    form = "".join(_SAMPLE_FORMATS.get(one, "") for one in formats)
    colours = _PHOTOMETRICS.get(tags.get(_PHOTOMETRIC), "")
    kind = f"a TIFF of {sizes} {form}{colours}{colours and ' '}samples"
    if len(bits) > 1:
        kind += f", {len(bits)} a pixel"
    if number in _COMPRESSIONS:
        kind += f", compressed as {_COMPRESSIONS[number]}"
    elif number != 1:
        kind += f", of compression {number}"
    return kind


def _jpeg_kind(file: BinaryIO) -> str | None:
    file.seek(2)
    while len(header := file.read(4)) == 4:
        _, marker, length = struct.unpack(">BBH", header)
        if marker in _FRAMES:
            bits, channels = struct.unpack(">B4xB", file.read(6))
            if marker in _FRAME_KINDS or bits != 8 or channels not in (1, 3, 4):
                of = "1 channel" if channels == 1 else f"{channels} channels"
                return f"a {_FRAME_KINDS.get(marker, '')}JPEG of {of} of {bits} bits"
            return None
        file.seek(length - 2, 1)
    return None
