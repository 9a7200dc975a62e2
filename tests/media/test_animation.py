import io
import struct
import zlib

import numpy as np
import pytest
from media_making import image_bytes, random_picture
from PIL import GifImagePlugin, Image, ImageSequence

from vlm2vec.errors import LimitError, MediaError, VLM2VecWarning
from vlm2vec.media.limits import Limits
from vlm2vec.media.sampling import Sampling, uniform_indices
from vlm2vec.media.source import Source
from vlm2vec.media.video import clip_shape, read_frames


def animation(kind, count=20, duration=50):
    pictures = [random_picture(seed=i) for i in range(count)]
    return image_bytes(pictures[0], kind, save_all=True, append_images=pictures[1:], duration=duration)


def every_frame(data):
    return [np.asarray(f.convert("RGB")) for f in ImageSequence.Iterator(Image.open(io.BytesIO(data)))]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF"])
@pytest.mark.parametrize("num_frames", [1, 3, 8, None])
def test_the_frames_of_an_animation_are_those_of_reading_everything(kind, num_frames):
    data = animation(kind)
    expected = every_frame(data)
    chosen = uniform_indices(len(expected), num_frames or len(expected))
    clip = read_frames(Source.from_bytes(data), Sampling(num_frames))
    assert len(clip.frames) == len(chosen)
    assert all(np.array_equal(frame, expected[i]) for frame, i in zip(clip.frames, chosen, strict=True))
    assert clip.times == pytest.approx([i * 0.05 for i in chosen])
    assert clip.problem is None


def test_each_frame_is_decoded_once(monkeypatch):
    loaded = []
    real = GifImagePlugin.GifImageFile.seek
    monkeypatch.setattr(
        GifImagePlugin.GifImageFile, "seek", lambda picture, i: loaded.append(i) or real(picture, i)
    )
    read_frames(Source.from_bytes(animation("GIF")))
    first = max(i for i in range(len(loaded)) if loaded[i] == 0)
    assert loaded[first:] == list(range(20))


def test_each_frame_lasts_as_long_as_the_file_says():
    source = Source.from_bytes(animation("GIF", 4, duration=[100, 200, 300, 400]))
    assert read_frames(source).times == pytest.approx([0.0, 0.1, 0.3, 0.6])
    assert len(read_frames(source, Sampling(None, start=0.99)).frames) == 1


def test_times_choose_frames():
    data = animation("GIF", 20, duration=100)
    clip = read_frames(Source.from_bytes(data), Sampling(None, fps=2, start=0.5, end=1.6))
    assert clip.times == [0.5, 1.0, 1.5]


def test_a_frame_that_claims_no_time_is_shown_for_a_tenth_of_a_second():
    clip = read_frames(Source.from_bytes(animation("GIF", 3, duration=0)))
    assert clip.times == pytest.approx([0.0, 0.1, 0.2])


def test_a_gif_with_one_frame_is_a_clip_when_it_is_given_as_one():
    given = Source.from_bytes(image_bytes(random_picture(), "GIF"))
    assert len(read_frames(given).frames) == 1


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_still_image_is_no_video(kind):
    with pytest.raises(MediaError, match=f"not a video but {kind}"):
        read_frames(Source.from_bytes(image_bytes(random_picture(), kind)))


def test_transparency_follows_the_setting():
    pictures = []
    for level in (0, 100):
        picture = Image.new("RGBA", (4, 4), (level, 0, 0, 0))
        picture.putpixel((0, 0), (level, 5, 5, 255))
        pictures.append(picture)
    data = image_bytes(pictures[0], "PNG", save_all=True, append_images=pictures[1:])
    white = read_frames(Source.from_bytes(data), alpha="white").frames
    assert [frame[3, 3].tolist() for frame in white] == [[255, 255, 255]] * 2


def test_a_broken_tail_loses_only_what_is_broken():
    data = animation("GIF")
    expected = every_frame(data)
    with pytest.warns(VLM2VecWarning, match="frames are damaged"):
        clip = read_frames(Source.from_bytes(data[: len(data) * 3 // 4]), Sampling(None))
    assert 10 < len(clip.frames) < 20
    assert clip.problem is not None
    assert all(np.array_equal(a, b) for a, b in zip(clip.frames, expected, strict=False))


def test_limits_hold_for_animations():
    given = Source.from_bytes(animation("GIF"))
    with pytest.raises(LimitError, match="40 x 30"):
        read_frames(given, limits=Limits(max_image_pixels=1199))
    with pytest.raises(LimitError, match="longer than"):
        read_frames(given, limits=Limits(decode_seconds=1e-9))


def test_frames_that_a_png_only_claims_take_no_memory():
    data = bytearray(animation("PNG", count=3))
    place = data.index(b"acTL")
    data[place + 4 : place + 8] = struct.pack(">I", 2**31)
    data[place + 12 : place + 16] = struct.pack(">I", zlib.crc32(data[place : place + 12]))
    source = Source.from_bytes(bytes(data))
    assert 3 <= clip_shape(source, Sampling(2**62)).frames <= len(data) // 38
    with pytest.warns(VLM2VecWarning, match="frames are damaged"):
        assert len(read_frames(source, Sampling(2**62)).frames) == 3
