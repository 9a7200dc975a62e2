"""Each codec, container, pixel format, turn and time base that FFmpeg here writes, as it decodes them.

The independent reader is FFmpeg by way of PyAV: every frame from the first packet on, with one thread, each
converted and turned by itself. What cannot be written, or read back by it, is left out.
"""

import io
import tempfile
import warnings
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.codec.codec import Codec
from media_making import moving_picture
from test_video import turned

from vlm2vec.errors import VLM2VecWarning
from vlm2vec.media import cores, seeking
from vlm2vec.media.sampling import Sampling, uniform_indices
from vlm2vec.media.source import Source
from vlm2vec.media.video import read_frames

pytestmark = pytest.mark.slow  # most of a minute

COUNT, WIDTH, HEIGHT = 24, 96, 64
# Encoders that need a machine of their own, or give nothing that could be read back.
WITHOUT = (
    "_nvenc",
    "_qsv",
    "_amf",
    "_v4l2m2m",
    "_vaapi",
    "_mf",
    "_videotoolbox",
    "vnull",
    "wrapped_avframe",
    "xface",
)
CONTAINERS = (
    *(
        "mp4",
        "mov",
        "matroska",
        "webm",
        "avi",
        "mpegts",
        "mpeg",
        "flv",
        "asf",
        "ogg",
        "nut",
        "mxf",
        "ivf",
        "rm",
    ),
    *("h264", "hevc", "m4v", "mpeg1video", "mpeg2video", "h263", "h261", "obu", "yuv4mpegpipe", "dv", "gxf"),
)
# Some encoders take few sizes alone.
SIZES = {
    "h261": (176, 144),
    "h263": (176, 144),
    "dvvideo": (720, 576),
    "dnxhd": (256, 144),
    "rv10": (176, 144),
}
SIZES |= {"roqvideo": (64, 64), "cfhd": (256, 144), "rv20": (176, 144)}
OPTIONS = {
    "libx264": {"bf": "2", "preset": "veryfast"},
    "h264": {"preset": "veryfast"},
    "libx265": {"x265-params": "log-level=none:pools=1:keyint=8", "preset": "ultrafast"},
    "hevc": {"x265-params": "log-level=none:pools=1:keyint=8", "preset": "ultrafast"},
    "libsvtav1": {"svtav1-params": "lp=1"},
    "mpeg2video": {"bf": "2"},
    "dnxhd": {"profile": "dnxhr_sq"},
}
# Codecs of which every pixel format is written, in a container that takes them all.
EVERY_FORMAT = {
    "libx264": "matroska",
    "ffv1": "matroska",
    "libvpx-vp9": "matroska",
    "libx265": "mp4",
    "mjpeg": "avi",
}
EVERY_FORMAT |= {"huffyuv": "avi", "png": "mov", "prores_ks": "mov", "qtrle": "mov", "utvideo": "avi"}
UNSTAMPED = (
    "avi",
    "asf",
    "rm",
    "mxf",
    "mpeg1video",
    "mpeg2video",
    "h264",
    "hevc",
    "m4v",
    "h263",
    "h261",
    "obu",
)
# What these must be among, whatever FFmpeg leaves out.
AT_LEAST = {
    "libx264": {"mp4", "mov", "matroska", "mpegts", "avi", "flv", "asf", "nut", "h264"},
    "libx265": {"mp4", "mov", "matroska", "mpegts", "hevc"},
    "libvpx-vp9": {"mp4", "matroska", "webm"},
    "libsvtav1": {"mp4", "matroska", "webm"},
    "mpeg4": {"mp4", "mov", "matroska", "avi", "mpegts"},
    "mpeg2video": {"mpegts", "mpeg", "matroska"},
    "mjpeg": {"mov", "matroska", "avi"},
    "tiff": {"mov"},
}
BASES = [
    Fraction(1, 10),
    Fraction(1, 25),
    Fraction(1001, 30000),
    Fraction(1, 600),
    Fraction(1, 1000),
    Fraction(7, 90),
]


def encoders():
    names = sorted(name for name in av.codec.codecs_available if not name.endswith(WITHOUT))
    return [name for name in names if is_encoder(name)]


def is_encoder(name):
    try:
        codec = Codec(name, "w")
    except ValueError:
        return False
    return codec.type == "video"


def write(codec, container, pixel_format=None, base=None, gop=8):
    """A clip, or nothing where FFmpeg does not write it."""
    width, height = SIZES.get(codec, (WIDTH, HEIGHT))
    with tempfile.NamedTemporaryFile() as file:
        try:
            with av.open(file.name, "w", format=container) as output:
                rate = 25 if base is None else max(1, round(1 / base))
                options = {"g": str(gop), "threads": "1", "strict": "experimental", **OPTIONS.get(codec, {})}
                stream = output.add_stream(codec, rate=rate, options=options)
                formats = Codec(codec, "w").video_formats
                stream.width, stream.height = width, height
                stream.pix_fmt = pixel_format or (formats[0].name if formats else "yuv420p")
                if base is not None:
                    stream.codec_context.time_base = base
                for i in range(COUNT):
                    frame = av.VideoFrame.from_ndarray(moving_picture(i, width, height), format="rgb24")
                    if base is not None:
                        frame.pts, frame.time_base = i, base
                    output.mux(stream.encode(frame))
                output.mux(stream.encode())
        except (av.error.FFmpegError, ValueError, OSError, OverflowError, NotImplementedError):
            return None
        return Path(file.name).read_bytes()


def straight(data):
    """Every frame, upright, and its time in seconds from the first; nothing where FFmpeg does not read it."""
    pictures, stamps = [], []
    try:
        with av.open(io.BytesIO(data)) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            for frame in container.decode(stream):
                turn = frame.rotation
                pictures.append(np.rot90(frame.to_ndarray(format="rgb24"), turn // 90))
                stamps.append(None if frame.pts is None else float(frame.pts * frame.time_base))
    except (av.error.FFmpegError, AttributeError, IndexError, ValueError):
        return None, None
    return pictures, None if None in stamps else [stamp - stamps[0] for stamp in stamps]


def check(data, *, timed=True):
    """Compares all frames, and eight, with the straight decode; says whether there was one."""
    expected, stamps = straight(data)
    if not expected:
        return False
    source = Source.from_bytes(data)
    for sampling in (Sampling(None), Sampling(8)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", r".*as wide as high", VLM2VecWarning)
            clip = read_frames(source, sampling)
        chosen = uniform_indices(len(expected), sampling.num_frames or len(expected))
        assert clip.problem is None
        assert len(clip.frames) == len(chosen)
        for frame, i in zip(clip.frames, chosen, strict=True):
            assert frame.shape == expected[i].shape
            assert np.abs(frame.astype(int) - expected[i]).max() <= 1
        if timed and stamps is not None:
            assert clip.times == pytest.approx([stamps[i] for i in chosen], abs=2e-3)
    return True


@pytest.fixture(autouse=True)
def several_threads(monkeypatch):
    """Short clips are read by several decoders too."""
    monkeypatch.setattr(cores, "core_count", lambda: 3)
    monkeypatch.setattr(seeking, "_PACKETS_PER_THREAD", 1)


@pytest.mark.parametrize("codec", encoders())
def test_every_codec_in_every_container_that_takes_it(codec):
    clips = {container: write(codec, container) for container in CONTAINERS}
    compared = {
        container
        for container, data in clips.items()
        if data is not None and check(data, timed=container not in UNSTAMPED)
    }
    assert compared >= AT_LEAST.get(codec, set())


@pytest.mark.parametrize("codec", EVERY_FORMAT)
def test_every_pixel_format(codec):
    container = EVERY_FORMAT[codec]
    formats = [pixels.name for pixels in Codec(codec, "w").video_formats]
    clips = [data for data in (write(codec, container, pixels) for pixels in formats) if data is not None]
    assert sum(check(data, timed=container not in UNSTAMPED) for data in clips) >= 2


@pytest.mark.parametrize(
    "matrix", [(1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0)], ids=["0", "90", "180", "270"]
)
@pytest.mark.parametrize("codec", ["libx264", "mpeg4", "mjpeg"])
@pytest.mark.parametrize("container", ["mp4", "mov"])
def test_every_turn(container, codec, matrix):
    assert check(turned(write(codec, container), matrix))


@pytest.mark.parametrize("base", BASES, ids=str)
@pytest.mark.parametrize("container", ["mp4", "matroska", "mpegts", "avi", "flv"])
@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_every_time_base(codec, container, base):
    data = write(codec, container, base=base)
    if data is None:
        pytest.skip("FFmpeg does not write it")
    assert check(data, timed=container not in UNSTAMPED)
