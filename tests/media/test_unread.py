import io
import struct

import numpy as np
import PIL
import pytest
from media_making import image_bytes, random_picture
from picture_making import bmp_of, tiff_of
from PIL import Image

from vlm2vec.errors import MediaError
from vlm2vec.media.image import load_image
from vlm2vec.media.source import Source

RAMP = np.linspace(0, 1, 12)


def said_of(data: bytes) -> str:
    with pytest.raises(MediaError) as caught:
        load_image(Source.from_bytes(data))
    return str(caught.value)


def colours(**options) -> bytes:
    """A TIFF of 4 x 3 pixels in RGB."""
    bits = options.pop("bits", (8, 8, 8))
    return tiff_of(bytes(12 * sum(bits) // 8), 4, 3, bits=bits, photometric=2, **options)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (tiff_of(RAMP.astype("<f2").tobytes(), 4, 3, bits=(16,), sample_format=3), "16-bit float samples"),
        (tiff_of(RAMP.astype("<f8").tobytes(), 4, 3, bits=(64,), sample_format=3), "64-bit float samples"),
        (colours(bits=(32, 32, 32), sample_format=3), "32-bit float samples, 3 a pixel"),
        (colours(bits=(12, 12, 12)), "12-bit samples, 3 a pixel"),
        (tiff_of(bytes(12), 4, 3, photometric=32803), "8-bit raw camera samples"),
        (colours(compression=34887), "8-bit samples, 3 a pixel, compressed as LERC"),
        (colours(compression=50002), "8-bit samples, 3 a pixel, compressed as JPEG XL"),
        (colours(compression=9999), "8-bit samples, 3 a pixel, of compression 9999"),
    ],
)
def test_a_tiff_that_pillow_does_not_know_is_named_and_not_called_damaged(data, what):
    said = said_of(data)
    assert said == (
        f"Pillow does not read this kind of image: a TIFF of {what}. "
        "Convert it with another program, to a PNG or JPEG of 8 bits a channel."
    )


@pytest.mark.parametrize("bits", [tuple(range(1, 60)), (3, 7)])
def test_what_is_said_of_a_damaged_tiff_is_short_and_printable(bits):
    """The bits of its samples are some hundred numbers, or a text."""
    data = bytearray(tiff_of(bytes(12), 4, 3, bits=bits, photometric=2, compression=9999))
    if len(bits) == 2:
        place = data.find(struct.pack("<HHI", 258, 3, 2))
        data[place + 2 : place + 4] = struct.pack("<H", 2)
    said = said_of(bytes(data))
    assert said.isprintable()
    assert len(said) < 300


@pytest.mark.parametrize("layout", ["raw", "tiff_lzw"])
def test_a_tiff_that_is_cut_off_is_not_called_one_of_other_samples(layout):
    """Its header stands at its end, and tags that are missing have values by default."""
    data = image_bytes(random_picture(), "TIFF", compression=layout)
    said = []
    for length in range(len(data) - 200, len(data)):
        try:
            load_image(Source.from_bytes(data[:length]))
        except MediaError as error:
            said.append(str(error))
    assert len(said) > 150  # the last bytes are of no tag that matters
    assert all("cannot be read" in text for text in said)


def test_a_compression_that_is_a_text_is_damage():
    data = bytearray(colours(compression=7))
    place = data.find(struct.pack("<HHI", 259, 3, 1))
    data[place + 2 : place + 4] = struct.pack("<H", 2)
    said = said_of(bytes(data))
    assert said.isprintable()
    assert "of compression" not in said


@pytest.mark.skipif(PIL.__version__ < "13", reason="Pillow 12 crashes later where libtiff refuses to write")
def test_a_compression_that_this_libtiff_lacks_is_named():
    try:
        data = image_bytes(random_picture(), "TIFF", compression="webp")
        load_image(Source.from_bytes(data))
    except Exception:  # libtiff without WebP neither writes nor reads it
        said = said_of(colours(compression=50001))
        assert (
            "does not read this kind of image: a TIFF of 8-bit samples, 3 a pixel, compressed as WebP" in said
        )


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (bmp_of(np.zeros((3, 4), np.uint32), (0x3FF00000, 0xFFC00, 0x3FF)), "BMP bitfields layout"),
        (bmp_of(np.zeros((3, 4), np.uint16), (0xF00, 0xF0, 0xF), 0xF000), "BMP bitfields layout"),
        (bmp_of(np.zeros((3, 4), np.uint32), (0, 0, 0), compression=5), "BMP compression (5)"),
    ],
)
def test_a_bmp_that_pillow_does_not_know_is_not_called_damaged(data, what):
    assert said_of(data).startswith(
        f"Pillow does not read this kind of image: Unsupported {what}. Convert it"
    )


@pytest.mark.parametrize(
    ("place", "value", "what"),
    [
        (4, 12, "a JPEG of 3 channels of 12 bits"),
        (9, 2, "a JPEG of 2 channels of 8 bits"),
        (1, 0xC3, "a lossless JPEG of 3 channels of 8 bits"),
        (1, 0xC5, "a hierarchical JPEG of 3 channels of 8 bits"),
    ],
)
def test_a_jpeg_that_libjpeg_does_not_know_is_named(place, value, what):
    data = bytearray(image_bytes(random_picture(), "JPEG"))
    data[data.index(b"\xff\xc0") + place] = value
    assert f"Pillow does not read this kind of image: {what}. Convert it" in said_of(bytes(data))


@pytest.mark.parametrize("kind", ["TIFF", "JPEG"])
def test_a_cut_off_file_of_a_known_kind_is_not_called_unknown(kind):
    data = image_bytes(random_picture(), kind)
    for size in range(10, len(data) - 10, len(data) // 20):
        try:
            load_image(Source.from_bytes(data[:size]))
        except MediaError as error:
            assert "does not read this kind" not in str(error)
    assert said_of(colours(compression=5)).startswith("the image cannot be read (")


@pytest.mark.parametrize("photometric", [0, 1])
def test_deep_grey_counts_from_white_where_a_tiff_says_so(photometric):
    levels = np.rint(RAMP * 255).astype(np.uint8)
    right = levels if photometric else 255 - levels
    deep = levels.astype("<u2") * 257
    for data in (
        tiff_of(levels.tobytes(), 4, 3, photometric=photometric),
        tiff_of(deep.tobytes(), 4, 3, bits=(16,), photometric=photometric),
        tiff_of(
            (levels / 255).astype("<f4").tobytes(), 4, 3, bits=(32,), photometric=photometric, sample_format=3
        ),
    ):
        for given in (Source.from_bytes(data), Image.open(io.BytesIO(data))):
            assert load_image(given)[:, :, 0].ravel().tolist() == right.tolist()
