"""Pictures to patches, in the order of Qwen2-VL's image processor."""

from __future__ import annotations

import numpy as np

from vlm2vec.errors import InputError
from vlm2vec.media.pixels import PixelRules

__all__ = ["patchify"]


def patchify(frames: np.ndarray, rules: PixelRules) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Cuts frames into patches.

    Args:
        frames: Frames of shape (T, H, W, 3), uint8, H and W multiples of `rules.factor`. A still image is
            one frame. The last frame is repeated until T is a multiple of `rules.temporal_patch_size`.
        rules: Pixel rules of the checkpoint.

    Returns:
        Patches of shape (t * h * w, 3 * temporal * patch * patch), uint8; values run by channel, frame, row
        and column, and the patches of one token are neighbours. And the grid (t, h, w), in patches.

    Raises:
        InputError: The frames do not have that form.

    Example:
        >>> patches, grid = patchify(np.zeros((1, 56, 84, 3), np.uint8), PixelRules())
        >>> patches.shape, grid
        ((24, 1176), (1, 4, 6))
    """
    _check(frames, rules)
    count, height, width, channels = frames.shape
    step, patch, merge = rules.temporal_patch_size, rules.patch_size, rules.merge_size
    t, h, w = -(-count // step), height // patch, width // patch
    # A row of a patch in one channel moves as one item, several times faster than byte by byte.
    rows = np.ascontiguousarray(frames.transpose(0, 3, 1, 2)).view(f"V{patch}")
    del frames  # as large as each of the copies
    rows = rows.reshape(count, channels, h // merge, merge, patch, w // merge, merge)
    blocks = np.empty((t, h // merge, w // merge, merge, merge, channels, step, patch), rows.dtype)
    for i in range(t * step):
        blocks[i // step, ..., i % step, :] = rows[min(i, count - 1)].transpose(1, 4, 2, 5, 0, 3)
    return blocks.view(np.uint8).reshape(t * h * w, channels * step * patch * patch), (t, h, w)


def _check(frames: np.ndarray, rules: PixelRules) -> None:
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or not len(frames):
        raise InputError(
            f"frames have the shape {frames.shape} and the type {frames.dtype}",
            fix="Pass (T, H, W, 3), uint8, with at least one frame.",
        )
    if frames.shape[1] % rules.factor or frames.shape[2] % rules.factor or not frames.size:
        raise InputError(
            f"frames of {frames.shape[2]} x {frames.shape[1]} pixels are no multiple of {rules.factor}",
            fix="Resize them with fit().",
        )
