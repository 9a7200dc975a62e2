from dataclasses import replace
from functools import cache

import av
import numpy as np
import pytest
from media_making import audio_bytes, clip_bytes, image_bytes, random_picture

from vlm2vec.errors import InputError, LimitError, MediaError
from vlm2vec.media.container import ClipFile
from vlm2vec.media.frames import sample_frames
from vlm2vec.media.limits import Limits
from vlm2vec.media.sampling import Sampling
from vlm2vec.media.source import Source
from vlm2vec.media.video import ClipShape, clip_shape, read_frames

SETTINGS = [
    Sampling(),
    Sampling(1),
    Sampling(None),
    Sampling(100),
    Sampling(None, fps=3),
    Sampling(4, fps=5),
    Sampling(start=0.5, end=0.9),
    Sampling(start=1.03, end=1.05),
    Sampling(None, end=0.01),
    Sampling(rule="spread"),
    Sampling(7, fps=3, min_frames=4, rule="spread"),
    Sampling(None, fps=5, start=0.3, end=1.7, rule="spread"),
]
HIDDEN = {"auto-alt-ref": "1", "lag-in-frames": "16"}
CLIPS = {
    "mp4": clip_bytes("mp4"),
    "matroska": clip_bytes("matroska"),
    "transport stream": clip_bytes("mpegts"),
    "avi": clip_bytes("avi", "mpeg4", bf="2"),
    "without time stamps": clip_bytes("h264"),
    "hidden frames": clip_bytes("webm", "libvpx", gop=48, **HIDDEN),
    "short": clip_bytes("mp4", count=30),
}


@cache
def animation(kind):
    pictures = [random_picture(96, 64, seed=i) for i in range(30)]
    return image_bytes(pictures[0], kind, save_all=True, append_images=pictures[1:], duration=40)


@pytest.mark.parametrize("sampling", SETTINGS, ids=str)
@pytest.mark.parametrize("name", [*CLIPS, "GIF", "WEBP", "PNG", "AVIF"])
def test_the_shape_is_that_of_the_frames(name, sampling):
    source = Source.from_bytes(CLIPS[name] if name in CLIPS else animation(name))
    read = read_frames(source, sampling)
    assert len(read.times) == len(read.frames)
    timed = ClipShape(len(read.frames), 64, 96, tuple(read.times))
    assert clip_shape(source, sampling, timed=True) == timed
    assert clip_shape(source, sampling) == (timed if sampling.by_clock else replace(timed, times=()))


@pytest.mark.parametrize("num_frames", [1, 8, 100, None])
def test_the_shape_of_a_folder_is_that_of_its_frames(tmp_path, num_frames):
    for i in range(12):
        (tmp_path / f"{i}.png").write_bytes(image_bytes(random_picture(40 + i, 30)))
    source, sampling = Source.from_path(tmp_path), Sampling(num_frames)
    frames = read_frames(source, sampling).frames
    assert clip_shape(source, sampling) == ClipShape(len(frames), 30, 40)


@pytest.mark.parametrize(
    "content",
    [
        tuple(random_picture(40 + i, 30) for i in range(12)),
        np.zeros((12, 30, 40, 3), np.uint8),
        np.zeros((12, 3, 30, 40), np.float32),
    ],
    ids=["pictures", "array", "channels first"],
)
def test_the_shape_of_pictures_is_that_of_their_frames(content):
    for num_frames in (1, 8, 100, None):
        frames = sample_frames(content, Sampling(num_frames)).frames
        assert clip_shape(content, Sampling(num_frames)) == ClipShape(len(frames), 30, 40)


@pytest.mark.parametrize(
    "sampling", [Sampling(5), Sampling(None, fps=2), Sampling(3, start=0.5, end=2)], ids=str
)
def test_pictures_whose_rate_is_known_have_times(tmp_path, sampling):
    for i in range(12):
        (tmp_path / f"{i}.png").write_bytes(image_bytes(random_picture(40, 30, seed=i)))
    folder, array = Source.from_path(tmp_path), np.zeros((12, 30, 40, 3), np.uint8)
    chosen = sampling.choose([i / 4 for i in range(12)], 3.0)
    expected = ClipShape(len(chosen), 30, 40, tuple(i / 4 for i in chosen))
    for content, read in ((folder, read_frames), (array, sample_frames), (tuple(array), sample_frames)):
        assert clip_shape(content, sampling, frame_rate=4) == expected
        assert tuple(read(content, sampling, frame_rate=4).times) == expected.times
    assert clip_shape(array, Sampling(5), timed=True).times == ()


@pytest.mark.parametrize("name", ["mp4", "GIF"])
def test_a_file_has_a_rate_of_its_own(name):
    source = Source.from_bytes(CLIPS[name] if name in CLIPS else animation(name))
    for action in (clip_shape, read_frames):
        with pytest.raises(InputError, match="frame_rate is given for a file"):
            action(source, Sampling(), frame_rate=4)


def test_no_video_is_decoded_and_no_more_packets_are_read_than_needed(monkeypatch):
    packets = []
    real = ClipFile.packets

    def counted(clip):
        for packet in real(clip):
            packets.append(packet)
            yield packet

    monkeypatch.setattr(ClipFile, "packets", counted)
    monkeypatch.setattr(ClipFile, "decode", lambda clip, packet: pytest.fail("decoded"))
    source = Source.from_bytes(CLIPS["mp4"])
    clip_shape(source, Sampling(8))
    assert len(packets) == 8
    clip_shape(source, Sampling(8, fps=5))
    assert len(packets) == 68
    clip_shape(source, Sampling(8), timed=True)
    assert len(packets) == 128


def test_errors_are_those_of_reading():
    for data, error, words in (
        (audio_bytes(), MediaError, "only audio"),
        (b"hello, this is no video at all", MediaError, "cannot be opened"),
        (image_bytes(random_picture()), MediaError, "PNG"),
    ):
        for action in (clip_shape, read_frames):
            with pytest.raises(error, match=words):
                action(Source.from_bytes(data), Sampling())
    clip = Source.from_bytes(CLIPS["mp4"])
    for action in (clip_shape, read_frames):
        with pytest.raises(InputError, match=r"ends at 2\.4 s"):
            action(clip, Sampling(start=3))
        with pytest.raises(LimitError, match="96 x 64, more than 6,143"):
            action(clip, Sampling(), limits=Limits(max_image_pixels=6143))
    for action in (clip_shape, sample_frames):
        with pytest.raises(InputError, match="no times"):
            action((random_picture(),), Sampling(fps=1))
        with pytest.raises(InputError, match="no frames"):
            action((), Sampling())


def test_a_file_without_frames_is_an_error(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w", options={"movflags": "frag_keyframe+empty_moov"}) as output:
        stream = output.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        output.start_encoding()
    for action in (clip_shape, read_frames):
        with pytest.raises(MediaError, match=r"no frames|no video|cannot be opened"):
            action(Source.from_path(path), Sampling())
