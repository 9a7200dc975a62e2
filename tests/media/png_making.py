"""PNG files of every colour type and depth, written by hand, and the pixels that they stand for."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np

# (colour type, bits) by name (PNG 1.2, table 11.1), and how many samples a pixel has.
GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
SAMPLES = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}
DEPTHS = {
    GREY: (1, 2, 4, 8, 16),
    RGB: (8, 16),
    PALETTE: (1, 2, 4, 8),
    GREY_ALPHA: (8, 16),
    RGBA: (8, 16),
}


def chunk(name: bytes, content: bytes) -> bytes:
    """A chunk, with its length and its sum."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(
    samples: np.ndarray,
    colour: int,
    bits: int,
    *,
    palette: np.ndarray | None = None,
    clear: Sequence[int] | bytes | None = None,
    before: bytes = b"",
) -> bytes:
    """A PNG.

    Args:
        samples: Of shape (H, W, samples), at the file's own depth.
        colour: The colour type.
        bits: Bits of a sample.
        palette: Of shape (n, 3).
        clear: The transparent sample or samples; for a palette the opacity of each entry.
        before: Chunks between header and pixels.
    """
    height, width, _ = samples.shape
    if bits == 16:
        rows = samples.astype(">u2").reshape(height, -1).view(np.uint8)
    else:
        spread = np.unpackbits(samples.astype(np.uint8).reshape(height, -1, 1), axis=2)[:, :, 8 - bits :]
        rows = np.packbits(spread.reshape(height, -1), axis=1)
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    parts = [chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)), before]
    if palette is not None:
        parts.append(chunk(b"PLTE", palette.astype(np.uint8).tobytes()))
    if clear is not None:
        content = bytes(clear) if colour == PALETTE else struct.pack(f">{len(clear)}H", *clear)
        parts.append(chunk(b"tRNS", content))
    parts += [chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def meaning(
    samples: np.ndarray,
    colour: int,
    bits: int,
    *,
    palette: np.ndarray | None = None,
    clear: Sequence[int] | bytes | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Colours of shape (H, W, 3) and opacity of shape (H, W, 1), floats from 0 to 255."""
    opaque = np.full((*samples.shape[:2], 1), 255.0)
    if colour == PALETTE:
        assert palette is not None
        if clear is not None:
            table = np.array([*clear, *[255] * (2**bits - len(clear))], float)
            opaque = table[samples]
        return palette[samples[:, :, 0]].astype(float), opaque
    if clear is not None:
        opaque = np.where((samples == np.array(clear)).all(axis=2, keepdims=True), 0.0, 255.0)
    levels = samples * (255 / (2**bits - 1))
    if colour in (GREY_ALPHA, RGBA):
        levels, opaque = levels[:, :, :-1], levels[:, :, -1:]
    return np.broadcast_to(levels, (*samples.shape[:2], 3)), opaque


def on_white(colours: np.ndarray, opaque: np.ndarray) -> np.ndarray:
    """Colours laid on white by their opacity, as floats."""
    return (colours * opaque + 255 * (255 - opaque)) / 255
