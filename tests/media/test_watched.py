"""Small files that would keep Pillow busy for long stop soon after their time is up."""

import io
import struct
import threading
import time
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from media_making import image_bytes, random_picture
from PIL import Image

from vlm2vec.errors import LimitError, MediaError
from vlm2vec.media.deadline import Cancelled, cancellable
from vlm2vec.media.image import load_image
from vlm2vec.media.limits import Limits
from vlm2vec.media.probe import image_size, kind
from vlm2vec.media.sampling import Sampling
from vlm2vec.media.source import Source
from vlm2vec.media.video import clip_shape, read_frames
from vlm2vec.media.watched import reading_in_steps

SECONDS = 0.05
QUICK = Limits(decode_seconds=SECONDS)


def jpeg_of_scans(scans=5000, side=2400):
    """A progressive JPEG whose last scan comes over and over: 12 bytes or so, and all pixels each time."""
    data = image_bytes(Image.new("RGB", (side, side), (200, 30, 40)), "JPEG", progressive=True)
    last = data[data.rfind(b"\xff\xda") : -2]
    return data[:-2] + last * scans + b"\xff\xd9"


def jpeg_of_comments(count=200_000):
    data = image_bytes(random_picture(), "JPEG")
    return data[:2] + b"\xff\xfe\0\x03a" * count + data[2:]


def chunk(name, content=b""):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png_head(side):
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))


def png_of_chunks(name, count=100_000):
    data = image_bytes(random_picture(), "PNG")
    return data[:33] + chunk(name) * count + data[33:]


def png_of_empty_data(count=100_000):
    pixels = zlib.compress(bytes(64 * (64 * 3 + 1)))
    return png_head(64) + chunk(b"IDAT") * count + chunk(b"IDAT", pixels) + chunk(b"IEND")


def moving_png(count=500, side=2000):
    """Frames of one pixel each, on a large canvas."""
    control = ">IIIIIHHBB"
    parts = [
        png_head(side),
        chunk(b"acTL", struct.pack(">II", count, 0)),
        chunk(b"fcTL", struct.pack(control, 0, side, side, 0, 0, 1, 25, 0, 0)),
        chunk(b"IDAT", zlib.compress(bytes((side * 3 + 1) * side), 9)),
    ]
    for i in range(1, count):
        parts.append(chunk(b"fcTL", struct.pack(control, 2 * i - 1, 1, 1, 0, 0, 1, 25, 0, 0)))
        parts.append(chunk(b"fdAT", struct.pack(">I", 2 * i) + zlib.compress(bytes(4))))
    return b"".join([*parts, chunk(b"IEND")])


def gif(count=20_000, side=2000):
    """The same as a GIF."""
    head = b"GIF89a" + struct.pack("<HHBBB", side, side, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    frame = b"\x21\xf9\x04\x08\x02\0\0\0\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\0"
    return head + frame * count + b"\x3b"


def tiff_of(count=50_000, kind=1, side=8):
    """Pages that share their pixels, the first a picture, the others of a NewSubfileType."""
    strip, start = bytes(side * side), 8 + side * side
    tags = ((256, side), (257, side), (258, 8), (259, 1), (262, 1), (273, 8), (278, side), (279, side * side))
    parts = [b"II*\0", struct.pack("<I", start), strip]
    for i in range(count):
        entries = [(254, kind if i else 0), *tags]
        end = start + (i + 1) * (2 + 12 * len(entries) + 4)
        parts.append(struct.pack("<H", len(entries)))
        parts += [struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries]
        parts.append(struct.pack("<I", end if i + 1 < count else 0))
    return b"".join(parts)


def bmp_of_runs(side=2000):
    runs = (b"\x01\x00" * side + b"\0\0") * side
    start = 14 + 40 + 1024
    head = struct.pack("<IHHI", start + len(runs), 0, 0, start)
    return b"".join(
        [
            b"BM",
            head,
            struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(runs), 0, 0, 256, 0),
            bytes(1024),
            runs,
        ]
    )


PICTURES = {
    "a JPEG of many scans": jpeg_of_scans,
    "a JPEG of many comments": jpeg_of_comments,
    "a PNG of many chunks": lambda: png_of_chunks(b"abCd"),
    "a PNG of many texts": lambda: png_of_chunks(b"tEXt"),
    "a PNG of empty data": png_of_empty_data,
    "a TIFF of many copies": tiff_of,
    "a BMP of many runs": bmp_of_runs,
}
CLIPS = {"a PNG of many frames": moving_png, "a GIF of many frames": gif}


def seconds_of(action):
    begin = time.thread_time()
    action()
    return time.thread_time() - begin


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_that_takes_long_stops_when_its_time_is_up(name):
    source = Source.from_bytes(PICTURES[name]())

    def load():
        with pytest.raises(LimitError, match=r"took longer than 0\.05 s of the processor"):
            load_image(source, limits=QUICK)

    assert seconds_of(load) < 1


@pytest.mark.parametrize("name", ["a JPEG of many scans", "a TIFF of many copies", "a BMP of many runs"])
def test_so_does_one_that_the_caller_has_opened(name):
    picture = Image.open(io.BytesIO(PICTURES[name]()))
    file = picture.fp

    def load():
        with pytest.raises(LimitError, match="took longer than"):
            load_image(picture, limits=QUICK)

    assert seconds_of(load) < 1
    assert picture.fp is file


@pytest.mark.parametrize("sampling", [Sampling(4), Sampling(4, fps=5)])
@pytest.mark.parametrize("name", CLIPS)
def test_an_animation_that_takes_long_stops_when_its_time_is_up(name, sampling):
    source = Source.from_bytes(CLIPS[name]())

    def read():
        with pytest.raises(LimitError, match="took longer than"):
            read_frames(source, sampling, limits=QUICK)

    assert seconds_of(read) < 1
    assert kind(source) == "video"


def test_the_frames_of_a_gif_are_counted_within_the_time():
    with pytest.raises(LimitError, match="reading the animation took longer than"):
        clip_shape(Source.from_bytes(gif()), Sampling(4), limits=QUICK)


def test_the_size_of_a_tiff_of_many_copies_is_found_within_the_time():
    with pytest.raises(LimitError, match="reading the image took longer than"):
        image_size(Source.from_bytes(tiff_of()), limits=QUICK)


def test_a_second_page_is_asked_for_and_no_third(monkeypatch):
    data = tiff_of(count=20_000, kind=0)
    sought = []
    with Image.open(io.BytesIO(data)) as picture:
        real = type(picture).seek
        monkeypatch.setattr(
            type(picture), "seek", lambda self, page: (sought.append(page), real(self, page))[1]
        )
    with pytest.raises(MediaError, match="several pages"):
        load_image(Source.from_bytes(data))
    assert max(sought) == 1


def test_looking_what_a_file_is_ends_too():
    assert kind(Source.from_bytes(jpeg_of_comments(3_000_000))) == "image"


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_a_sound_jpeg_is_read_as_ever_and_a_step_at_a_time_it_is_the_same(monkeypatch, options):
    data = image_bytes(random_picture(300, 200), "JPEG", **options)
    with Image.open(io.BytesIO(data)) as picture:
        block = picture.decodermaxblock
        reading_in_steps(picture)
        assert picture.decodermaxblock == block
        assert picture.fp.tell() > 0
    whole = load_image(Source.from_bytes(data))
    monkeypatch.setattr("vlm2vec.media.watched._PAINTED_AT_ONCE", 0)
    with Image.open(io.BytesIO(data)) as picture:
        reading_in_steps(picture)
        assert picture.decodermaxblock == 64
    assert np.array_equal(load_image(Source.from_bytes(data)), whole)


def test_scans_are_counted_across_blocks(monkeypatch):
    data = jpeg_of_scans(scans=100, side=64)
    for block in (7, 8, 2**20):
        monkeypatch.setattr("vlm2vec.media.watched._BLOCK", block)
        monkeypatch.setattr("vlm2vec.media.watched._PAINTED_AT_ONCE", data.count(b"\xff\xda") * 64 * 64 - 1)
        with Image.open(io.BytesIO(data)) as picture:
            reading_in_steps(picture)
            assert picture.decodermaxblock == 64
        monkeypatch.setattr("vlm2vec.media.watched._PAINTED_AT_ONCE", data.count(b"\xff\xda") * 64 * 64)
        with Image.open(io.BytesIO(data)) as picture:
            reading_in_steps(picture)
            assert picture.decodermaxblock != 64


def test_work_that_is_called_off_stops_in_the_middle_of_a_picture():
    event = threading.Event()

    class Last(io.BytesIO):
        def read(self, size=-1):
            if self.tell() > 40_000:
                event.set()
            return super().read(size)

    with Image.open(Last(jpeg_of_scans())) as picture:
        assert not event.is_set()
        with cancellable(event), pytest.raises(Cancelled):
            load_image(picture)


def test_a_length_that_a_file_only_claims_takes_no_memory(tmp_path: Path) -> None:
    """A chunk of 4 GB in a PNG of 1 kB: Python takes what is asked for, and a limit of memory refuses it."""
    data = bytearray(image_bytes(random_picture(), "PNG"))
    place = data.find(b"IDAT")
    data[place - 4 : place] = (2**32 - 10_000).to_bytes(4, "big")
    path = tmp_path / "claims.png"
    path.write_bytes(data)
    tracemalloc.start()
    try:
        from_disk = load_image(Source.from_path(path))
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()
    assert (from_disk == load_image(Source.from_bytes(data))).all()
