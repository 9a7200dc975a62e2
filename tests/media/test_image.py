import gc
import io
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from media_making import image_bytes, random_picture
from PIL import Image, ImageOps

from vlm2vec.errors import InputError, LimitError, MediaError
from vlm2vec.media.image import load_image, load_picture
from vlm2vec.media.limits import Limits
from vlm2vec.media.pixels import PixelRules
from vlm2vec.media.probe import image_size
from vlm2vec.media.resize import fit
from vlm2vec.media.source import Source

FORMATS = ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"]


def source(picture, kind="PNG", **options):
    return Source.from_bytes(image_bytes(picture, kind, **options))


def corner_picture():
    """60 x 40, one corner bright: every orientation looks different."""
    levels = np.zeros((40, 60, 3), np.uint8)
    levels[:10, :20] = 255
    levels[:10, 20:30, 0] = 200
    return Image.fromarray(levels)


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_read_from_bytes_and_from_a_file(kind, tmp_path):
    data = image_bytes(random_picture(), kind)
    path = tmp_path / "no_suffix"
    path.write_bytes(data)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    for given in (Source.from_bytes(data), Source.from_path(path), Image.open(io.BytesIO(data))):
        image = load_image(given)
        assert np.array_equal(image, expected)
        assert image.dtype == np.uint8
        assert image.flags.c_contiguous
        assert image_size(given, limits=Limits()) == image.shape[:2]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_the_exif_orientation_turns_files_and_pil_images_alike(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = image_bytes(corner_picture(), kind, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    assert expected.shape == ((60, 40, 3) if orientation >= 5 else (40, 60, 3))
    for given in (Source.from_bytes(data), Image.open(io.BytesIO(data))):
        assert image_size(given) == expected.shape[:2]
        assert np.array_equal(load_image(given), expected)
        assert image_size(given) == expected.shape[:2]


def test_an_orientation_behind_the_pixels_of_a_png_counts():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = image_bytes(corner_picture())
    body = exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(body)) + b"eXIf" + body + struct.pack(">I", zlib.crc32(b"eXIf" + body))
    late = Source.from_bytes(data[:-12] + chunk + data[-12:])
    assert image_size(late) == load_image(late).shape[:2] == (60, 40)


def test_the_size_is_read_without_decoding(monkeypatch):
    given = source(random_picture(50, 20), "JPEG")
    monkeypatch.setattr(Image.Image, "load", lambda _: pytest.fail("decoded"))
    assert image_size(given) == (20, 50)


def test_an_mpo_gives_its_first_picture():
    first, second = random_picture(seed=1), random_picture(seed=2)
    data = image_bytes(first, "MPO", save_all=True, append_images=[second])
    assert np.array_equal(load_image(Source.from_bytes(data)), np.asarray(Image.open(io.BytesIO(data))))


def test_a_broken_colour_profile_does_not_matter():
    picture = random_picture()
    assert np.array_equal(load_image(source(picture, icc_profile=b"junk" * 50)), np.asarray(picture))


# Modes


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "HSV", "LAB"])
def test_modes_without_alpha_become_rgb_as_pillow_converts_them(mode):
    picture = random_picture().convert(mode)
    assert np.array_equal(load_image(picture), np.asarray(picture.convert("RGB")))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "RGBa", "La"])
def test_alpha_is_dropped_or_composited_on_white(mode):
    transparent = random_picture().convert("RGBA")
    transparent.putalpha(Image.linear_gradient("L").resize(transparent.size))
    if mode == "PA":
        picture = transparent.convert("RGB").convert("P").convert("PA")
        picture.putalpha(transparent.getchannel("A"))
    else:
        picture = transparent.convert("LA").convert(mode) if mode == "La" else transparent.convert(mode)
    rgba = (picture.convert("LA") if mode == "La" else picture).convert("RGBA")
    assert np.array_equal(load_image(picture, alpha="drop"), np.asarray(rgba.convert("RGB")))
    paper = Image.new("RGBA", picture.size, (255, 255, 255, 255))
    expected = np.asarray(Image.alpha_composite(paper, rgba).convert("RGB"))
    assert np.array_equal(load_image(picture, alpha="white"), expected)


def test_four_channels_alone_are_pasted_on_white():
    transparent = random_picture().convert("RGBA")
    transparent.putalpha(Image.linear_gradient("L").resize(transparent.size))
    pasted = Image.new("RGB", transparent.size, (255, 255, 255))
    pasted.paste(transparent, mask=transparent.getchannel("A"))
    for given in (transparent, source(transparent), np.asarray(transparent)):
        assert np.array_equal(load_image(given, alpha="white_rgba"), np.asarray(pasted))
    grey = transparent.convert("LA")
    assert np.array_equal(load_image(grey, alpha="white_rgba"), load_image(grey, alpha="drop"))


def test_alpha_is_treated_alike_in_files_and_pil_images():
    picture = random_picture().convert("LA")
    picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    for alpha in ("drop", "white", "white_rgba"):
        assert np.array_equal(load_image(source(picture), alpha=alpha), load_image(picture, alpha=alpha))


def test_a_transparent_palette_entry_is_dropped_or_composited():
    picture = Image.new("P", (2, 1))
    picture.putpalette([10, 20, 30, 40, 50, 60])
    picture.putpixel((1, 0), 1)
    given = source(picture, transparency=1)
    assert load_image(given, alpha="drop").tolist() == [[[10, 20, 30], [40, 50, 60]]]
    assert load_image(given, alpha="white").tolist() == [[[10, 20, 30], [255, 255, 255]]]
    assert load_image(given, alpha="white_rgba").tolist() == [[[10, 20, 30], [40, 50, 60]]]


@pytest.mark.parametrize(("mode", "clear", "solid"), [("L", 7, 9), ("RGB", (7, 7, 7), (9, 9, 9))])
def test_a_transparent_colour_is_dropped_or_composited(mode, clear, solid):
    picture = Image.new(mode, (2, 1), clear)
    picture.putpixel((1, 0), solid)
    given = source(picture, transparency=clear)
    assert load_image(given, alpha="drop").tolist() == [[[7, 7, 7], [9, 9, 9]]]
    assert load_image(given, alpha="white").tolist() == [[[255, 255, 255], [9, 9, 9]]]


SIXTEEN_BITS = np.array([[0, 128, 129, 257, 32768, 65535]], np.uint16)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_and_not_clipped(kind):
    levels = load_image(source(Image.fromarray(SIXTEEN_BITS), kind))
    assert levels[0, :, 0].tolist() == [0, 0, 1, 1, 128, 255]
    assert np.array_equal(levels[:, :, 0], levels[:, :, 2])


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I;16L"])
def test_16_bit_grey_is_scaled_in_either_byte_order(mode):
    data = SIXTEEN_BITS.astype(">u2" if mode == "I;16B" else "<u2").tobytes()
    picture = Image.frombytes(mode, (6, 1), data)
    assert load_image(picture)[0, :, 0].tolist() == [0, 0, 1, 1, 128, 255]


def test_mode_i_holds_16_bits_or_is_an_error():
    assert load_image(Image.fromarray(SIXTEEN_BITS.astype(np.int32)))[0, :, 0].tolist() == [
        0,
        0,
        1,
        1,
        128,
        255,
    ]
    assert load_image(Image.new("I", (2, 2), 0)).max() == 0
    for levels, words in (([[1, 255]], "8 and 16 bits"), ([[-1, 300]], "-1 to 300"), ([[0, 65536]], "65536")):
        with pytest.raises(InputError, match=words):
            load_image(Image.fromarray(np.array(levels, np.int32)))


def test_mode_f_counts_to_1_or_to_255_or_is_an_error():
    def levels(*values):
        return load_image(Image.fromarray(np.array([values], np.float32)))[0, :, 0].tolist()

    assert levels(0, 0.5, 1) == [0, 128, 255]
    assert levels(0, 99.6, 255) == [0, 100, 255]
    for values in ((-0.1, 1), (0, 256), (0, np.nan), (np.inf, 0)):
        with pytest.raises(InputError, match="mode F"):
            levels(*values)


# Files that are broken or lie


@pytest.mark.parametrize("kind", FORMATS)
def test_a_truncated_file_is_an_error(kind):
    data = image_bytes(random_picture(200, 200), kind)
    with pytest.raises(MediaError, match="cannot be read"):
        load_image(Source.from_bytes(data[: len(data) // 2]))


def test_a_truncated_file_opened_by_pillow_is_an_error():
    data = image_bytes(random_picture(200, 200), "JPEG")
    with pytest.raises(MediaError, match="cannot be read"):
        load_image(Image.open(io.BytesIO(data[: len(data) // 2])))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"<html><body>404</body></html>", "web page"),
        (b"just text", "unknown format"),
        (b"%PDF-1.7", "PDF"),
        (b"\xff\xd8\xff" + b"junk" * 10, "cannot be read"),
        (b"\x89PNG\r\n\x1a\n", "cannot be read"),
        (b"GIF89a", "cannot be read"),
    ],
)
def test_what_is_no_image_is_an_error_that_says_what_it_is(data, words, tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    for action in (load_image, image_size):
        with pytest.raises(MediaError, match=words):
            action(Source.from_path(path))


def test_an_empty_file_is_an_error(tmp_path):
    (tmp_path / "a.jpg").touch()
    with pytest.raises(MediaError, match="empty"):
        load_image(Source.from_path(tmp_path / "a.jpg"))


def test_formats_outside_the_list_are_refused():
    for kind in ("PPM", "ICO", "TGA", "EPS", "JPEG2000"):
        with pytest.raises(MediaError, match="not an image"):
            load_image(source(random_picture(), kind))


def test_a_folder_is_no_image(tmp_path):
    with pytest.raises(MediaError, match="folder"):
        load_image(Source.from_path(tmp_path))


def bomb(width, height):
    """A PNG of a few bytes that declares many pixels."""

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return Source.from_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)))


@pytest.mark.parametrize("size", [(8001, 8000), (12_000, 12_000), (60_000, 60_000)])
@pytest.mark.parametrize("action", [load_image, image_size])
def test_the_declared_size_is_checked_before_decoding(size, action, monkeypatch):
    monkeypatch.setattr(Image.Image, "load", lambda _: pytest.fail("decoded"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with pytest.raises(LimitError):
            action(bomb(*size))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "BMP", "TIFF", "JPEG"])
def test_every_format_and_pil_images_obey_the_limit(kind):
    data = image_bytes(random_picture(30, 20), kind)
    limits = Limits(max_image_pixels=599)
    for given in (Source.from_bytes(data), Image.open(io.BytesIO(data)), random_picture(30, 20)):
        for action in (load_image, image_size):
            with pytest.raises(LimitError, match="30 x 20, more than 599"):
                action(given, limits=limits)
    load_image(Source.from_bytes(data), limits=Limits(max_image_pixels=600))


def test_the_encoded_size_is_limited():
    given = source(random_picture())
    with pytest.raises(LimitError, match="more than 100"):
        load_image(given, limits=Limits(max_image_bytes=100))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF"])
def test_an_animation_is_not_silently_its_first_frame(kind):
    pictures = [random_picture(seed=i) for i in range(3)]
    data = image_bytes(pictures[0], kind, save_all=True, append_images=pictures[1:])
    for given in (Source.from_bytes(data), Image.open(io.BytesIO(data))):
        for action in (load_image, image_size):
            with pytest.raises(MediaError, match="Pass it as a video"):
                action(given)
    picture = Image.open(io.BytesIO(data))
    picture.seek(1)
    assert load_image(picture.copy()).shape == (30, 40, 3)


@pytest.mark.parametrize("size", [(1, 1_000_001), (1_000_001, 1)])
def test_a_side_that_costs_more_than_its_pixels_is_refused(size):
    data = image_bytes(Image.new("1", size))
    for given in (Source.from_bytes(data), Image.open(io.BytesIO(data)), np.zeros(size, np.uint8)):
        for action in (load_image, image_size):
            with pytest.raises(
                LimitError, match=r"1,000,000 pixels on a side .* raise Limits\.max_image_pixels"
            ):
                action(given)
    assert sorted(image_size(given, limits=Limits(max_image_pixels=10**8))) == sorted(size)


def test_sides_that_a_jpeg_may_have_are_taken():
    data = image_bytes(Image.new("1", (1, 65_535)))
    assert load_image(Source.from_bytes(data), limits=Limits(max_image_pixels=65_535)).shape == (65_535, 1, 3)


def test_a_tiff_with_pages_is_not_silently_its_first_page():
    data = image_bytes(random_picture(), "TIFF", save_all=True, append_images=[random_picture()] * 2)
    with pytest.raises(MediaError, match="several pages"):
        load_image(Source.from_bytes(data))


def tiff_bytes(*pictures):
    """A TIFF of pictures, each with its NewSubfileType (254: 1 a smaller copy, 2 a page, 4 a mask)."""
    (first, kind), *others = pictures
    for picture, other in others:
        picture.encoderinfo = {"tiffinfo": {254: other}}
    return image_bytes(
        first, "TIFF", tiffinfo={254: kind}, save_all=True, append_images=[p for p, _ in others]
    )


def test_a_tiff_with_smaller_copies_and_masks_is_its_main_picture():
    large, small, mask = random_picture(60, 50), random_picture(30, 25), Image.new("1", (60, 50))
    for pictures in ([(large, 0), (small, 1)], [(large, 0), (mask, 4), (small, 1), (mask, 5)]):
        data = tiff_bytes(*pictures)
        for given in (Source.from_bytes(data), Image.open(io.BytesIO(data))):
            assert image_size(given) == (50, 60)
            assert np.array_equal(load_image(given), np.asarray(large))


def test_the_main_picture_of_a_tiff_may_come_behind_its_smaller_copy():
    large = random_picture(60, 50)
    source = Source.from_bytes(tiff_bytes((random_picture(30, 25), 1), (large, 0)))
    assert image_size(source) == (50, 60)
    assert np.array_equal(load_image(source), np.asarray(large))
    with pytest.raises(LimitError, match="60 x 50"):
        load_image(source, limits=Limits(max_image_pixels=2999))


def test_two_main_pictures_are_pages_whatever_stands_beside_them():
    pictures = [(random_picture(60, 50), 2), (random_picture(30, 25), 1), (random_picture(60, 50), 2)]
    with pytest.raises(MediaError, match="several pages"):
        load_image(Source.from_bytes(tiff_bytes(*pictures)))
    with pytest.raises(MediaError, match="several pages"):
        load_image(Source.from_bytes(tiff_bytes((random_picture(), 1), (random_picture(), 1))))


def test_a_tiff_shows_the_picture_that_its_caller_sought():
    small = random_picture(30, 25)
    picture = Image.open(io.BytesIO(tiff_bytes((random_picture(60, 50), 0), (small, 1))))
    picture.seek(1)
    assert np.array_equal(load_image(picture), np.asarray(small))
    assert picture.tell() == 1


def test_the_callers_tiff_stays_at_its_page():
    large = random_picture(60, 50)
    picture = Image.open(io.BytesIO(tiff_bytes((random_picture(30, 25), 1), (large, 0))))
    assert image_size(picture) == (50, 60)
    assert np.array_equal(load_image(picture), np.asarray(large))
    assert (picture.tell(), picture.size) == (0, (30, 25))
    assert np.array_equal(np.asarray(picture), np.asarray(random_picture(30, 25)))
    pages = Image.open(io.BytesIO(tiff_bytes((large, 2), (random_picture(30, 25), 2))))
    for page in (0, 1):
        pages.seek(page)
        with pytest.raises(MediaError, match="several pages"):
            load_image(pages)
        assert pages.tell() == page


@pytest.mark.parametrize("kind", [*FORMATS, "MPO"])
def test_what_the_caller_painted_on_a_picture_counts_and_stays(kind):
    if kind == "TIFF":
        data = tiff_bytes((random_picture(60, 50), 0), (random_picture(30, 25), 1))
    elif kind == "MPO":
        data = image_bytes(random_picture(60, 50), kind, save_all=True, append_images=[random_picture()])
    else:
        data = image_bytes(random_picture(60, 50), kind)
    picture = Image.open(io.BytesIO(data))
    picture.paste(0, (0, 0, 30, 50))
    painted = np.asarray(picture.convert("RGB"))
    for _ in range(2):
        assert image_size(picture) == (50, 60)
        assert np.array_equal(load_image(picture), painted)
        assert np.array_equal(np.asarray(picture.convert("RGB")), painted)


def test_what_the_caller_drafted_is_what_counts():
    picture = Image.open(io.BytesIO(image_bytes(random_picture(64, 48), "JPEG")))
    picture.draft("RGB", (32, 24))
    assert image_size(picture) == (24, 32)
    assert load_image(picture).shape == (24, 32, 3)
    assert picture.size == (32, 24)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF"])
def test_an_animation_stays_at_the_callers_frame(kind):
    pictures = [random_picture(seed=i) for i in range(3)]
    picture = Image.open(
        io.BytesIO(image_bytes(pictures[0], kind, save_all=True, append_images=pictures[1:]))
    )
    for frame in (0, 2):
        picture.seek(frame)
        shown = np.asarray(picture.convert("RGB"))
        with pytest.raises(MediaError, match="Pass it as a video"):
            load_image(picture)
        assert picture.tell() == frame
        assert np.array_equal(np.asarray(picture.convert("RGB")), shown)


def test_what_a_bmp_keeps_in_its_reserved_bytes_does_not_matter():
    data = bytearray(image_bytes(random_picture(), "BMP"))
    data[6:10] = b"made"
    assert np.array_equal(load_image(Source.from_bytes(data)), np.asarray(random_picture()))


@pytest.mark.parametrize("size", [(0, 10), (10, 0)])
def test_a_picture_without_pixels_is_an_error(size):
    with pytest.raises(InputError, match="at least one pixel"):
        load_image(Image.new("RGB", size))
    with pytest.raises(InputError, match="at least one pixel"):
        image_size(Image.new("RGB", size))


def test_a_pil_image_whose_file_was_closed_is_an_error(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(image_bytes(random_picture(), "JPEG"))
    with Image.open(path) as picture:
        pass
    with pytest.raises(MediaError, match="closed"):
        load_image(picture)


def test_the_callers_picture_is_not_changed():
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = Image.open(io.BytesIO(image_bytes(corner_picture(), "JPEG", exif=exif)))
    load_image(picture)
    assert picture.size == (60, 40)
    assert picture.getexif()[0x0112] == 6


def test_one_lazy_pil_image_can_be_read_by_many_threads():
    data = image_bytes(random_picture(600, 600), "PNG")
    expected = np.asarray(Image.open(io.BytesIO(data)))
    for _ in range(5):
        picture = Image.open(io.BytesIO(data))
        with ThreadPoolExecutor(8) as pool:
            images = list(pool.map(load_image, [picture] * 8))
        assert all(np.array_equal(image, expected) for image in images)


def test_no_file_stays_open(tmp_path):
    paths = []
    for i, data in enumerate(
        [image_bytes(random_picture(), "GIF"), image_bytes(random_picture(), "JPEG")[:300]]
    ):
        paths.append(tmp_path / str(i))
        paths[-1].write_bytes(data)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        load_image(Source.from_path(paths[0]))
        image_size(Source.from_path(paths[0]))
        with pytest.raises(MediaError):
            load_image(Source.from_path(paths[1]))
        gc.collect()
    assert [str(warning.message) for warning in caught] == []


def test_errors_tell_nothing_of_memory() -> None:
    with pytest.raises(MediaError) as caught:
        load_image(Source.from_bytes(b"\x89PNG\r\n\x1a\n" + bytes(60)))
    assert " at 0x" not in str(caught.value)


@pytest.mark.parametrize("options", [{"subsampling": i} for i in range(3)] + [{"progressive": True}], ids=str)
def test_a_jpeg_has_the_pixels_that_pillow_gives(options):
    data = image_bytes(random_picture(101, 67), "JPEG", quality=80, **options)
    picture = load_picture(Source.from_bytes(data))
    assert picture.mode == "RGB"
    assert picture.tobytes("raw", "RGBX") == Image.open(io.BytesIO(data)).tobytes("raw", "RGBX")
    assert np.array_equal(load_image(Source.from_bytes(data)), np.asarray(Image.open(io.BytesIO(data))))


def test_a_picture_fits_as_its_array_does():
    for size in ((336, 336), (500, 301), (30, 20)):
        source = Source.from_bytes(image_bytes(random_picture(*size), "JPEG"))
        rules = PixelRules(tiny_image_side=56)
        assert np.array_equal(fit(load_picture(source), rules), fit(load_image(source), rules))
