"""TIFF and BMP files of kinds that Pillow does not write, from their headers on."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np


def tiff_of(
    data: bytes,
    width: int,
    height: int,
    *,
    bits: Sequence[int] = (8,),
    photometric: int = 1,
    sample_format: int = 1,
    compression: int = 1,
) -> bytes:
    """A TIFF of one strip, little endian; `bits` has a number for each sample of a pixel."""
    start = 8 + len(data) + len(data) % 2
    words = {  # by tag: what its values are, 3 for 16 bits and 4 for 32, and the values
        256: (3, [width]),
        257: (3, [height]),
        258: (3, list(bits)),
        259: (3, [compression]),
        262: (3, [photometric]),
        273: (4, [8]),
        277: (3, [len(bits)]),
        278: (3, [height]),
        279: (4, [len(data)]),
        339: (3, [sample_format] * len(bits)),
    }
    entries, outside = b"", b""
    for tag, (form, values) in words.items():
        raw = struct.pack(f"<{len(values)}{'H' if form == 3 else 'I'}", *values)
        if len(raw) > 4:
            place = start + 2 + 12 * len(words) + 4 + len(outside)
            raw, outside = struct.pack("<I", place), outside + raw
        entries += struct.pack("<HHI", tag, form, len(values)) + raw.ljust(4, b"\0")
    head = b"II*\0" + struct.pack("<I", start) + data.ljust(start - 8, b"\0")
    return head + struct.pack("<H", len(words)) + entries + b"\0\0\0\0" + outside


def bmp_of(
    pixels: np.ndarray,
    masks: Sequence[int],
    alpha: int = 0,
    *,
    header: int = 124,
    top_down: bool = False,
    compression: int = 3,
) -> bytes:
    """A BMP of bit fields.

    Args:
        pixels: Of shape (H, W), uint16 or uint32, the first row being the first that is stored.
        masks: Of red, green and blue.
        alpha: Mask of alpha.
        header: Bytes of the header, 56, 108 or 124.
        top_down: Whether the first row is the uppermost.
        compression: 3 for bit fields.
    """
    height, width = pixels.shape
    bits = pixels.itemsize * 8
    rows = b"".join(
        row.tobytes().ljust(-(-width * bits // 32) * 4, b"\0") for row in pixels.astype(f"<u{bits // 8}")
    )
    sizes = (header, width, -height if top_down else height, 1, bits, compression, len(rows), 0, 0, 0, 0)
    body = (struct.pack("<IiiHHIIiiII", *sizes) + struct.pack("<IIII", *masks, alpha)).ljust(header, b"\0")
    place = 14 + len(body)
    return b"BM" + struct.pack("<IHHI", place + len(rows), 0, 0, place) + body + rows
