import io
import zlib

import numpy as np
import pytest
from media_making import image_bytes, random_picture
from PIL import Image
from png_making import DEPTHS, GREY, GREY_ALPHA, PALETTE, RGB, RGBA, SAMPLES, chunk, meaning, on_white, png

from vlm2vec.media import png as png_module
from vlm2vec.media.image import load_image
from vlm2vec.media.png import without_large_comments
from vlm2vec.media.probe import image_size, kind
from vlm2vec.media.source import Source

EVERY = [(colour, bits) for colour, depths in DEPTHS.items() for bits in depths]


def drawn(colour, bits):
    """Samples of a small picture, and its palette; few different ones, so that a transparent one is found."""
    noise = np.random.default_rng(bits + 16 * colour)
    samples = noise.integers(0, 2**bits, (20, 30, SAMPLES[colour]))
    samples[5:15, 5:20] = samples[0, 0]
    return samples, noise.integers(0, 256, (2**bits, 3)) if colour == PALETTE else None


@pytest.mark.parametrize(("colour", "bits"), EVERY)
def test_every_colour_type_and_depth_is_its_arithmetic(colour, bits):
    samples, palette = drawn(colour, bits)
    source = Source.from_bytes(png(samples, colour, bits, palette=palette))
    colours, opaque = meaning(samples, colour, bits, palette=palette)
    # Pillow keeps the upper byte of 16 bits, which is less than 1 from the rounded level.
    assert np.abs(load_image(source) - colours).max() < 1
    assert np.abs(load_image(source, alpha="white") - on_white(colours, opaque)).max() < 2


@pytest.mark.parametrize(("colour", "bits"), [case for case in EVERY if case[0] in (GREY, RGB, PALETTE)])
@pytest.mark.parametrize("given", ["file", "lazy PIL image"])
def test_a_transparent_level_or_colour_is_white_or_dropped_at_every_depth(colour, bits, given):
    samples, palette = drawn(colour, bits)
    clear = [int(value) for value in samples[0, 0]]
    if colour == PALETTE:
        clear = bytes(0 if i == clear[0] else 255 for i in range(2**bits))
    data = png(samples, colour, bits, palette=palette, clear=clear)
    if given == "file":
        picture = Source.from_bytes(data)
    elif (colour, bits) == (RGB, 16):
        pytest.skip("Pillow keeps 8 of the 16 bits, which do not tell")
    else:
        picture = Image.open(io.BytesIO(data))
    colours, opaque = meaning(samples, colour, bits, palette=palette, clear=clear)
    assert (opaque == 0).any()
    assert (opaque > 0).any()
    assert np.abs(load_image(picture, alpha="white") - on_white(colours, opaque)).max() < 1
    assert np.abs(load_image(picture, alpha="drop") - colours).max() < 1


def test_a_colour_of_16_bits_is_not_taken_for_one_that_shares_its_upper_bytes():
    samples = np.zeros((1, 2, 3), int)
    samples[0, 0], samples[0, 1] = (0x1234, 0x5678, 0x9ABC), (0x1235, 0x5678, 0x9ABC)
    data = png(samples, RGB, 16, clear=[0x1234, 0x5678, 0x9ABC])
    expected = [[[255, 255, 255], [0x12, 0x56, 0x9A]]]
    assert load_image(Source.from_bytes(data), alpha="white").tolist() == expected


def test_a_lazy_pil_image_keeps_what_it_says_of_itself():
    picture = Image.open(io.BytesIO(png(drawn(GREY, 2)[0], GREY, 2, clear=[1])))
    load_image(picture, alpha="white")
    assert picture.info["transparency"] == 1


def compressed(name, size, *, seed=None):
    """A chunk with a text of so many bytes."""
    if seed is None:
        text = b"x" * size
    else:
        text = bytes(np.random.default_rng(seed).integers(97, 123, size, dtype=np.uint8))
    start = {b"zTXt": b"Comment\0\0", b"iTXt": b"Comment\0\1\0en\0Comment\0", b"iCCP": b"profile\0\0"}
    return chunk(name, start[name] + zlib.compress(text))


COMMENTS = {
    **{f"{name.decode()} of 2 MB": compressed(name, 2_000_000) for name in (b"zTXt", b"iTXt", b"iCCP")},
    "2 MB of noise": compressed(b"zTXt", 2_000_000, seed=0),
    "1 MiB": compressed(b"zTXt", 1024 * 1024),
    "many small ones": compressed(b"zTXt", 1_000_000) * 70,
    "plain text": chunk(b"tEXt", b"Comment\0" + b"x" * 3_000_000),
    "plain iTXt": chunk(b"iTXt", b"Comment\0\0\0en\0Comment\0" + b"x" * 3_000_000),
    "zTXt of junk": chunk(b"zTXt", b"Comment\0\0" + b"\x99" * 5_000),
    "iTXt of junk": chunk(b"iTXt", b"\0\1" + b"\x99" * 5_000),
    "no keyword": chunk(b"zTXt", b"x" * 5_000),
}


@pytest.mark.parametrize("before", COMMENTS.values(), ids=COMMENTS)
@pytest.mark.parametrize("place", ["before the pixels", "behind them"])
def test_comments_of_any_size_do_not_keep_a_picture_from_being_read(before, place):
    picture = random_picture()
    data = image_bytes(picture)
    at = 33 if place == "before the pixels" else len(data) - 12
    if place == "behind them" and b"iCCP" in before:
        pytest.skip("a profile stands before the pixels")
    source = Source.from_bytes(data[:at] + before + data[at:])
    assert kind(source) == "image"
    assert image_size(source) == (30, 40)
    assert np.array_equal(load_image(source), np.asarray(picture))


def test_an_orientation_counts_beside_a_large_comment():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = image_bytes(random_picture(), exif=exif)
    source = Source.from_bytes(data[:33] + compressed(b"zTXt", 2_000_000) + data[33:])
    assert load_image(source).shape == (40, 30, 3)


@pytest.mark.parametrize(("colour", "bits"), [(GREY_ALPHA, 8), (RGBA, 16)])
def test_a_comment_that_is_left_out_does_not_move_the_transparency(colour, bits):
    samples, _ = drawn(colour, bits)
    plain = load_image(Source.from_bytes(png(samples, colour, bits)), alpha="white")
    data = png(samples, colour, bits, before=compressed(b"zTXt", 2_000_000))
    assert np.array_equal(load_image(Source.from_bytes(data), alpha="white"), plain)


def test_of_very_many_bombs_some_are_unpacked(monkeypatch):
    unpacked = []
    monkeypatch.setattr(png_module, "_unpacked_size", lambda *_: unpacked.append(1) or 2**20)
    data = image_bytes(random_picture())
    without_large_comments(io.BytesIO(data[:33] + compressed(b"zTXt", 2**20) * 500 + data[33:]))
    assert len(unpacked) < 70
    assert np.array_equal(load_image(Source.from_bytes(data)), np.asarray(random_picture()))
