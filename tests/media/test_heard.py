"""What libraries say of a picture or a clip comes once, with its name, and nothing reaches stderr."""

import io
import logging
import re
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from media_making import clip_bytes, image_bytes, packet_places, random_picture
from PIL import Image
from PIL import __version__ as pillow

from vlm2vec.errors import VLM2VecWarning
from vlm2vec.media.heard import listening
from vlm2vec.media.image import load_image
from vlm2vec.media.probe import image_size, kind
from vlm2vec.media.source import Source

OLD_PILLOW = int(pillow.partition(".")[0]) < 13
ON_LINUX = pytest.mark.skipif(sys.platform == "win32", reason="libtiff is sealed within Pillow there")


def broken_fax(compression="group4"):
    """A TIFF with junk in its pixels, over which libtiff prints many lines and reads on."""
    noise = np.random.default_rng(0)
    data = bytearray(
        image_bytes(Image.fromarray(noise.random((200, 300)) > 0.5), "TIFF", compression=compression)
    )
    middle = len(data) // 2
    data[middle : middle + 40] = noise.bytes(40)
    return bytes(data)


def with_a_lost_tag():
    """A TIFF with a tag (GDAL's metadata) that has more letters than the file."""
    data = bytearray(image_bytes(random_picture(), "TIFF", tiffinfo={42112: "<GDALMetadata/>" * 9}))
    entry = data.index((42112).to_bytes(2, "little") + (2).to_bytes(2, "little"))
    data[entry + 4 : entry + 8] = (10**9).to_bytes(4, "little")
    return bytes(data)


def with_broken_exif():
    """A JPEG whose EXIF names a value that is not there."""
    exif = Image.Exif()
    exif[0x010E] = "a long description of what is to be seen"
    body = exif.tobytes()[:-20]
    return image_bytes(random_picture(), "JPEG", exif=body)


BROKEN = {
    "fax.tif": (broken_fax(), "Bad code word|Uncompressed data"),
    "tag.tif": (with_a_lost_tag(), "Skipping tag 42112"),
    "exif.jpg": (with_broken_exif(), "orrupt EXIF|Skipping tag|Truncated"),
}


@ON_LINUX
@pytest.mark.parametrize("name", BROKEN)
def test_what_is_said_of_a_picture_comes_once_and_with_its_name(name, tmp_path, capfd):
    if name == "tag.tif" and OLD_PILLOW:
        pytest.skip("Pillow 12 says something else of it")
    data, words = BROKEN[name]
    path = tmp_path / name
    path.write_bytes(data)
    source = Source.from_path(path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert kind(source) == "image"
        image_size(source)
        load_image(source)
    assert [warning.category for warning in caught] == [VLM2VecWarning]
    assert name in str(caught[0].message)
    assert re.search(words, str(caught[0].message))
    assert capfd.readouterr().err == ""


def test_sound_pictures_are_read_without_a_word(capfd):
    palette = random_picture().convert("P")
    data = [
        image_bytes(palette, "PNG", transparency=bytes(range(256))),
        image_bytes(palette, "GIF", transparency=3),
        image_bytes(random_picture(), "TIFF", compression="tiff_lzw"),
        image_bytes(random_picture(), "MPO", save_all=True, append_images=[random_picture()]),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for given in data:
            for alpha in ("drop", "white", "white_rgba"):
                if not given.startswith(b"GIF"):
                    load_image(Source.from_bytes(given), alpha=alpha)
    assert capfd.readouterr().err == ""


def test_others_hear_what_they_always_heard():
    """Within the block, another thread's warnings of Pillow go where they go without it."""
    if OLD_PILLOW:
        pytest.skip("Pillow 12 says something else of such a file")
    data = with_a_lost_tag()

    def elsewhere():
        Image.open(io.BytesIO(data)).load()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with listening() as messages:
            thread = threading.Thread(target=elsewhere)
            thread.start()
            thread.join()
            assert messages == []
            warnings.warn("of something else", UserWarning, stacklevel=1)
    assert any("42112" in str(warning.message) for warning in caught)
    assert "of something else" in [str(warning.message) for warning in caught]


@ON_LINUX
def test_each_thread_hears_its_own_picture_and_the_process_is_left_as_it_was(capfd):
    before = (warnings.showwarning, list(warnings.filters))
    sources = [Source.from_bytes(BROKEN[name][0]) for name in BROKEN]
    with ThreadPoolExecutor(8) as pool, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        list(pool.map(load_image, sources * 20))
    assert len(caught) == 60
    for source in sources:
        assert sum(str(warning.message).startswith(source.describe()) for warning in caught) == 20
    assert (warnings.showwarning, list(warnings.filters)) == before
    assert capfd.readouterr().err == ""
    Image.open(io.BytesIO(BROKEN["fax.tif"][0])).load()
    assert "Fax4Decode" in capfd.readouterr().err  # libtiff's own way is back


def test_what_pillow_has_said_before_is_heard_again():
    """Python shows a warning once; a file that the caller opened first is no less broken here."""
    data = BROKEN["exif.jpg"][0]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        Image.open(io.BytesIO(data)).getexif()
        load_image(Source.from_bytes(data))
    assert [warning.category for warning in caught] == [UserWarning, VLM2VecWarning]


def test_another_thread_does_not_hear_what_it_ignores():
    with warnings.catch_warnings(record=True) as caught, listening():
        warnings.simplefilter("ignore")
        thread = threading.Thread(target=Image.open(io.BytesIO(BROKEN["exif.jpg"][0])).getexif)
        thread.start()
        thread.join()
    assert caught == []


@ON_LINUX
def test_a_damaged_fax_of_very_many_rows_says_little():
    rows = np.random.default_rng(0).random((20_000, 8)) > 0.5
    data = bytearray(image_bytes(Image.fromarray(rows), "TIFF", compression="group3"))
    data[1000:60_000] = np.random.default_rng(1).bytes(59_000)
    with listening() as messages, pytest.warns(VLM2VecWarning, match="and at least 9. more"):
        load_image(Source.from_bytes(bytes(data)))
    assert len(messages) == 100


AT_EXIT = """
import atexit, io, sys
from PIL import Image
data = sys.stdin.buffer.read()
atexit.register(lambda: Image.open(io.BytesIO(data)).load())
import vlm2vec.media.image
"""


@ON_LINUX
def test_libtiff_speaks_for_itself_again_when_python_ends():
    done = subprocess.run(
        [sys.executable, "-c", AT_EXIT], input=BROKEN["fax.tif"][0], capture_output=True, check=True
    )
    assert b"Fax4Decode" in done.stderr


QUIET = """
import pathlib, sys, warnings
warnings.simplefilter("ignore")
from vlm2vec.errors import VLM2VecError
from vlm2vec.media.sampling import Sampling
from vlm2vec.media.source import Source
from vlm2vec.media.video import read_frames
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    try:
        read_frames(Source.from_path(path), Sampling(None))
    except VLM2VecError:
        pass
"""
CODECS = {
    "mp4": "libx264",
    "mov": "libx265",
    "mpegts": "mpeg2video",
    "avi": "mpeg4",
    "webm": "libvpx-vp9",
    "matroska": "ffv1",
    "flv": "flv1",
    "ogg": "libvpx",
}


def test_nothing_of_ffmpeg_reaches_stderr(tmp_path):
    for container, codec in CODECS.items():
        data = bytearray(clip_bytes(container, codec, count=30))
        for place, size in packet_places(bytes(data))[5:25:4]:
            data[place + size // 3 : place + size] = np.random.default_rng(1).bytes(size - size // 3)
        (tmp_path / container).write_bytes(data)
        (tmp_path / f"{container} cut off").write_bytes(data[: len(data) * 2 // 3])
        (tmp_path / f"{container} in short").write_bytes(data[:300])
    done = subprocess.run(
        [sys.executable, "-c", QUIET, str(tmp_path)], capture_output=True, text=True, timeout=300, check=True
    )
    assert done.stderr == ""


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
def test_exif_data_that_is_none_costs_no_picture(kind, tmp_path):
    path = tmp_path / f"exif.{kind.lower()}"
    picture = Image.new("RGB", (40, 30), (200, 30, 30))
    picture.save(path, kind, exif=b"Exif\0\0LoremIpsum", **({"lossless": True} if kind == "WEBP" else {}))
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        pixels = load_image(Source.from_path(path))
    np.testing.assert_allclose(pixels, np.asarray(picture), atol=3)
    assert all(path.name in str(one.message) for one in heard)
    assert len(heard) <= 1


def test_what_pillow_logs_of_a_picture_is_heard_too(caplog):
    pillow = logging.getLogger("PIL.TiffImagePlugin")
    with listening() as messages:
        pillow.error("More samples per pixel than can be decoded: %s", 65535)
    assert messages == ["More samples per pixel than can be decoded: 65535"]
    assert not caplog.records
    pillow.error("to whoever listens to Pillow")
    assert [record.getMessage() for record in caplog.records] == ["to whoever listens to Pillow"]
