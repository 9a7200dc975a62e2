"""Pictures cut into square tiles, for networks whose vision tower reads tiles of one size.

"anyres" is the rule of LLaVA-NeXT and LLaVA-OneVision (transformers, `image_processing_llava_next.py`): the
grid that shows most of a picture, the picture fitted into it and centred on black, and in front of its tiles
the whole picture squeezed into one. "hd" is that of Phi-3.5-V (`image_processing_phi3_v.py` of
microsoft/Phi-3.5-vision-instruct): as many columns as the number of tiles allows, the rest of the last row
white. Its picture as one tile is made from these by the network.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from vlm2vec.errors import InputError
from vlm2vec.media.pixels import PixelRules
from vlm2vec.media.resize import resize

__all__ = ["Cut", "Tiling"]


@dataclass(frozen=True)
class Cut:
    """A picture that was cut: how many tiles came of it, and its height and width before, in pixels."""

    tiles: int
    height: int
    width: int


@dataclass(frozen=True)
class Tiling:
    """How a network takes pictures.

    Attributes:
        rule: "anyres" or "hd".
        side: Of a tile, in pixels.
        patches: Patches along that side.
        grids: For "anyres", the heights and widths of the grids of tiles there are, in pixels.
    """

    rule: Literal["anyres", "hd"]
    side: int
    patches: int
    grids: tuple[tuple[int, int], ...] = ()

    def size(
        self, height: int, width: int, rules: PixelRules, max_pixels: int | None = None
    ) -> tuple[int, int]:
        """Height and width of a picture when it is cut: `fixed_size`, and at most `max_pixels` of area.

        Raises:
            InputError: `max_pixels` is less than a pixel.
        """
        height, width = rules.fixed_size or (height, width)
        if max_pixels is None or self.rule == "hd":
            return height, width  # "hd" enlarges each picture to its tiles
        if max_pixels < 1:
            raise InputError(f"max_pixels is {max_pixels}", fix="Pass a positive number.")
        shrink = min(1.0, math.sqrt(max_pixels / (height * width)))
        return max(1, int(height * shrink)), max(1, int(width * shrink))

    def count(self, height: int, width: int, rules: PixelRules, max_pixels: int | None = None) -> int:
        """Tiles that the tower reads of a picture of this size.

        Example:
            >>> grids = ((336, 672), (672, 336), (672, 672))
            >>> Tiling("anyres", 336, 24, grids).count(168, 224, PixelRules())
            3
            >>> Tiling("hd", 336, 24).count(300, 300, PixelRules(crops=4))
            5
        """
        if self.rule == "hd":
            columns, rows = self._hd_grid(height, width, rules, max_pixels)
        else:
            rows, columns = (length // self.side for length in self._best_grid(height, width))
        return rows * columns + 1

    def read(self, cut: Cut) -> int:
        """The same of a picture that was cut."""
        return cut.tiles + 1 if self.rule == "hd" else cut.tiles

    def cut(
        self, picture: np.ndarray | Image.Image, rules: PixelRules, max_pixels: int | None = None
    ) -> tuple[np.ndarray, Cut]:
        """Tiles of a picture, `(tiles, 3, side, side)` uint8, row by row.

        Args:
            picture: In RGB, `(H, W, 3)` uint8 or a PIL image.
            rules: Of the checkpoint.
            max_pixels: Greatest area.
        """
        image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
        if self.rule == "hd":
            page = self._hd_page(image, rules, max_pixels)
            tiles = self._tiles(page)
            return tiles, Cut(len(tiles), *page.shape[:2])
        height, width = self.size(image.height, image.width, rules, max_pixels)
        pixels = resize(image, height, width)
        grid = self._best_grid(height, width)
        page = np.zeros((*grid, 3), np.uint8)
        fitted = _fitted(height, width, grid)
        top, left = ((whole - part) // 2 for whole, part in zip(grid, fitted, strict=True))
        page[top : top + fitted[0], left : left + fitted[1]] = resize(pixels, *fitted)
        tiles = np.concatenate([self.frames([pixels]), self._tiles(page)])
        return tiles, Cut(len(tiles), height, width)

    def frames(self, frames: Sequence[np.ndarray]) -> np.ndarray:
        """Pictures squeezed to one tile each, `(n, 3, side, side)` uint8."""
        squeezed = np.stack([resize(frame, self.side, self.side) for frame in frames])
        return np.ascontiguousarray(squeezed.transpose(0, 3, 1, 2))

    def _best_grid(self, height: int, width: int) -> tuple[int, int]:
        """The grid in which most pixels of a picture are left, and of these the smallest."""

        def worth(grid: tuple[int, int]) -> tuple[int, int]:
            scale = min(grid[1] / width, grid[0] / height)
            shown = min(int(width * scale) * int(height * scale), width * height)
            return shown, shown - grid[0] * grid[1]

        return max(self.grids, key=worth)

    def _hd_grid(self, height: int, width: int, rules: PixelRules, max_pixels: int | None) -> tuple[int, int]:
        """Tiles along the longer and the shorter side: as many as `crops` holds."""
        crops = rules.crops
        if max_pixels is not None:
            crops = max(1, min(crops, max_pixels // self.side**2))
        ratio = max(height, width) / min(height, width)
        longer = max(n for n in range(1, crops + 1) if n * math.ceil(n / ratio) <= crops)
        return longer, math.ceil(int(longer * self.side / ratio) / self.side) or 1

    def _hd_page(self, image: Image.Image, rules: PixelRules, max_pixels: int | None) -> np.ndarray:
        """A picture enlarged or shrunk to whole tiles along its longer side, on white."""
        if rules.fixed_size is not None:
            image = Image.fromarray(resize(image, *rules.fixed_size))
        upright = image.width < image.height
        if upright:
            image = image.transpose(Image.Transpose.TRANSPOSE)
        columns, rows = self._hd_grid(image.height, image.width, rules, max_pixels)
        width = columns * self.side
        height = max(1, int(width / (image.width / image.height)))
        page = np.full((rows * self.side, width, 3), 255, np.uint8)
        top = (len(page) - height) // 2
        page[top : top + height] = resize(image, height, width, resample=Image.Resampling.BILINEAR)
        return page.swapaxes(0, 1) if upright else page

    def _tiles(self, page: np.ndarray) -> np.ndarray:
        """A picture of whole tiles, cut, row by row."""
        rows, columns = (length // self.side for length in page.shape[:2])
        parts = page.reshape(rows, self.side, columns, self.side, 3).transpose(0, 2, 4, 1, 3)
        return np.ascontiguousarray(parts).reshape(rows * columns, 3, self.side, self.side)


def _fitted(height: int, width: int, grid: tuple[int, int]) -> tuple[int, int]:
    """Height and width of a picture fitted into a grid."""
    by_height, by_width = grid[0] / height, grid[1] / width
    if by_width < by_height:
        return min(math.ceil(height * by_width), grid[0]), grid[1]
    return grid[0], min(math.ceil(width * by_height), grid[1])
