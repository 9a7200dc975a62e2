"""Tiles of pictures, against transformers' image processor and a naive rule."""

from __future__ import annotations

import math

import numpy as np
import PIL.Image
import pytest
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

from vlm2vec.errors import InputError
from vlm2vec.media.pixels import PixelRules
from vlm2vec.media.tiles import Tiling

GRIDS = ((336, 672), (672, 336), (672, 672), (1008, 336), (336, 1008))
ANYRES = Tiling("anyres", 336, 24, GRIDS)
HD = Tiling("hd", 336, 24)
RULES = PixelRules(patch_size=14, merge_size=1, temporal_patch_size=1)
SIZES = [
    (300, 410),
    (410, 300),
    (64, 20),
    (29, 1500),
    (336, 336),
    (672, 673),
    (1200, 1600),
    (90, 190),
    (5, 7),
]


def picture(height: int, width: int) -> PIL.Image.Image:
    noise = np.random.default_rng(height * width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return PIL.Image.fromarray(noise)


@pytest.mark.parametrize("size", SIZES)
def test_anyres_cuts_as_transformers_does(size: tuple[int, int]) -> None:
    stock = LlavaNextImageProcessorPil(
        image_grid_pinpoints=[list(grid) for grid in GRIDS],
        size={"shortest_edge": 336},
        crop_size={"height": 336, "width": 336},
        do_rescale=False,
        do_normalize=False,
    )
    expected = stock(images=picture(*size), return_tensors="np")
    tiles, cut = ANYRES.cut(picture(*size), RULES)
    assert (cut.height, cut.width) == tuple(expected["image_sizes"][0]) == size
    assert len(tiles) == cut.tiles == ANYRES.count(*size, RULES) == len(expected["pixel_values"][0])
    apart = np.abs(tiles.astype(int) - expected["pixel_values"][0].astype(int))
    # Pillow 12 resizes rows and columns in another order than Pillow 13 in some cases, and rounds between.
    assert (apart.max() == 0) if int(PIL.__version__.split(".")[0]) >= 13 else (apart.mean() < 1)


@pytest.mark.parametrize("crops", [1, 4, 16])
@pytest.mark.parametrize("size", SIZES)
def test_hd_has_as_many_tiles_as_it_may(size: tuple[int, int], crops: int) -> None:
    rules = PixelRules(patch_size=14, temporal_patch_size=1, crops=crops)
    ratio = max(size) / min(size)
    longer = 1
    while (longer + 1) * math.ceil((longer + 1) / ratio) <= crops:
        longer += 1
    shorter = max(1, math.ceil(int(longer * 336 / ratio) / 336))
    tiles, cut = HD.cut(picture(*size), rules)
    assert len(tiles) == cut.tiles == longer * shorter
    expected = (shorter, longer) if size[0] <= size[1] else (longer, shorter)
    assert (cut.height // 336, cut.width // 336) == expected
    assert HD.count(*size, rules) == HD.read(cut) == longer * shorter + 1


def test_hd_fills_the_rest_with_white_and_anyres_with_black() -> None:
    grey = PIL.Image.new("RGB", (336, 100), (128, 128, 128))
    (tile,), _ = HD.cut(grey, PixelRules(patch_size=14, temporal_patch_size=1, crops=1))
    assert set(np.unique(tile)) == {128, 255}
    assert (tile[0, :118] == 255).all()
    assert (tile[0, 118:218] == 128).all()
    tiles, _ = ANYRES.cut(grey, RULES)
    assert set(np.unique(tiles[0])) == {128}
    assert set(np.unique(tiles[1:])) == {0, 128}


def test_a_budget_makes_pictures_smaller_or_their_tiles_fewer() -> None:
    assert ANYRES.size(1000, 1000, RULES, 336 * 336) == (336, 336)
    assert ANYRES.size(100, 100, RULES, 336 * 336) == (100, 100)
    assert HD.count(1000, 1000, RULES) == 5
    assert HD.count(1000, 1000, RULES, max_pixels=336 * 336) == 2
    with pytest.raises(InputError, match="max_pixels is 0"):
        ANYRES.size(10, 10, RULES, 0)


def test_a_fixed_size_comes_first() -> None:
    rules = PixelRules(patch_size=14, merge_size=1, temporal_patch_size=1, fixed_size=(1344, 1344))
    assert ANYRES.size(300, 30, rules) == (1344, 1344)
    _, cut = ANYRES.cut(picture(300, 30), rules)
    assert (cut.tiles, cut.height, cut.width) == (5, 1344, 1344)
