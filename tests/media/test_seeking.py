"""Key packets that are none: what cannot be sought is decoded straight, once, and honest keys are sought."""

import os

import numpy as np
import pytest
from media_making import clip_bytes, decode_all, packet_places

from vlm2vec.media import container, cores
from vlm2vec.media.container import ClipFile
from vlm2vec.media.deadline import Deadline
from vlm2vec.media.limits import Limits
from vlm2vec.media.sampling import Sampling, uniform_indices
from vlm2vec.media.source import Source
from vlm2vec.media.video import read_frames

pytestmark = pytest.mark.filterwarnings("ignore:.*its pixels are 12/11 as wide as high")  # H.263 of this size

H263 = {"size": (176, 144), "count": 70}
# Every 30th packet begins a refresh, which takes as long, and is marked as key.
REFRESHED = {"count": 120, "size": (176, 144), "x264-params": "intra-refresh=1:keyint=30"}
FALSE_KEYS = {
    "avi h263": ("avi", "h263", H263),
    "avi h263 plus": ("avi", "h263p", H263),
    "raw h263": ("h263", "h263", H263),
    **{
        f"{box} intra refresh": (box, "libx264", REFRESHED)
        for box in ("mp4", "matroska", "mov", "mpegts", "flv")
    },
    "avi intra refresh": ("avi", "libx264", {**REFRESHED, "bf": "0"}),
}


def same(frames, expected):
    return len(frames) == len(expected) and all(map(np.array_equal, frames, expected))


@pytest.fixture
def decoded(monkeypatch):
    """The packets that are decoded."""
    packets = []
    real = ClipFile.decode
    monkeypatch.setattr(ClipFile, "decode", lambda clip, packet: packets.append(packet) or real(clip, packet))
    return packets


@pytest.mark.parametrize("core_count", [1, 4])
@pytest.mark.parametrize("name", FALSE_KEYS)
def test_keys_that_need_the_packets_before_them_are_not_sought(name, core_count, monkeypatch):
    container, codec, options = FALSE_KEYS[name]
    data = clip_bytes(container, codec, **options)
    everything = decode_all(data)
    assert len(everything) == options["count"]
    monkeypatch.setattr(cores, "core_count", lambda: core_count)
    for num_frames in (1, 3, 8, None):
        clip = read_frames(Source.from_bytes(data), Sampling(num_frames))
        chosen = uniform_indices(len(everything), num_frames or len(everything))
        assert same(clip.frames, [everything[i] for i in chosen])
        assert clip.problem is None


def test_a_frame_late_in_a_clip_with_false_keys_is_that_of_a_straight_decode():
    data = clip_bytes("mp4", "libx264", **REFRESHED)
    everything = decode_all(data)
    clip = read_frames(Source.from_bytes(data), Sampling(start=4.0, end=4.4))
    assert same(clip.frames, [everything[100 + i] for i in uniform_indices(11, 8)])
    assert clip.problem is None


def test_false_keys_cost_one_straight_decode_more(decoded):
    container, codec, options = FALSE_KEYS["avi h263"]
    read_frames(Source.from_bytes(clip_bytes(container, codec, **options)))
    assert len(decoded) < 2 * options["count"]


@pytest.mark.parametrize(
    ("codec", "options"),
    [
        ("libx264", {}),
        ("libx264", {"x264-params": "open-gop=1:bframes=3:keyint=10:min-keyint=10:scenecut=0"}),
        ("libx264", {"x264-params": "interlaced=1:keyint=10:min-keyint=10:scenecut=0"}),
        ("libx265", {}),
        ("mpeg4", {"bf": "2"}),
        ("libvpx-vp9", {}),
        ("libsvtav1", {}),
        ("ffv1", {}),
    ],
)
def test_honest_keys_are_sought(decoded, codec, options):
    container = "matroska" if codec in ("ffv1", "libvpx-vp9") else "mp4"
    read_frames(Source.from_bytes(clip_bytes(container, codec, count=500, gop=10, size=(64, 64), **options)))
    assert len(decoded) < 8 * 22


def test_damage_spreads_over_keys_that_are_none():
    """In H.263 in AVI every packet is marked as key; what follows a damaged one is damaged all the same."""
    data = bytearray(clip_bytes("avi", "h263", **H263))
    everything = decode_all(bytes(data))
    place, size = packet_places(bytes(data))[38]  # one of a group of 12 from 36 on; 39 would be chosen
    data[place + 100 : place + size] = bytes(size - 100)
    with pytest.warns(match="damaged frames"):
        clip = read_frames(Source.from_bytes(bytes(data)))
    assert len(clip.frames) == 8
    assert all(any(np.array_equal(frame, true) for true in everything) for frame in clip.frames)


KINDS = {
    "mp4": ("mp4", "libx264", {}),
    "matroska": ("matroska", "libx264", {}),
    "mpegts": ("mpegts", "libx264", {}),
    "avi": ("avi", "mpeg4", {}),
    "flv": ("flv", "libx264", {}),
    "vp9": ("webm", "libvpx-vp9", {}),
    "false keys": ("mp4", "libx264", REFRESHED),
}


def clip_file(path):
    return ClipFile(Source.from_path(path), limits=Limits(), deadline=Deadline(60, "reading the video"))


@pytest.fixture
def read_whole(monkeypatch):
    """Files whose packets are all read."""
    monkeypatch.setattr(container, "_KEPT", {})
    files = []
    real = ClipFile._read_index
    monkeypatch.setattr(ClipFile, "_read_index", lambda clip: files.append(clip) or real(clip))
    return files


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_of_a_file_whose_packets_are_kept_are_those_of_one_that_is_read_anew(
    kind, tmp_path, read_whole
):
    box, codec, options = KINDS[kind]
    path = tmp_path / "clip"
    path.write_bytes(clip_bytes(box, codec, **options))
    os.utime(path, (1e9, 1e9))
    pieces = [Sampling(3, start=start, end=start + 0.7) for start in (1.4, 0, 0.7)]
    expected = [read_frames(Source.from_path(path), piece) for piece in pieces]
    assert len(read_whole) == 3
    with clip_file(path) as clip:
        clip.index(keep=True)
    for piece, frames in zip(pieces, expected, strict=True):
        found = read_frames(Source.from_path(path), piece)
        assert same(found.frames, frames.frames)
        assert (found.times, found.problem) == (frames.times, frames.problem)
    assert len(read_whole) == 4


def test_packets_of_a_file_that_has_changed_are_read_anew(tmp_path, read_whole):
    path, data = tmp_path / "clip.mp4", clip_bytes()
    path.write_bytes(data)
    for seconds in (None, 1e9, 1.1e9):  # written just now, so that the time says little; then twice long ago
        if seconds:
            os.utime(path, (seconds, seconds))
        for _ in range(2):
            with clip_file(path) as clip:
                clip.index(keep=True)
    assert len(read_whole) == 2 + 1 + 1


def test_packets_of_few_files_are_kept(tmp_path, read_whole):
    for number in range(6):
        path = tmp_path / f"{number}.mp4"
        path.write_bytes(clip_bytes())
        os.utime(path, (1e9, 1e9))
        with clip_file(path) as clip:
            clip.index(keep=True)
    assert len(container._KEPT) == 4
