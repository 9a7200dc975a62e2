"""Arrays and tensors that callers pass as pictures."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from vlm2vec.errors import InputError
from vlm2vec.media.modes import composite_on_white

__all__ = ["array_size", "array_to_rgb", "as_array", "to_levels"]

_CHANNELS = (1, 3, 4)


def as_array(value: Any) -> np.ndarray:
    """A numpy array of an array or of a tensor on any device, torch not being imported.

    Raises:
        InputError: It is neither.
    """
    if isinstance(value, np.ndarray):
        return value
    if all(hasattr(value, name) for name in ("detach", "cpu", "numpy")):
        tensor = value.detach().cpu()
        # numpy has no bfloat16
        return np.asarray((tensor.float() if "bfloat16" in str(tensor.dtype) else tensor).numpy())
    raise InputError(
        f"a {type(value).__name__} is no picture", fix="Pass a path, a PIL image, an array or bytes."
    )


def array_size(array: np.ndarray) -> tuple[int, int]:
    """Size of a picture as (height, width).

    Raises:
        InputError: The shape is not that of one picture, or its channels cannot be told from its sides.
    """
    first = array.ndim != 2 and _channels_first(array)
    height, width = array.shape[1:] if first else array.shape[:2]
    return int(height), int(width)


def array_to_rgb(array: np.ndarray, alpha: Literal["drop", "white"]) -> np.ndarray:
    """A picture of shape (H, W, 3), uint8 RGB, contiguous; it may share memory with `array`.

    Args:
        array: Picture of shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), or with the channels first where
            that is unambiguous; uint8, bool, or floats in [0, 1].
        alpha: "drop" ignores transparency, "white" composites onto white.

    Raises:
        InputError: It has another shape, type or range.
    """
    if array.ndim == 2:
        array = array[:, :, None]
    elif _channels_first(array):
        array = array.transpose(1, 2, 0)
    levels = to_levels(array)
    if levels.shape[2] == 1:
        levels = np.repeat(levels, 3, axis=2)
    elif levels.shape[2] == 4:
        levels = composite_on_white(levels) if alpha == "white" else levels[:, :, :3]
    return np.ascontiguousarray(levels)


def to_levels(array: np.ndarray) -> np.ndarray:
    """The same values as uint8 levels.

    Raises:
        InputError: The type or the range is none that pictures have.
    """
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        white: np.ndarray = array.view(np.uint8) * np.uint8(255)
        return white
    if not np.issubdtype(array.dtype, np.floating):
        raise InputError(
            f"the array has the type {array.dtype}", fix="Pass uint8 levels, or floats between 0 and 1."
        )
    if not array.size:
        return array.astype(np.uint8)
    low, high = float(array.min()), float(array.max())
    # NaN fails both comparisons
    if not (low >= 0 and high <= 1):
        raise InputError(
            f"the array holds floats from {low:g} to {high:g}",
            fix="Scale floats to between 0 and 1, or pass array.round().astype('uint8') if they are levels.",
        )
    levels: np.ndarray = np.rint(array.astype(np.float64) * 255).astype(np.uint8)
    return levels


def _channels_first(array: np.ndarray) -> bool:
    if array.ndim != 3:
        raise InputError(
            f"the array has the shape {array.shape}",
            fix="Pass one picture, of shape (height, width, 3), or a clip as a video.",
        )
    first, last = array.shape[0] in _CHANNELS, array.shape[2] in _CHANNELS
    if not first and not last:
        raise InputError(f"the array has the shape {array.shape}", fix="Pass the shape (height, width, 3).")
    if first and last and (array.shape[2] != 3 or array.shape[0] == 3):
        raise InputError(
            f"the shape {array.shape} can mean channels first or channels last",
            fix="Pass PIL.Image.fromarray(...) of it instead.",
        )
    return not last
