"""The size of a picture for the vision tower, and the resizing to it."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from vlm2vec.errors import InputError
from vlm2vec.media.pixels import PixelRules

__all__ = ["fit", "resize", "target_size"]

# Qwen2-VL's image processor refuses ratios above this (transformers, image_processing_qwen2_vl.smart_resize).
_MAX_RATIO = 200


def target_size(
    height: int, width: int, rules: PixelRules, *, frame: bool = False, max_pixels: int | None = None
) -> tuple[int, int]:
    """Size of a picture after `fit`, as (height, width), both multiples of `rules.factor`.

    Args:
        height: Height of the picture, in pixels.
        width: Width of the picture, in pixels.
        rules: Pixel budget and conversion rules.
        frame: Whether the picture is a video frame, which the rule for tiny images spares.
        max_pixels: Greatest area, in pixels, in place of `rules.max_pixels`.

    Raises:
        InputError: The picture has no pixels, is too narrow for these rules, or `max_pixels` is less than
            one token.

    Example:
        >>> target_size(1600, 1200, PixelRules(max_pixels=1_003_520))
        (1148, 840)
    """
    if height < 1 or width < 1:
        raise InputError(f"the picture is {width} x {height} pixels", fix="Pass one with at least one pixel.")
    height, width = _squeezed_size(height, width, rules, frame=frame)
    return _budget_size(height, width, rules, _greatest_area(rules, max_pixels))


def fit(
    image: np.ndarray | Image.Image, rules: PixelRules, *, frame: bool = False, max_pixels: int | None = None
) -> np.ndarray:
    """Resizes a picture to its size for the vision tower.

    Args:
        image: Picture of shape (H, W, 3), uint8, or a PIL image in RGB.
        rules: Pixel budget and conversion rules.
        frame: Whether the picture is a video frame.
        max_pixels: Greatest area, in pixels, in place of `rules.max_pixels`.

    Returns:
        Picture of shape (*target_size(H, W, ...), 3), uint8.
    """
    height, width = _size(image)
    target = target_size(height, width, rules, frame=frame, max_pixels=max_pixels)
    squeezed = _squeezed_size(height, width, rules, frame=frame)
    if squeezed != (height, width):
        # Resized twice, as in the original code.
        image = resize(image, *squeezed)
    return resize(image, *target)


def resize(image: np.ndarray | Image.Image, height: int, width: int) -> np.ndarray:
    """Resizes with Pillow's bicubic filter, on uint8, to the same pixels under any version of Pillow.

    Rows and columns are two passes with rounding between, so their order shows in the last level. Pillow
    12 always squeezes the width first, Pillow 13 the height where that takes away more; so here, always.

    Args:
        image: Picture of shape (H, W, 3), uint8, or a PIL image in RGB.
        height: New height, in pixels.
        width: New width, in pixels.

    Returns:
        Picture of shape (height, width, 3), uint8; an array of that size is given back as it is.
    """
    rows, columns = _size(image)
    if (rows, columns) == (height, width):
        return np.asarray(image)
    # Found by comparing 13.0 with both orders: no exception in 593 pairs of sizes.
    height_first = height < rows and 2 * (columns - width) < rows - height
    between = (columns, height) if height_first else (width, rows)
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    for size in (between, (width, height)):
        picture = picture.resize(size, Image.Resampling.BICUBIC)
    return np.asarray(picture)


def _size(image: np.ndarray | Image.Image) -> tuple[int, int]:
    """Height and width."""
    if isinstance(image, Image.Image):
        return image.height, image.width
    height, width = image.shape[:2]
    return height, width


def _squeezed_size(height: int, width: int, rules: PixelRules, *, frame: bool) -> tuple[int, int]:
    """Size before the budget applies."""
    if rules.fixed_size is not None:
        return rules.fixed_size
    if rules.rounded_first and not frame:
        return _rounded_size(height, width, rules.factor)
    side = rules.tiny_image_side
    if side is not None and not frame and min(height, width) < rules.factor:
        return side, side
    return height, width


def _rounded_size(height: int, width: int, factor: int) -> tuple[int, int]:
    """Multiples of the factor, 4 to 16,384 tokens, the ratio at most `_MAX_RATIO`.

    The arithmetic of `smart_resize` in qwen_vl_utils' `vision_process.py`, which unlike the processor's own
    gives each side a token before it looks at the area.
    """
    token, area = factor**2, height * width
    rows, columns = max(1, round(height / factor)), max(1, round(width / factor))
    if rows * columns > 16_384:
        shrink = math.sqrt(area / (16_384 * token))
        rows, columns = math.floor(height / shrink / factor), math.floor(width / shrink / factor)
    elif rows * columns < 4:
        grow = math.sqrt(4 * token / area)
        rows, columns = math.ceil(height * grow / factor), math.ceil(width * grow / factor)
    rows, columns = max(1, rows), max(1, columns)
    rows, columns = min(rows, columns * _MAX_RATIO), min(columns, rows * _MAX_RATIO)
    return rows * factor, columns * factor


def _greatest_area(rules: PixelRules, max_pixels: int | None) -> int:
    area = rules.max_pixels if max_pixels is None else max_pixels
    if area < rules.factor**2:
        raise InputError(
            f"max_pixels is {area:,}, less than one token",
            fix=f"Pass at least {rules.factor**2} ({rules.factor} x {rules.factor}).",
        )
    return area


def _budget_size(height: int, width: int, rules: PixelRules, max_pixels: int) -> tuple[int, int]:
    """Multiples of the factor within the budget, the ratio kept as far as possible.

    The arithmetic of `smart_resize` in transformers' `image_processing_qwen2_vl.py`, rounding included.
    """
    factor, min_pixels = rules.factor, min(rules.min_pixels, max_pixels)
    ratio = max(height, width) / min(height, width)
    if rules.extreme_ratio == "square" and (ratio > _MAX_RATIO or min(height, width) < factor):
        height = width = max(factor, height, width)
    elif ratio > _MAX_RATIO:
        raise InputError(
            f"the picture is {width} x {height} pixels, a ratio above {_MAX_RATIO}", fix="Crop or pad it."
        )
    rows, columns = round(height / factor), round(width / factor)
    if rows * columns * factor**2 > max_pixels:
        shrink = math.sqrt(height * width / max_pixels)
        rows = max(1, math.floor(height / shrink / factor))
        columns = max(1, math.floor(width / shrink / factor))
    elif rows * columns * factor**2 < min_pixels:
        grow = math.sqrt(min_pixels / (height * width))
        rows, columns = math.ceil(height * grow / factor), math.ceil(width * grow / factor)
    return rows * factor, columns * factor
