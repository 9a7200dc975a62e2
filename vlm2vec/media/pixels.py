"""How a checkpoint family turns a picture into the pixels for its vision tower."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["PixelRules"]


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
        alpha: "drop" ignores transparency, "white" composites onto white.
        tiny_image_side: An image with a side below `patch_size * merge_size` is first resized to a square of
            this side, ratio not kept; `None` leaves it to the budget. Never applied to video frames.
        extreme_ratio: A picture with a ratio above 200 (or, with "square", a side below
            `patch_size * merge_size`) is squeezed to a "square" of its longer side, or is an "error".
        fixed_size: Every picture is resized to exactly this (height, width) first, ratio not kept.
        rounded_first: A picture is first resized to multiples of `factor`, 4 to 16,384 tokens, and then to
            the budget: `fetch_image` of qwen_vl_utils does the one, the image processor the other. Never
            applied to video frames.
    """

    min_pixels: int = 56 * 56
    max_pixels: int = 28 * 28 * 1280
    patch_size: int = 14
    merge_size: int = 2
    temporal_patch_size: int = 2
    alpha: Literal["drop", "white"] = "drop"
    tiny_image_side: int | None = None
    extreme_ratio: Literal["square", "error"] = "error"
    fixed_size: tuple[int, int] | None = None
    rounded_first: bool = False

    @property
    def factor(self) -> int:
        """Side of one token, in pixels: what both sides are a multiple of."""
        return self.patch_size * self.merge_size
