import gc
import io
import struct
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter
from media_making import audio_bytes, clip_bytes, decode_all, image_bytes, pdf_bytes, random_picture

from vlm2vec.errors import InputError, LimitError, MediaError, VLM2VecWarning
from vlm2vec.media.limits import Limits
from vlm2vec.media.sampling import Sampling, uniform_indices
from vlm2vec.media.seeking import picture
from vlm2vec.media.source import Source
from vlm2vec.media.video import read_frames

RANDOM_GAPS = np.cumsum(np.random.default_rng(0).integers(5, 120, 60)).tolist()
OPEN_GOP = {"x264-params": "open-gop=1:b-pyramid=normal:bframes=5:keyint=24:min-keyint=24:scenecut=0"}
HIDDEN = {"auto-alt-ref": "1", "lag-in-frames": "16"}

CLIPS = {
    **{
        f"{box} gop {gop}": (box, "libx264", {"gop": gop})
        for box in ("mp4", "matroska", "mpegts")
        for gop in (12, 48, 250)
    },
    **{f"{box} open gop": (box, "libx264", OPEN_GOP) for box in ("mp4", "matroska", "mpegts")},
    **{
        f"{box} variable rate": (box, "libx264", {"stamps": RANDOM_GAPS})
        for box in ("mp4", "matroska", "mpegts")
    },
    "mp4 intra refresh": ("mp4", "libx264", {"x264-params": "intra-refresh=1:keyint=20:bframes=0"}),
    "mp4 interlaced": ("mp4", "libx264", {"x264-params": "tff=1:interlaced=1:keyint=20"}),
    "mp4 with sound": ("mp4", "libx264", {"audio": True}),
    "mp4 fragmented": ("mp4", "libx264", {"muxer": {"movflags": "frag_keyframe+empty_moov"}}),
    "mp4 10 bits": ("mp4", "libx264", {"pixel_format": "yuv420p10le"}),
    "mp4 hevc": ("mp4", "libx265", {}),
    "mp4 av1": ("mp4", "libsvtav1", {}),
    "mp4 mpeg4": ("mp4", "mpeg4", {"bf": "2"}),
    "matroska live": ("matroska", "libx264", {"muxer": {"live": "1"}}),
    "matroska ffv1": ("matroska", "ffv1", {}),
    "webm vp9": ("webm", "libvpx-vp9", {"gop": 48, **HIDDEN}),
    "webm vp8 with hidden frames": ("webm", "libvpx", {"gop": 48, **HIDDEN}),
    "avi without time stamps": ("avi", "libx264", {}),
    "avi mpeg4": ("avi", "mpeg4", {"bf": "2"}),
    "avi mjpeg": ("avi", "mjpeg", {"pixel_format": "yuvj420p"}),
    "asf": ("asf", "libx264", {}),
    "flv": ("flv", "libx264", {}),
    "mpeg program stream": ("mpeg", "mpeg2video", {"bf": "2"}),
    "raw h264": ("h264", "libx264", {}),
    "raw hevc": ("hevc", "libx265", {}),
    "ogg": ("ogg", "libvpx", {}),
    "mxf": ("mxf", "mpeg2video", {"bf": "2"}),
}


def same(frames, expected):
    return len(frames) == len(expected) and all(map(np.array_equal, frames, expected))


@pytest.mark.parametrize("name", CLIPS)
def test_frames_are_those_of_decoding_everything(name):
    container, codec, options = CLIPS[name]
    data = clip_bytes(container, codec, **options)
    everything = decode_all(data)
    assert len(everything) == 60
    source = Source.from_bytes(data)
    times = read_frames(source, Sampling(None)).times
    for num_frames in (1, 3, 8, None):
        clip = read_frames(source, Sampling(num_frames))
        chosen = uniform_indices(60, num_frames or 60)
        assert same(clip.frames, [everything[i] for i in chosen])
        assert clip.times == pytest.approx([times[i] for i in chosen])
        assert clip.problem is None


@pytest.mark.parametrize("container", ["mp4", "matroska", "mpegts", "avi", "flv"])
def test_times_are_seconds_from_the_first_frame(container):
    source = Source.from_bytes(clip_bytes(container))
    assert read_frames(source, Sampling(None)).times == pytest.approx([i / 25 for i in range(60)], abs=1e-3)
    with pytest.raises(InputError, match=r"ends at 2\.4 s"):
        read_frames(source, Sampling(start=2.403))
    assert read_frames(source, Sampling(start=2.397)).times == pytest.approx([2.36], abs=1e-3)


def test_times_of_a_variable_rate_are_the_frames_own():
    clip = read_frames(Source.from_bytes(clip_bytes("matroska", stamps=RANDOM_GAPS)), Sampling(None))
    expected = [(stamp - RANDOM_GAPS[0]) / 1000 for stamp in RANDOM_GAPS]
    assert clip.times == pytest.approx(expected, abs=2e-3)


def test_a_clip_that_does_not_start_at_zero_starts_at_zero_for_the_caller():
    data = clip_bytes("matroska", stamps=[5000 + 40 * i for i in range(60)])
    clip = read_frames(Source.from_bytes(data), Sampling(2, start=1, end=2))
    assert clip.times == pytest.approx([1.0, 2.0], abs=2e-3)
    assert same(clip.frames, [decode_all(data)[i] for i in (25, 50)])


@pytest.mark.parametrize(
    "setting",
    [
        {"fps": 5, "num_frames": None},
        {"fps": 5, "num_frames": 4},
        {"fps": 1000, "num_frames": None},
        {"start": 0.5, "end": 1.5},
        {"start": 1.03, "end": 1.05},
        {"start": 2.39},
        {"end": 0.01},
        {"fps": 3, "start": 0.7, "num_frames": None},
    ],
)
def test_settings_choose_frames_by_their_times(setting):
    data = clip_bytes("mp4", gop=30)
    everything = decode_all(data)
    chosen = Sampling(**setting).choose([i / 25 for i in range(60)], 2.4)
    clip = read_frames(Source.from_bytes(data), Sampling(**setting))
    assert same(clip.frames, [everything[i] for i in chosen])


def test_a_start_behind_the_end_is_an_error():
    with pytest.raises(InputError, match=r"ends at 2\.4 s"):
        read_frames(Source.from_bytes(clip_bytes()), Sampling(start=3))


@pytest.mark.parametrize("count", [1, 2, 7])
def test_a_short_clip_is_used_as_it_is(count):
    data = clip_bytes(count=count)
    clip = read_frames(Source.from_bytes(data))
    assert same(clip.frames, decode_all(data))


def test_a_file_gives_what_its_bytes_give(tmp_path):
    data = clip_bytes()
    for name in ("a.mp4", "no_suffix", "concat:a|b", "odd %03d.jpg", "-"):
        (tmp_path / name).write_bytes(data)
        clip = read_frames(Source.from_path(tmp_path / name))
        assert same(clip.frames, read_frames(Source.from_bytes(data)).frames)


def test_many_threads_read_what_one_reads():
    sources = [Source.from_bytes(clip_bytes(gop=gop)) for gop in (6, 12, 30, 60)] * 2
    expected = [read_frames(source).frames for source in sources]
    with ThreadPoolExecutor(8) as pool:
        clips = list(pool.map(read_frames, sources))
    assert all(same(clip.frames, frames) for clip, frames in zip(clips, expected, strict=True))


def test_no_frame_waits_for_the_garbage_collector():
    source = Source.from_bytes(clip_bytes(count=12))

    def held() -> int:
        return sum(type(thing) is av.VideoFrame for thing in gc.get_objects())

    gc.collect()
    gc.disable()  # what only it would free stays in its lists
    try:
        before = held()
        assert len(read_frames(source, Sampling(None)).frames) == 12
        assert held() == before
    finally:
        gc.enable()


def test_only_what_is_needed_is_decoded(monkeypatch):
    """Eight frames of a long clip with short groups cost little more than eight groups."""
    from vlm2vec.media.container import ClipFile

    packets = []
    real = ClipFile.decode
    monkeypatch.setattr(ClipFile, "decode", lambda clip, packet: packets.append(packet) or real(clip, packet))
    read_frames(Source.from_bytes(clip_bytes(count=600, gop=10, size=(32, 32))))
    assert len(packets) < 8 * 20


def negative(container, codec, count=40, rate=10, **options):
    """A clip that starts 0.6 s before its own zero, and every frame of which has its number as its grey."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container, options={"avoid_negative_ts": "disabled"}) as output:
        stream = output.add_stream(codec, rate=rate, options={"g": "12", "threads": "1", **options})
        stream.width = stream.height = 64
        stream.pix_fmt, stream.time_base = "yuv420p", Fraction(1, rate)
        for i in range(count):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 20 + 5 * i, np.uint8), format="rgb24")
            frame.pts, frame.time_base = i - 6, Fraction(1, rate)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("container", "codec", "options"),
    [
        ("matroska", "libx264", {"bf": "0"}),
        ("matroska", "libx264", {"bf": "2"}),
        ("matroska", "ffv1", {}),
        ("webm", "libvpx-vp9", {}),
        ("mp4", "libx264", {"bf": "2"}),
        ("mov", "mjpeg", {"strict": "unofficial"}),
        ("mpegts", "libx264", {"bf": "2"}),
        ("avi", "mpeg4", {"bf": "0"}),
    ],
)
def test_frames_before_time_zero_are_frames(container, codec, options):
    data = negative(container, codec, **options)
    everything = decode_all(data)
    # An MP4 file's edit list says that they are not shown.
    assert len(everything) == (34 if container in ("mp4", "mov") else 40)
    source = Source.from_bytes(data)
    clip = read_frames(source, Sampling(None))
    assert same(clip.frames, everything)
    assert clip.times == pytest.approx([i / 10 for i in range(len(everything))], abs=1e-3)
    assert same(read_frames(source).frames, [everything[i] for i in uniform_indices(len(everything), 8)])


# Pixels that are not square


def with_pixels(shape, container="mp4"):
    """A clip whose pixels have this ratio of width to height."""
    with tempfile.NamedTemporaryFile() as file:
        with av.open(file.name, "w", format=container) as output:
            stream = output.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
            stream.codec_context.sample_aspect_ratio = shape
            for _ in range(12):
                frame = av.VideoFrame.from_ndarray(np.zeros((64, 96, 3), np.uint8), format="rgb24")
                output.mux(stream.encode(frame))
            output.mux(stream.encode())
        return Path(file.name).read_bytes()


@pytest.mark.parametrize("container", ["mp4", "matroska", "mpegts", "h264"])
def test_frames_of_an_anamorphic_clip_stay_as_stored_with_one_warning(container, tmp_path):
    path = tmp_path / "wide.clip"
    path.write_bytes(with_pixels(Fraction(16, 11), container))
    with pytest.warns(VLM2VecWarning, match=r"wide\.clip: its pixels are 16/11 as wide as high") as warned:
        clip = read_frames(Source.from_path(path))
    assert len(warned) == 1
    assert clip.frames[0].shape == (64, 96, 3)
    assert clip.problem is None


@pytest.mark.parametrize("shape", [Fraction(1), Fraction(1216, 1215)])
def test_pixels_that_are_square_or_nearly_so_are_not_mentioned(shape):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_frames(Source.from_bytes(with_pixels(shape)))


# Orientation


def turned(data, matrix):
    """An MP4 file with another display matrix in its track header (ISO/IEC 14496-12, 8.3.2)."""
    place = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (int(v * 65536) for v in matrix)
    return data[:place] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) + data[place + 36 :]


@pytest.mark.parametrize(
    ("matrix", "turn"),
    [
        ((1, 0, 0, 1), lambda f: f),
        ((0, 1, -1, 0), lambda f: np.rot90(f, -1)),
        ((-1, 0, 0, -1), lambda f: np.rot90(f, 2)),
        ((0, -1, 1, 0), np.rot90),
        ((-1, 0, 0, 1), lambda f: f[:, ::-1]),
        ((1, 0, 0, -1), lambda f: f[::-1]),
        ((0, 1, 1, 0), lambda f: f.transpose(1, 0, 2)),
    ],
    ids=["none", "90", "180", "270", "mirrored", "upside down", "transposed"],
)
def test_the_display_matrix_turns_the_frames(matrix, turn):
    plain = clip_bytes()
    source = Source.from_bytes(turned(plain, matrix))
    clip = read_frames(source, Sampling(None))
    assert same(clip.frames, [turn(frame) for frame in decode_all(plain)])
    assert all(frame.flags.c_contiguous for frame in clip.frames)


@pytest.mark.parametrize("matrix", [(0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0)])
def test_the_turn_is_the_one_that_ffmpeg_names(matrix):
    with av.open(io.BytesIO(turned(clip_bytes(count=2), matrix))) as container:
        frame = next(container.decode(video=0))
        expected = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
        assert frame.rotation != 0
        assert np.array_equal(picture(frame, VideoReformatter()), expected)


# What is no video


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (audio_bytes(), "only audio"),
        (b"hello, this is no video at all", "cannot be opened"),
        (b"\x1a\x45\xdf\xa3" + b"junk" * 100, "cannot be opened"),
        (clip_bytes()[:200], "cannot be opened"),
        (b"#EXTM3U\n#EXTINF:1\nfile:///etc/passwd\n", "HLS playlist"),
        (b"ffconcat version 1.0\nfile /etc/hostname\n", "cannot be opened"),
        (pdf_bytes((10, 10)), "PDF"),
        (image_bytes(random_picture()), "PNG"),
    ],
)
def test_what_holds_no_pictures_is_an_error(data, words):
    with pytest.raises(MediaError, match=words):
        read_frames(Source.from_bytes(data))


def test_a_container_without_frames_is_an_error():
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4", options={"movflags": "frag_keyframe+empty_moov"}) as output:
        stream = output.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        output.start_encoding()
    with pytest.raises(MediaError, match=r"no frames|no video|cannot be opened"):
        read_frames(Source.from_bytes(buffer.getvalue()))


def test_a_decoder_that_does_not_open_is_an_error_of_the_file():
    """FFmpeg writes planar pictures into MOV files that do not say so, and cannot open them again."""
    data = clip_bytes("mov", "rawvideo", count=30, pixel_format="yuv420p")
    with pytest.raises(MediaError, match=r"the decoder of the video \(rawvideo\) does not open"):
        read_frames(Source.from_bytes(data))


def test_a_picture_on_a_record_sleeve_is_no_video():
    with av.open(io.BytesIO(audio_bytes())) as sound:
        buffer = io.BytesIO()
        with av.open(buffer, "w", format="mp4") as output:
            copy = output.add_stream_from_template(sound.streams.audio[0])
            cover = output.add_stream("mjpeg", rate=1)
            cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
            cover.disposition = av.stream.Disposition.attached_pic
            for packet in sound.demux(audio=0):
                if packet.size:
                    packet.stream = copy
                    output.mux(packet)
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            output.mux(cover.encode(frame))
            output.mux(cover.encode())
    with pytest.raises(MediaError, match="only audio"):
        read_frames(Source.from_bytes(buffer.getvalue()))


# Limits


def test_the_frame_size_is_checked_before_decoding():
    source = Source.from_bytes(clip_bytes())
    with pytest.raises(LimitError, match="96 x 64, more than 6,143"):
        read_frames(source, limits=Limits(max_image_pixels=6143))


@pytest.mark.parametrize("container", ["mp4", "h264"])
def test_decoding_stops_when_its_time_is_up(container):
    source = Source.from_bytes(clip_bytes(container))
    with pytest.raises(LimitError, match="decoding the video took longer than"):
        read_frames(source, limits=Limits(decode_seconds=1e-9))


def test_the_golden_clip_gives_the_frames_that_pyav_gives(golden_inputs):
    path = golden_inputs / "clip30.mp4"
    everything = decode_all(path.read_bytes())
    clip = read_frames(Source.from_path(path))
    assert same(clip.frames, [everything[i] for i in (0, 4, 8, 12, 16, 20, 24, 29)])


@pytest.fixture
def golden_inputs(request):
    return request.path.parents[1] / "data" / "golden" / "inputs"
