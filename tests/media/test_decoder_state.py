"""What a decoder remembers of packets long before: every way of reading a clip is a straight decode of it."""

import io
import re
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media_making import decode_all, moving_picture
from PIL import Image

from vlm2vec.media import cores
from vlm2vec.media.sampling import Sampling
from vlm2vec.media.source import Source
from vlm2vec.media.video import read_frames

WIDTH, HEIGHT = 192, 128


def soft_noise(width, height, seed):
    levels = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(levels).resize((width, height), Image.Resampling.BICUBIC))


def written_by(build, data):
    """The clip as if another version of x264 had written it, to which FFmpeg's decoder pays heed."""
    return re.sub(rb"x264 - core \d{3}", b"x264 - core %03d" % build, data)


@pytest.fixture(scope="module")
def old_direct():
    """x264 up to 33 read direct blocks otherwise (FFmpeg, h264_direct.c): other pictures, no complaint."""
    back, thing = soft_noise(WIDTH, HEIGHT, 0), soft_noise(48, 48, 1)
    pictures = []
    for i in range(96):
        picture = back.copy()
        x, y = 5 * i % (WIDTH - 48), 3 * i % (HEIGHT - 48)
        picture[y : y + 48, x : x + 48] = thing
        pictures.append(picture)
    structure = "b-pyramid=normal:direct=spatial:bframes=7:b-adapt=0:ref=4:keyint=24:min-keyint=24:scenecut=0"
    return encoded(pictures, **{"x264-params": f"{structure}:weightp=0", "preset": "medium", "crf": "20"})


def encoded(pictures, pixel_format="yuv420p", **options):
    with tempfile.NamedTemporaryFile() as file:
        with av.open(file.name, "w", format="mp4") as output:
            stream = output.add_stream("libx264", rate=25, options={"threads": "1", **options})
            stream.width, stream.height = pictures[0].shape[1], pictures[0].shape[0]
            stream.pix_fmt = pixel_format
            for picture in pictures:
                output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            output.mux(stream.encode())
        return Path(file.name).read_bytes()


def same(frames, expected):
    return len(frames) == len(expected) and all(map(np.array_equal, frames, expected))


@pytest.mark.parametrize("core_count", [1, 2, 5])
@pytest.mark.parametrize("settings", [{"num_frames": 8}, {"num_frames": None}, {"start": 1.3}, {"end": 0.2}])
def test_old_streams_are_read_as_their_first_packet_says(old_direct, settings, core_count, monkeypatch):
    old = written_by(33, old_direct)
    everything = decode_all(old)
    assert not same(everything, decode_all(old_direct))
    monkeypatch.setattr(cores, "core_count", lambda: core_count)
    sampling = Sampling(**settings)
    clip = read_frames(Source.from_bytes(old), sampling)
    assert clip.problem is None
    assert same(clip.frames, [everything[i] for i in sampling.choose([i / 25 for i in range(96)], 3.84)])


@pytest.mark.filterwarnings("ignore::vlm2vec.errors.VLM2VecWarning")
def test_frames_and_damage_do_not_depend_on_the_number_of_cores(monkeypatch):
    """Old x264 wrote 4:4:4 otherwise: read so, this clip is damaged, and it is so on any number of cores."""
    noise = soft_noise(400, 96, 0)
    pictures = [np.ascontiguousarray(noise[:, i : i + 160]) * (i >= 60) for i in range(240)]
    structure = "keyint=60:scenecut=0:8x8dct=1:cabac=1"
    clip = encoded(pictures, "yuv444p", **{"x264-params": structure, "profile": "high444", "qp": "0"})
    seen = []
    for core_count in (1, 2, 5):
        monkeypatch.setattr(cores, "core_count", lambda count=core_count: count)
        frames = read_frames(Source.from_bytes(written_by(142, clip)))
        seen.append((frames.times, frames.problem, [frame.tobytes() for frame in frames.frames]))
    assert seen[0] == seen[1] == seen[2]
    assert "damaged" in seen[0][1]


# Two halves of a clip whose parameter sets differ.
HALVES = ("cabac=1", "cabac=0:chroma-qp-offset=6:deblock=-3,-3")


def half_clip(half, container):
    """A file with one half; its packets have the times that they have in the whole."""
    with tempfile.NamedTemporaryFile() as file:
        with av.open(file.name, "w", format=container) as output:
            structure = f"{HALVES[half]}:keyint=12:min-keyint=12:scenecut=0:bframes=0"
            stream = output.add_stream("libx264", rate=25, options={"threads": "1", "x264-params": structure})
            stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
            for i in range(48 * half, 48 * half + 48):
                frame = av.VideoFrame.from_ndarray(moving_picture(i), format="rgb24")
                frame.pts, frame.time_base = i, Fraction(1, 25)
                output.mux(stream.encode(frame))
            output.mux(stream.encode())
        return Path(file.name).read_bytes()


def changes_in_the_container():
    """FLV stores headers beside packets, once, and files can be put behind one another."""
    return half_clip(0, "flv") + half_clip(1, "flv")[13:]  # without the second one's start


def changes_in_a_packet(container):
    """The second half's headers stand in its first packet alone."""
    with tempfile.NamedTemporaryFile() as file:
        with av.open(file.name, "w", format=container) as output:
            stream = output.add_mux_stream("h264", rate=25, width=96, height=64)
            for half in range(2):
                with av.open(io.BytesIO(half_clip(half, "h264"))) as own:
                    packets = [packet for packet in own.demux(video=0) if packet.size]
                for i, packet in enumerate(packets):
                    data = bytes(packet)
                    # Raw H.264 repeats them; a picture's own part starts with 0x65 where it is a key frame.
                    start = data.find(b"\0\0\1\x65") if i and packet.is_keyframe else 0
                    copy = av.Packet(data[start:])
                    copy.pts = copy.dts = 48 * half + i
                    copy.time_base, copy.duration = Fraction(1, 25), 1
                    copy.is_keyframe, copy.stream = packet.is_keyframe, stream
                    output.mux(copy)
        return Path(file.name).read_bytes()


@pytest.mark.parametrize("core_count", [1, 5])
@pytest.mark.parametrize("container", ["mpegts", "h264", "matroska", "flv"])
def test_headers_that_come_once_are_no_damage(container, core_count, monkeypatch):
    if container == "matroska" and int(av.__version__.partition(".")[0]) < 18:
        pytest.skip("FFmpeg 8.0 does not write such a file, or does not read it")
    data = changes_in_the_container() if container == "flv" else changes_in_a_packet(container)
    everything = decode_all(data)
    assert len(everything) == 96
    monkeypatch.setattr(cores, "core_count", lambda: core_count)
    for settings in ({"num_frames": 8}, {"num_frames": 4, "start": 2.6}, {"num_frames": None}):
        sampling = Sampling(**settings)
        clip = read_frames(Source.from_bytes(data), sampling)
        assert clip.problem is None
        assert same(clip.frames, [everything[i] for i in sampling.choose([i / 25 for i in range(96)], 3.84)])
        if container != "h264":
            assert clip.times[-1] == pytest.approx(3.8, abs=2e-3)
