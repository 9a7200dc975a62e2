"""What a video file does to colours: one colour for each block of two by two pixels."""

from __future__ import annotations

import numpy as np
from PIL import Image

__all__ = ["blur_colours"]


def blur_colours(frames: np.ndarray) -> np.ndarray:
    """Frames as they come back from 4:2:0 video: brightness kept, colours averaged over blocks.

    Args:
        frames: `(t, height, width, 3)` uint8, both sides even.

    Returns:
        The same shape, uint8.
    """
    # All frames as one picture, one above the other.
    stack = Image.fromarray(frames.reshape(-1, *frames.shape[2:])).convert("YCbCr")
    brightness, *colours = stack.split()
    blocks = [colour.reduce(2).resize(stack.size, Image.Resampling.NEAREST) for colour in colours]
    blurred = Image.merge("YCbCr", (brightness, *blocks)).convert("RGB")
    return np.asarray(blurred).reshape(frames.shape)
