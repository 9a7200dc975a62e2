"""The size of a picture, or of the frames of a clip, for the vision tower, and the resizing to it."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from vlm2vec.errors import InputError
from vlm2vec.media.pixels import FrameRules, PixelRules

__all__ = ["FrameFit", "fit", "fit_frames", "frame_size", "resize", "target_size"]

# Qwen2-VL's image processor refuses ratios above this (transformers, image_processing_qwen2_vl.smart_resize).
_MAX_RATIO = 200

# Area of a picture that is rounded first, in squares (qwen_vl_utils, vision_process.fetch_image).
_ROUNDED_SQUARES = (4, 16_384)


def target_size(
    height: int, width: int, rules: PixelRules, *, max_pixels: int | None = None
) -> tuple[int, int]:
    """Size of a picture after `fit`, as (height, width), both multiples of `rules.factor`.

    Args:
        height: Height of the picture, in pixels.
        width: Width of the picture, in pixels.
        rules: Pixel budget and conversion rules.
        max_pixels: Greatest area, in pixels, in place of `rules.max_pixels`.

    Raises:
        InputError: The picture has no pixels, is too narrow for these rules, or `max_pixels` is less than
            one token.

    Example:
        >>> target_size(1600, 1200, PixelRules(max_pixels=1_003_520))
        (1148, 840)
    """
    _check_area(height, width)
    greatest = rules.max_pixels if max_pixels is None else _checked_budget(max_pixels, rules)
    return _budget_size(*_squeezed_size(height, width, rules), rules, rules.min_pixels, greatest)


def fit(image: np.ndarray | Image.Image, rules: PixelRules, *, max_pixels: int | None = None) -> np.ndarray:
    """Resizes a picture to its size for the vision tower.

    Args:
        image: Picture of shape (H, W, 3), uint8, or a PIL image in RGB.
        rules: Pixel budget and conversion rules.
        max_pixels: Greatest area, in pixels, in place of `rules.max_pixels`.

    Returns:
        Picture of shape (*target_size(H, W, ...), 3), uint8.
    """
    height, width = _size(image)
    target = target_size(height, width, rules, max_pixels=max_pixels)
    squeezed = _squeezed_size(height, width, rules)
    if squeezed != (height, width):
        # Resized twice, as in the original code.
        image = resize(image, *squeezed)
    return _RESIZERS[rules.resizer](image, *target)


def frame_size(
    height: int,
    width: int,
    rules: PixelRules,
    *,
    count: int,
    of_file: bool,
    max_pixels: int | None = None,
) -> tuple[int, int]:
    """Size of the frames of a clip after `fit_frames`, as (height, width), both multiples of `rules.factor`.

    Args:
        height: Height of its first frame, in pixels.
        width: Width of its first frame, in pixels.
        rules: Pixel budget and conversion rules.
        count: How many frames are taken.
        of_file: Whether they come from a video file or an animation, not as pictures.
        max_pixels: Greatest area of a frame, in pixels. Where the rules have a budget for frames, it cannot
            raise that.

    Raises:
        InputError: A frame has no pixels, is too narrow for these rules, or `max_pixels` is less than one
            token.

    Example:
        >>> rules = PixelRules(frames=FrameRules(128 * 28**2, 768 * 28**2, total_pixels=1280 * 28**2))
        >>> frame_size(720, 1280, rules, count=4, of_file=False)
        (504, 924)
        >>> frame_size(720, 1280, rules, count=8, of_file=False)
        (364, 644)
    """
    _check_area(height, width)
    squeezed = _squeezed_frame_size(height, width, rules, of_file=of_file, max_pixels=max_pixels)
    if rules.frames is None:
        most = rules.max_pixels if max_pixels is None else _checked_budget(max_pixels, rules)
        return _budget_size(*squeezed, rules, rules.min_pixels, most)
    greatest = _greatest_frame(rules.frames, rules.temporal_patch_size, count, of_file=of_file)
    if max_pixels is not None:
        greatest = min(greatest, _checked_budget(max_pixels, rules))
    return _budget_size(*squeezed, rules, rules.frames.min_pixels, greatest)


def fit_frames(
    frames: Sequence[np.ndarray], rules: PixelRules, *, of_file: bool, max_pixels: int | None = None
) -> np.ndarray:
    """Resizes the frames of a clip to one size, that of the first, for the vision tower.

    Args:
        frames: Pictures of shape (H, W, 3), uint8; their sizes may differ.
        rules: Pixel budget and conversion rules.
        of_file: Whether they come from a video file or an animation, not as pictures.
        max_pixels: Greatest area of a frame, in pixels.

    Returns:
        Frames of shape (T, *frame_size(H, W, ...), 3), uint8.

    Raises:
        InputError: As `frame_size`.
    """
    fit_frame = FrameFit(rules, of_file=of_file, max_pixels=max_pixels)
    return np.stack([fit_frame(frame, len(frames)) for frame in frames])


class FrameFit:
    """Resizes the frames of a clip, each when it is decoded, so that no two are held in full size.

    The size is that of the first frame. Who decodes several parts of a clip at a time does not know which
    comes first, and who finds damaged frames does not know how many there will be: both are taken to be as
    they seem, and `is_right` tells whether they were.

    Args:
        rules: Pixel budget and conversion rules.
        of_file: Whether they come from a video file or an animation, not as pictures.
        max_pixels: Greatest area of a frame, in pixels.
        first: Height and width of the first frame; those of whichever comes first by default.
        count: How many frames there are, whatever is said with each.

    Example:
        >>> fit_frame = FrameFit(PixelRules(), of_file=True)
        >>> fit_frame(np.zeros((300, 400, 3), np.uint8), 8).shape
        (308, 392, 3)
    """

    def __init__(
        self,
        rules: PixelRules,
        *,
        of_file: bool,
        max_pixels: int | None = None,
        first: tuple[int, int] | None = None,
        count: int | None = None,
    ) -> None:
        self._rules = rules
        self._settings: dict[str, Any] = {"of_file": of_file, "max_pixels": max_pixels}
        self._first = first
        self._count = count
        self._sizes: set[tuple[int, int]] = set()
        self._lock = threading.Lock()

    def __call__(self, frame: np.ndarray | Image.Image, count: int) -> np.ndarray:
        """The frame in the size of its clip, which has `count` frames.

        Raises:
            InputError: As `frame_size`.
        """
        with self._lock:
            first = self._first = self._first or _size(frame)
            self._sizes.add(_size(frame))
        size = self._size(count)
        squeezed = _squeezed_frame_size(*first, self._rules, **self._settings)
        resizer = _RESIZERS[(self._rules.frames or self._rules).resizer]
        return resizer(frame if squeezed == first else resize(frame, *squeezed), *size)

    def is_right(self, frames: Sequence[np.ndarray]) -> bool:
        """Whether these, which it has resized, are what `fit_frames` would give for them."""
        return len(self._sizes) == 1 and all(frame.shape[:2] == self._size(len(frames)) for frame in frames)

    def known(self, first: tuple[int, int], count: int) -> FrameFit:
        """The same for a clip whose first frame and number of frames are known."""
        return FrameFit(self._rules, **self._settings, first=first, count=count)

    def _size(self, count: int) -> tuple[int, int]:
        assert self._first is not None  # noqa: S101  # a frame has come
        return frame_size(*self._first, self._rules, count=self._count or count, **self._settings)


def resize(
    image: np.ndarray | Image.Image,
    height: int,
    width: int,
    *,
    resample: Image.Resampling = Image.Resampling.BICUBIC,
) -> np.ndarray:
    """Resizes with a filter of Pillow's, on uint8, to the same pixels under any version of Pillow.

    Rows and columns are two passes with rounding between, so their order shows in the last level. Pillow
    12 always squeezes the width first, Pillow 13 the height where that takes away more; so here, always.

    Args:
        image: Picture of shape (H, W, 3), uint8, or a PIL image in RGB.
        height: New height, in pixels.
        width: New width, in pixels.
        resample: The filter.

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
        picture = picture.resize(size, resample)
    return np.asarray(picture)


def _by_torch(image: np.ndarray | Image.Image, height: int, width: int, *, as_float: bool) -> np.ndarray:
    """Resizes with torch's bicubic filter with antialias: its own for uint8, or in float32, then rounded.

    Both give what torchvision's `resize` gives for uint8 on a CPU, where the fast image processors of
    transformers call the first and qwen_vl_utils calls the second.
    """
    if _size(image) == (height, width):
        return np.asarray(image)
    import torch

    given = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]  # (1, 3, H, W)
    made = torch.nn.functional.interpolate(
        given.float() if as_float else given, size=(height, width), mode="bicubic", antialias=True
    )
    if as_float:
        made = made.clamp_(0, 255).round_().to(torch.uint8)
    return np.ascontiguousarray(made[0].permute(1, 2, 0).numpy())


_RESIZERS: Mapping[str, Callable[[np.ndarray | Image.Image, int, int], np.ndarray]] = {
    "pillow": resize,
    "torch": partial(_by_torch, as_float=False),
    "float32": partial(_by_torch, as_float=True),
}


def _size(image: np.ndarray | Image.Image) -> tuple[int, int]:
    """Height and width."""
    if isinstance(image, Image.Image):
        return image.height, image.width
    height, width = image.shape[:2]
    return height, width


def _check_area(height: int, width: int) -> None:
    if height < 1 or width < 1:
        raise InputError(f"the picture is {width} x {height} pixels", fix="Pass one with at least one pixel.")


def _checked_budget(max_pixels: int, rules: PixelRules) -> int:
    if max_pixels < rules.factor**2:
        raise InputError(
            f"max_pixels is {max_pixels:,}, less than one token",
            fix=f"Pass at least {rules.factor**2} ({rules.factor} x {rules.factor}).",
        )
    return max_pixels


def _check_ratio(height: int, width: int) -> None:
    if max(height, width) > _MAX_RATIO * min(height, width):
        raise InputError(
            f"the picture is {width} x {height} pixels, a ratio above {_MAX_RATIO}", fix="Crop or pad it."
        )


def _squeezed_size(height: int, width: int, rules: PixelRules) -> tuple[int, int]:
    """Size of a picture before the budget applies."""
    if rules.fixed_size is not None:
        return rules.fixed_size
    if rules.rounded_first:
        return _rounded_size(height, width, rules.factor)
    side = rules.tiny_image_side
    if side is not None and min(height, width) < rules.factor:
        return side, side
    return height, width


def _squeezed_frame_size(
    height: int, width: int, rules: PixelRules, *, of_file: bool, max_pixels: int | None
) -> tuple[int, int]:
    """Size of a frame before the budget applies."""
    if rules.fixed_size is not None:
        return rules.fixed_size
    if rules.frames is None or rules.frames.rounded_to is None or of_file:
        return height, width
    side = rules.frames.rounded_to
    if rules.rounded_first:
        return _rounded_size(height, width, side)
    _check_ratio(height, width)
    least, most = (squares * side**2 for squares in _ROUNDED_SQUARES)
    if rules.frames.rounded_within_budget:
        least, most = rules.frames.min_pixels, rules.frames.max_pixels
    if max_pixels is not None:
        # fetch_video hands it on to the first resizing too, and knows none below the least area.
        most = min(most, max(max_pixels, rules.frames.min_pixels))
    return _utils_size(height, width, side, least, most)


def _greatest_frame(frames: FrameRules, temporal_patch_size: int, count: int, *, of_file: bool) -> float:
    """Greatest area of each of `count` frames, in pixels."""
    total = frames.total_pixels_of_files if of_file else frames.total_pixels
    if total is None:
        return frames.max_pixels
    padded = -(-count // temporal_patch_size) * temporal_patch_size
    share = total / padded * temporal_patch_size
    return max(min(frames.max_pixels, share), int(frames.min_pixels * 1.05))


def _rounded_size(height: int, width: int, side: int) -> tuple[int, int]:
    """Multiples of `side`, 4 to 16,384 squares of it, the ratio at most `_MAX_RATIO`."""
    least, most = (squares * side**2 for squares in _ROUNDED_SQUARES)
    height, width = _utils_size(height, width, side, least, most)
    return min(height, width * _MAX_RATIO), min(width, height * _MAX_RATIO)


def _budget_size(
    height: int, width: int, rules: PixelRules, min_pixels: int, max_pixels: float
) -> tuple[int, int]:
    """Multiples of the factor within the budget, the ratio kept as far as possible."""
    least = min(min_pixels, max_pixels)
    narrow = max(height, width) > _MAX_RATIO * min(height, width) or min(height, width) < rules.factor
    if rules.extreme_ratio == "square" and narrow:
        height = width = max(rules.factor, height, width)
    _check_ratio(height, width)
    size = _utils_size if rules.sizing == "utils" else _processor_size
    return size(height, width, rules.factor, least, max_pixels)


def _processor_size(
    height: int, width: int, factor: int, min_pixels: float, max_pixels: float
) -> tuple[int, int]:
    """The arithmetic of `smart_resize` in transformers' `image_processing_qwen2_vl.py`, rounding included."""
    rows, columns = round(height / factor), round(width / factor)
    return _within((height, width), (rows, columns), factor, min_pixels, max_pixels)


def _utils_size(
    height: int, width: int, factor: int, min_pixels: float, max_pixels: float
) -> tuple[int, int]:
    """That of `smart_resize` in qwen_vl_utils' `vision_process.py`: each side has a square from the start."""
    rows, columns = max(1, round(height / factor)), max(1, round(width / factor))
    return _within((height, width), (rows, columns), factor, min_pixels, max_pixels)


def _within(
    size: tuple[int, int], squares: tuple[int, int], factor: int, min_pixels: float, max_pixels: float
) -> tuple[int, int]:
    """The size of so many rows and columns of squares, or of others where that leaves the budget."""
    (height, width), (rows, columns) = size, squares
    if rows * columns * factor**2 > max_pixels:
        shrink = math.sqrt(height * width / max_pixels)
        rows = max(1, math.floor(height / shrink / factor))
        columns = max(1, math.floor(width / shrink / factor))
    elif rows * columns * factor**2 < min_pixels:
        grow = math.sqrt(min_pixels / (height * width))
        rows, columns = math.ceil(height * grow / factor), math.ceil(width * grow / factor)
    return rows * factor, columns * factor
