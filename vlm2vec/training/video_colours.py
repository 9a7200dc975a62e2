"""What a video file does to colours: one colour for each block of two by two pixels."""

from __future__ import annotations

import numpy as np

__all__ = ["blur_colours"]

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""Shares of red, green and blue in brightness (ITU-R BT.601)."""


def blur_colours(frames: np.ndarray) -> np.ndarray:
    """Frames as they come back from 4:2:0 video: brightness kept, colours averaged over blocks.

    Args:
        frames: `(t, height, width, 3)` uint8, both sides even.

    Returns:
        The same shape, uint8.
    """
    pixels = frames.astype(np.float32)
    brightness = (pixels @ _LUMA)[..., None]
    time, height, width, _ = frames.shape
    colours = (pixels - brightness).reshape(time, height // 2, 2, width // 2, 2, 3).mean(axis=(2, 4))
    blurred = brightness + colours.repeat(2, axis=1).repeat(2, axis=2)
    rounded: np.ndarray = blurred.round().clip(0, 255).astype(np.uint8)
    return rounded
