"""What Pillow misses in BMP files: the bit of alpha of those with 16 bits a pixel."""

from __future__ import annotations

import struct
from typing import BinaryIO

import numpy as np

__all__ = ["clear_pixels"]

_HEADER = 14  # bytes before the one that counts (BITMAPFILEHEADER)
_BIT_FIELDS = 3  # of its compression (BI_BITFIELDS)
_WITH_ALPHA = 56  # bytes of the smallest header with a mask of alpha (BITMAPV3INFOHEADER)


def clear_pixels(file: BinaryIO) -> np.ndarray | None:
    """Where a BMP of 16 bits a pixel, five of each colour and one of alpha, is transparent.

    Args:
        file: The file; its position moves.

    Returns:
        Of shape (H, W), bool; `None` for any other BMP.
    """
    file.seek(0)
    header = file.read(_HEADER + _WITH_ALPHA)
    if len(header) < _HEADER + _WITH_ALPHA:
        return None
    offset, size, width, height, _, bits, compression = struct.unpack_from("<10xIIiiHHI", header)
    (mask,) = struct.unpack_from("<I", header, _HEADER + _WITH_ALPHA - 4)
    if size < _WITH_ALPHA or bits != 16 or compression != _BIT_FIELDS or not mask:
        return None
    columns = (width + 1) // 2 * 2  # rows have whole words of four bytes
    file.seek(offset)
    rows = np.frombuffer(file.read(2 * columns * abs(height)), "<u2").reshape(-1, columns)[:, :width]
    clear: np.ndarray = (rows & mask) == 0
    return clear if height < 0 else clear[::-1]  # a height above 0 counts from below
