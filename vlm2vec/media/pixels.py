"""How a checkpoint family turns a picture, or the frames of a clip, into the pixels for its vision tower."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from vlm2vec.errors import InputError

__all__ = ["Alpha", "FrameRules", "PixelRules"]

Alpha = Literal["drop", "white", "white_rgba"]
"""What happens to transparency: "drop" ignores it, "white" composites onto white, and "white_rgba" pastes
pictures of four channels on white, as qwen_vl_utils does, and ignores any other transparency."""


@dataclass(frozen=True)
class FrameRules:
    """Pixel budget of clip frames, where it is not that of pictures. Areas are in pixels.

    With a total, a frame has at most `max(min(max_pixels, total / frames * temporal_patch_size),
    int(1.05 * min_pixels))` pixels, its frames counted after the last one is repeated to whole patches:
    `fetch_video` of qwen_vl_utils 0.0.14.

    Attributes:
        min_pixels: Least area of a frame.
        max_pixels: Greatest area of a frame.
        total_pixels: Budget of all time steps of a clip given as pictures: a list, an array or a folder. The
            frames of a step count as one.
        total_pixels_of_files: The same of a video file or an animation.
        rounded_to: Frames given as pictures are first resized, with Pillow, to multiples of this many pixels,
            4 to 16,384 squares of that side. Not applied to frames of a file.
        rounded_within_budget: Whether `min_pixels` and `max_pixels` bound that first size too, in place of so
            many squares: where a family passes both on to qwen_vl_utils, which takes them for either.
        resizer: "pillow" is Pillow's bicubic filter; "float32" is torch's in float32 with antialias, clamped
            and rounded, as qwen_vl_utils resizes clips.
    """

    min_pixels: int
    max_pixels: int
    total_pixels: int | None = None
    total_pixels_of_files: int | None = None
    rounded_to: int | None = None
    resizer: Literal["pillow", "float32"] = "pillow"
    rounded_within_budget: bool = False


@dataclass(frozen=True)
class PixelRules:
    """Pixel budget and conversion rules of one checkpoint family.

    Sizes are multiples of `patch_size * merge_size` (28 for Qwen2-VL). Source of the numbers: Qwen2-VL's
    image processor, and the rules that VLM2Vec adds to it (`docs/profiles.md`).

    Attributes:
        min_pixels: Least area after resizing, in pixels.
        max_pixels: Greatest area after resizing, in pixels.
        patch_size: Side of a patch, in pixels.
        merge_size: Patches per side that are merged into one token.
        temporal_patch_size: Frames per patch.
        alpha: What happens to transparency: "drop", "white" or "white_rgba" (see `Alpha`).
        tiny_image_side: An image with a side below `patch_size * merge_size` is first resized to a square of
            this side, ratio not kept; `None` leaves it to the budget. Never applied to video frames.
        extreme_ratio: A picture with a ratio above 200 (or, with "square", a side below
            `patch_size * merge_size`) is squeezed to a "square" of its longer side, or is an "error".
        fixed_size: Every picture is resized to exactly this (height, width) first, ratio not kept.
        rounded_first: A picture is first resized to multiples of `factor`, 4 to 16,384 tokens, and then to
            the budget: `fetch_image` of qwen_vl_utils does the one, the image processor the other. Never
            applied to video frames.
        sizing: Whose arithmetic finds the size: that of the image "processor" of transformers, or of
            qwen_vl_utils ("utils"), which gives each side a token before it looks at the area.
        resizer: "pillow" is Pillow's bicubic filter, "torch" torch's bicubic kernel for uint8 with antialias,
            as in the fast image processors of transformers.
        crops: Most tiles of a picture, the small one of the whole not counted, for networks with tiles of
            the rule "hd" (`vlm2vec.media.tiles`).
        frames: What differs for the frames of clips; with `None` they are sized and resized as pictures, but
            for the rules that spare them.
    """

    min_pixels: int = 56 * 56
    max_pixels: int = 28 * 28 * 1280
    patch_size: int = 14
    merge_size: int = 2
    temporal_patch_size: int = 2
    alpha: Alpha = "drop"
    tiny_image_side: int | None = None
    extreme_ratio: Literal["square", "error"] = "error"
    fixed_size: tuple[int, int] | None = None
    rounded_first: bool = False
    sizing: Literal["processor", "utils"] = "processor"
    resizer: Literal["pillow", "torch"] = "pillow"
    frames: FrameRules | None = None
    crops: int = 4

    def with_budget(self, *, min_pixels: int | None = None, max_pixels: int | None = None) -> PixelRules:
        """The same rules with another budget for pictures; clips follow it where they have none of their own.

        Args:
            min_pixels: Least area, in pixels.
            max_pixels: Greatest area.

        Raises:
            InputError: There is no such budget, or pictures have one size here.

        Example:
            >>> PixelRules().with_budget(max_pixels=512 * 28 * 28).max_pixels
            401408
        """
        least = self.min_pixels if min_pixels is None else min_pixels
        most = self.max_pixels if max_pixels is None else max_pixels
        if self.fixed_size is not None:
            height, width = self.fixed_size
            raise InputError(
                f"pictures of this profile are all of {height} x {width} pixels",
                fix="Leave min_pixels and max_pixels out.",
            )
        if not self.factor**2 <= most or least > most:
            raise InputError(
                f"pictures of {least:,} to {most:,} pixels cannot be",
                fix=f"Pass max_pixels of at least {self.factor**2:,} and of min_pixels.",
            )
        return replace(self, min_pixels=least, max_pixels=most)

    @property
    def factor(self) -> int:
        """Side of one token, in pixels: what both sides are a multiple of."""
        return self.patch_size * self.merge_size
