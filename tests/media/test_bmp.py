import numpy as np
import pytest
from picture_making import bmp_of

from vlm2vec.errors import MediaError
from vlm2vec.media.image import load_image
from vlm2vec.media.source import Source

RED, GREEN, BLUE = 0xFF0000, 0xFF00, 0xFF
FIVE_BITS = (0x7C00, 0x3E0, 0x1F)
LAYOUTS = [
    (np.uint32, (RED, GREEN, BLUE), 0),
    (np.uint32, (RED, GREEN, BLUE), 0xFF000000),
    (np.uint32, (BLUE, GREEN, RED), 0xFF000000),
    (np.uint32, (0xFF000000, 0xFF0000, 0xFF00), 0),
    (np.uint32, (0xFF000000, 0xFF0000, 0xFF00), 0xFF),
    (np.uint16, (0xF800, 0x7E0, 0x1F), 0),
    (np.uint16, FIVE_BITS, 0),
    (np.uint16, FIVE_BITS, 0x8000),
]


def field(pixels, mask):
    """What a mask has of each pixel, from 0 to 1, of shape (H, W)."""
    lowest = mask & -mask
    return (pixels & mask) // lowest / (mask // lowest)


@pytest.mark.parametrize("header", [56, 108, 124])
@pytest.mark.parametrize("top_down", [True, False])
@pytest.mark.parametrize(("kind", "masks", "alpha"), LAYOUTS)
def test_alpha_of_bit_fields_is_composed_as_numpy_does_it(kind, masks, alpha, header, top_down):
    pixels = np.random.default_rng(0).integers(0, np.iinfo(kind).max, (5, 7), kind, endpoint=True)
    given = Source.from_bytes(bmp_of(pixels, masks, alpha, header=header, top_down=top_down))
    shown = pixels if top_down else pixels[::-1]
    colours = np.stack([field(shown, mask) for mask in masks], axis=-1)
    opacity = (field(shown, alpha) if alpha else np.ones(shown.shape))[:, :, None]
    on_white = colours * opacity + 1 - opacity
    assert np.abs(load_image(given, alpha="white") - on_white * 255).max() <= 1
    assert np.abs(load_image(given, alpha="drop") - colours * 255).max() <= 1


def test_a_cut_off_file_with_a_bit_of_alpha_is_an_error():
    data = bmp_of(np.zeros((5, 7), np.uint16), FIVE_BITS, 0x8000)
    for alpha in ("drop", "white"):
        with pytest.raises(MediaError, match="cannot be read"):
            load_image(Source.from_bytes(data[:-20]), alpha=alpha)
