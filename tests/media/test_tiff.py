"""TIFFs whose directories ask for far more work than their pixels."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image

from vlm2vec.errors import LimitError, MediaError
from vlm2vec.media.image import load_image
from vlm2vec.media.probe import image_size
from vlm2vec.media.source import Source

BYTE, SHORT, LONG, RATIONAL, SLONG8 = 1, 3, 4, 5, 17
SIZES = {BYTE: 1, SHORT: 2, LONG: 4, RATIONAL: 8, SLONG8: 8}
DEFLATE = 8

Field = tuple[int, int, bytes]


def longs(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}I", *values)


def directory(start: int, fields: Sequence[Field], following: int = 0) -> bytes:
    """A directory that lies at `start`, the values that do not fit into it behind it."""
    place, entries, values = start + 2 + 12 * len(fields) + 4, b"", b""
    for tag, kind, data in sorted(fields):
        entries += struct.pack("<HHI", tag, kind, len(data) // SIZES[kind])
        if len(data) <= 4:
            entries += data.ljust(4, b"\0")
        else:
            entries += longs(place + len(values))
            values += data
    return struct.pack("<H", len(fields)) + entries + longs(following) + values


def tiff(width: int, height: int, *more: Field, compression: int = DEFLATE) -> bytes:
    """A grey picture without its pixels."""
    return b"II*\0" + longs(8) + directory(8, [*layout(width, height, compression), *more])


def layout(width: int, height: int, compression: int) -> list[Field]:
    numbers = {256: width, 257: height, 258: 8, 259: compression, 262: 1, 277: 1}
    return [(tag, LONG, longs(number)) for tag, number in numbers.items()]


def test_values_without_number_take_no_memory() -> None:
    strips = tiff(2, 4, (273, BYTE, b"\x08" * 1_100_000), (278, LONG, longs(2)), compression=1)
    ratio = tiff(2, 4, (273, LONG, longs(8)), (282, RATIONAL, longs(1, 3) * 1_100_000), compression=1)
    for data in (strips, ratio):
        with pytest.raises(MediaError, match="1,100,000 values under one tag"):
            image_size(Source.from_bytes(data))


def test_nor_do_those_of_a_further_page() -> None:
    first = [*layout(2, 1, 1), (254, LONG, longs(1)), (273, LONG, longs(8)), (279, LONG, longs(2))]
    place = 8 + len(directory(8, first))
    bomb = directory(place, [*layout(2, 4, 1), (273, BYTE, b"\x08" * 1_100_000), (278, LONG, longs(2))])
    data = b"II*\0" + longs(8) + directory(8, first, place) + bomb
    with pytest.raises(MediaError, match="1,100,000 values under one tag"):
        load_image(Source.from_bytes(data))
    with pytest.raises(MediaError, match="1,100,000 values under one tag"):
        load_image(Image.open(io.BytesIO(data)))


def test_tiles_far_larger_than_the_picture_are_not_unpacked() -> None:
    columns, height = 60, 4_000_000
    tile = zlib.compress(bytes(16 * height))

    def file(offset: int) -> bytes:
        sides = (322, LONG, longs(16)), (323, LONG, longs(height))
        tiles = (324, LONG, longs(offset) * columns), (325, LONG, longs(len(tile)) * columns)
        return tiff(16 * columns, 16, *sides, *tiles)

    data = file(len(file(0))) + tile
    with pytest.raises(LimitError, match="the tiles of the image cover 960 x 4000000"):
        load_image(Source.from_bytes(data))
    with pytest.raises(LimitError, match="the tiles of the image cover 960 x 4000000"):
        load_image(Image.open(io.BytesIO(data)))


def test_a_tile_whose_height_pillow_cannot_read_is_refused() -> None:
    data = tiff(16, 16, (322, LONG, longs(16)), (323, SLONG8, longs(16, 0)), (323, LONG, longs(16)))
    with pytest.raises(MediaError, match="no whole number where its pixels are"):
        load_image(Source.from_bytes(data))


@pytest.mark.parametrize("says_how_many", [True, False])
def test_bytes_are_not_read_over_and_over(says_how_many: bool) -> None:
    rows, strip = 400, zlib.compress(bytes(64)) + bytes(2**20)

    def file(offset: int) -> bytes:
        counts = [(279, LONG, longs(len(strip)) * rows)] if says_how_many else []
        return tiff(64, rows, (278, LONG, longs(1)), (273, LONG, longs(offset) * rows), *counts)

    data = file(len(file(0))) + strip
    with pytest.raises(LimitError, match="bytes together, in a file of"):
        load_image(Source.from_bytes(data))


def test_tiles_larger_than_a_small_picture_are_sound() -> None:
    file = io.BytesIO()
    pixels = np.arange(100, dtype=np.uint8).reshape(10, 10)
    Image.fromarray(pixels).save(file, "TIFF", compression="tiff_deflate", tiffinfo={322: 256, 323: 256})
    loaded = load_image(Source.from_bytes(file.getvalue()))
    assert (loaded[:, :, 0] == pixels).all()


def test_megabytes_of_exif_data_are_not_looked_into() -> None:
    entries = struct.pack("<HHHII", 1, 0x0112, RATIONAL, 2**20, 26) + longs(0)
    exif = b"Exif\0\0II*\0" + longs(8) + entries + longs(6, 1) * 2**20
    file = io.BytesIO()
    Image.new("RGB", (3, 2)).save(file, "PNG", exif=exif)
    with pytest.warns(match="its EXIF data has more than 8 MiB"):
        assert load_image(Source.from_bytes(file.getvalue())).shape == (2, 3, 3)
