"""Every mode of a PIL image to RGB, each converted on purpose."""

from __future__ import annotations

from typing import Literal

import numpy as np
from PIL import Image

from vlm2vec.errors import InputError

__all__ = ["composite_on_white", "to_rgb"]


def to_rgb(picture: Image.Image, alpha: Literal["drop", "white"]) -> Image.Image:
    """A loaded picture in RGB: itself, if it is that already.

    1, L, P, CMYK, YCbCr, HSV and LAB are converted by Pillow; colour profiles are not applied. Transparency
    (an alpha channel, or a transparent colour) is dropped or composited. 16-bit grey is divided by 257, so
    that white stays white. F counts from 0 to 1, or from 0 to 255 where it holds more than 1.

    Args:
        picture: The picture, loaded.
        alpha: "drop" ignores transparency, "white" composites onto white.

    Raises:
        InputError: The values of a mode I or F picture have no known range.
    """
    if picture.mode.startswith("I;16"):
        return _grey(_from_16_bit(np.asarray(picture)))
    if picture.mode == "I":
        return _grey(_from_16_bit(_checked_range(np.asarray(picture))))
    if picture.mode == "F":
        return _grey(_from_float(np.asarray(picture)))
    if alpha == "white" and picture.has_transparency_data:
        return _on_white(picture.convert("RGBA"))
    if picture.mode == "PA":
        picture = picture.convert("RGBA")
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def composite_on_white(rgba: np.ndarray) -> np.ndarray:
    """A transparent picture on white paper, rounded as Pillow does.

    Args:
        rgba: Picture of shape (H, W, 4), uint8.

    Returns:
        Picture of shape (H, W, 3), uint8.
    """
    return np.asarray(_on_white(Image.fromarray(np.ascontiguousarray(rgba))))


def _on_white(picture: Image.Image) -> Image.Image:
    paper = Image.new("RGBA", picture.size, (255, 255, 255, 255))
    return Image.alpha_composite(paper, picture).convert("RGB")


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
