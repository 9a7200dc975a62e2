"""Each mode of PIL images, as it is and in each format that Pillow writes, as Pillow and numpy read it."""

import io

import numpy as np
import pytest
from media_making import random_picture
from PIL import Image
from PIL import __version__ as pillow
from png_making import on_white

from vlm2vec.media.image import load_image
from vlm2vec.media.probe import image_size
from vlm2vec.media.source import Source

if int(pillow.partition(".")[0]) < 13:
    pytest.skip("older versions of Pillow abort where some modes are saved", allow_module_level=True)

FORMATS = {
    "PNG": ({}, {"compress_level": 0}),
    "JPEG": ({}, {"progressive": True}, {"subsampling": 0}, {"quality": 10}),
    "WEBP": ({}, {"lossless": True}, {"lossless": True, "exact": True}),
    "BMP": ({},),
    "TIFF": (
        *(
            {"compression": name}
            for name in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "group4")
        ),
        {"compression": "tiff_lzw", "tiffinfo": {317: 2}},  # each pixel as its difference from the one before
    ),
    "AVIF": ({}, {"subsampling": "4:4:4"}),
}


def picture(mode):
    """Soft shapes and noise in a mode, with a soft alpha channel where it has one."""
    noise = np.asarray(random_picture(61, 47))
    across = np.linspace(0, 255, 61)[None, :, None]
    colours = Image.fromarray(np.where(np.arange(47)[:, None, None] < 30, across, noise).astype(np.uint8))
    grey = np.asarray(colours.convert("L"))
    alpha = Image.fromarray(np.roll(grey, 7, axis=0))
    if mode.startswith("I;16"):
        values = grey.astype(np.uint16) * 257 + 3 * (grey < 200)
        return Image.frombytes(mode, (61, 47), values.astype(">u2" if mode == "I;16B" else "<u2").tobytes())
    if mode == "I":
        return Image.fromarray(grey.astype(np.int32) * 257)
    if mode == "F":
        return Image.fromarray(grey.astype(np.float32))
    if mode in ("LA", "La"):
        made = colours.convert("L").convert("LA")
        made.putalpha(alpha)
        return made.convert(mode)
    if mode in ("RGBA", "RGBa"):
        made = colours.copy()
        made.putalpha(alpha)
        return made.convert(mode)
    if mode == "PA":
        made = colours.convert("P").convert("PA")
        made.putalpha(alpha)
        return made
    return colours.convert(mode)


MODES = (
    *("1", "L", "LA", "La", "P", "PA", "RGB", "RGBX", "RGBA", "RGBa"),
    *("CMYK", "YCbCr", "LAB", "HSV", "I;16", "I;16L", "I;16B", "I", "F"),
)


def read(image):
    """Colours and opacity from 0 to 255 by Pillow and numpy alone."""
    values = np.asarray(image)
    if image.mode.startswith("I"):
        grey = values / 257
    elif image.mode == "F":
        grey = values * (255 if values.max() <= 1 else 1)
    else:
        rgba = np.asarray((image.convert("LA") if image.mode == "La" else image).convert("RGBA"), float)
        return rgba[:, :, :3], rgba[:, :, 3:]
    return np.repeat(grey[:, :, None], 3, axis=2), np.full((*grey.shape, 1), 255.0)


def check(given, image):
    colours, opaque = read(image)
    assert image_size(given) == colours.shape[:2]
    assert np.abs(load_image(given) - colours).max() <= 1
    # Compositing rounds twice.
    assert np.abs(load_image(given, alpha="white") - on_white(colours, opaque)).max() <= 1.5


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_in_memory(mode):
    check(picture(mode), picture(mode))


def files():
    for kind, variants in FORMATS.items():
        for mode in MODES:
            for number, options in enumerate(variants):
                buffer = io.BytesIO()
                try:
                    picture(mode).save(buffer, kind, **options)
                    Image.open(buffer).load()
                except (OSError, ValueError, KeyError, RuntimeError, SystemError):
                    continue  # Pillow does not write it, or does not read back what it wrote
                yield pytest.param(buffer.getvalue(), id=f"{kind}-{mode}-{number}")


FILES = list(files())


@pytest.mark.filterwarnings("ignore::vlm2vec.errors.VLM2VecWarning")
@pytest.mark.parametrize("data", FILES)
def test_every_mode_in_every_format(data):
    check(Source.from_bytes(data), Image.open(io.BytesIO(data)))


def test_there_are_many_of_them():
    assert len(FILES) > 80
    for kind in FORMATS:
        assert sum(str(case.id).startswith(kind) for case in FILES) >= 3
