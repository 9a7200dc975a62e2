"""Every form of picture in memory to RGB: modes of PIL images, and arrays and tensors, each on purpose."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from vlm2vec.errors import InputError
from vlm2vec.media.pixels import Alpha

__all__ = ["array_size", "array_to_rgb", "as_array", "to_levels", "to_rgb"]


def to_rgb(picture: Image.Image, alpha: Alpha) -> Image.Image:
    """A loaded picture in RGB: itself, if it is that already.

    1, L, P, CMYK, YCbCr, HSV and LAB are converted by Pillow; colour profiles are not applied. Transparency
    (an alpha channel, or a transparent colour) is dropped or laid on white. 16-bit grey is divided by 257,
    so that white stays white. F counts from 0 to 1, or from 0 to 255 where it holds more than 1.

    Args:
        picture: The picture, loaded.
        alpha: What happens to transparency.

    Raises:
        InputError: The values of a mode I or F picture have no known range.
    """
    if picture.mode.startswith("I;16"):
        values = np.asarray(picture)
        levels = _from_16_bit(values)
        if alpha == "white" and "transparency" in picture.info:
            levels[values == picture.info["transparency"]] = 255
        return _grey(levels)
    if picture.mode == "I":
        return _grey(_from_16_bit(_checked_range(np.asarray(picture))))
    if picture.mode == "F":
        return _grey(_from_float(np.asarray(picture)))
    if picture.mode == "La":
        picture = picture.convert("LA")  # to nothing else does Pillow convert it
    if alpha == "white" and picture.has_transparency_data:
        return _on_white(picture.convert("RGBA"))
    if alpha == "white_rgba" and picture.mode == "RGBA":
        return _pasted_on_white(picture)
    if picture.mode == "PA":
        picture = picture.convert("RGBA")
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _on_white(picture: Image.Image) -> Image.Image:
    paper = Image.new("RGBA", picture.size, (255, 255, 255, 255))
    return Image.alpha_composite(paper, picture).convert("RGB")


def _pasted_on_white(picture: Image.Image) -> Image.Image:
    """As `to_rgb` of qwen_vl_utils does it, whose rounding is not that of compositing."""
    paper = Image.new("RGB", picture.size, (255, 255, 255))
    paper.paste(picture, mask=picture.getchannel("A"))
    return paper


def _grey(levels: np.ndarray) -> Image.Image:
    return Image.fromarray(levels).convert("RGB")


def _from_16_bit(values: np.ndarray) -> np.ndarray:
    """65535 becomes 255: division by 257, rounded."""
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _checked_range(values: np.ndarray) -> np.ndarray:
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise InputError(
            f"a picture of mode I holds values from {low} to {high}",
            fix="Scale it to 0..255 and convert to L.",
        )
    if 0 < high <= 255:
        raise InputError(
            "a picture of mode I holds no value above 255, so 8 and 16 bits cannot be told apart",
            fix='Convert it to "L" or "I;16".',
        )
    return values


def _from_float(values: np.ndarray) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    # NaN fails both comparisons
    if not (low >= 0 and high <= 255):
        raise InputError(
            f"a picture of mode F holds values from {low:g} to {high:g}", fix="Scale it to 0..1 or 0..255."
        )
    levels: np.ndarray = np.rint(values * 255 if high <= 1 else values).astype(np.uint8)
    return levels


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
        InputError: The shape is not that of one picture, or any of its sides may be the channels.
    """
    first = array.ndim != 2 and _channels_first(array)
    height, width = array.shape[1:] if first else array.shape[:2]
    return int(height), int(width)


def array_to_rgb(array: np.ndarray, alpha: Alpha) -> np.ndarray:
    """A picture of shape (H, W, 3), uint8 RGB, contiguous; it may share memory with `array`.

    Args:
        array: Picture of shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), or with the channels first where
            that is unambiguous; uint8, bool, or floats in [0, 1].
        alpha: What happens to transparency.

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
        levels = np.asarray(to_rgb(Image.fromarray(np.ascontiguousarray(levels)), alpha))
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
