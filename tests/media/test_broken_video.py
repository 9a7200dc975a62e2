"""Clips that are damaged: only what is broken is lost, and it is said."""

import io
import struct
import threading
import time
import warnings
from types import SimpleNamespace

import av
import numpy as np
import pytest
from media_making import clip_bytes, decode_all, packet_places

from vlm2vec.errors import LimitError, MediaError, VLM2VecWarning
from vlm2vec.media.container import ClipFile, _clock, _Nameless
from vlm2vec.media.deadline import Cancelled, Deadline, cancellable
from vlm2vec.media.limits import Limits
from vlm2vec.media.sampling import Sampling
from vlm2vec.media.source import Source
from vlm2vec.media.video import read_frames

AT_FRONT = {"movflags": "faststart"}
GOP = 12


def make(container):
    codec = "mpeg4" if container == "avi" else "libx264"
    return clip_bytes(container, codec, gop=GOP, muxer=AT_FRONT if container == "mp4" else None)


def damaged(data, packet):
    """The file with two thirds of a packet overwritten."""
    place, size = packet_places(data)[packet]
    broken = bytearray(data)
    broken[place + size // 3 : place + size] = np.random.default_rng(1).bytes(size - size // 3)
    return bytes(broken)


def positions(frames, everything):
    """Which frames of the intact clip these are; -1 for one that it does not have."""
    known = {frame.tobytes(): i for i, frame in enumerate(everything)}
    return [known.get(frame.tobytes(), -1) for frame in frames]


@pytest.mark.parametrize("container", ["mp4", "matroska", "avi"])
def test_a_damaged_middle_loses_only_the_rest_of_its_group(container):
    data = make(container)
    everything = decode_all(data)
    with pytest.warns(VLM2VecWarning, match="damaged frames: at least"):
        clip = read_frames(Source.from_bytes(damaged(data, 20)), Sampling(None))
    found = positions(clip.frames, everything)
    lost = set(range(60)) - set(found)
    assert -1 not in found
    assert found == sorted(found)
    assert lost
    assert lost <= set(range(GOP, 2 * GOP))
    assert clip.problem is not None


@pytest.mark.parametrize("container", ["mp4", "matroska", "avi"])
def test_damage_that_no_chosen_frame_depends_on_is_not_mentioned(container):
    data = make(container)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clip = read_frames(Source.from_bytes(damaged(data, 20)), Sampling(2))
    assert positions(clip.frames, decode_all(data)) == [0, 59]
    assert clip.problem is None


def test_damaged_frames_are_replaced_by_others_of_the_same_number():
    data = make("mp4")
    with pytest.warns(VLM2VecWarning):
        clip = read_frames(Source.from_bytes(damaged(data, 12)), Sampling(12))
    found = positions(clip.frames, decode_all(data))
    assert len(found) == 12
    assert -1 not in found
    assert not set(found) & set(range(GOP, 2 * GOP))


@pytest.mark.parametrize("rule", ["clock", "spread"])
def test_damage_does_not_move_the_times_of_the_frames_behind_it(rule):
    data = make("mp4")
    with pytest.warns(VLM2VecWarning):
        clip = read_frames(Source.from_bytes(damaged(data, 12)), Sampling(None, fps=5, rule=rule))
    found = positions(clip.frames, decode_all(data))
    assert -1 not in found
    assert max(found) > 2 * GOP
    assert len(found) == 12 or rule == "clock"
    assert clip.times == pytest.approx([i / 25 for i in found])


@pytest.mark.parametrize("container", ["mp4", "matroska"])
def test_a_cut_off_file_gives_what_is_there_and_says_so(container):
    data = make(container)
    cut = Source.from_bytes(data[: int(len(data) * 0.7)])
    with pytest.warns(VLM2VecWarning, match="cut off"):
        clip = read_frames(cut)
    found = positions(clip.frames, decode_all(data))
    assert -1 not in found
    assert len(found) == 8
    assert found[0] == 0
    assert 30 < found[-1] < 50
    assert "cut off" in clip.problem


@pytest.mark.parametrize("container", ["mpegts", "avi", "h264"])
def test_a_cut_off_stream_gives_what_is_there(container):
    data = clip_bytes(container, "mpeg4" if container == "avi" else "libx264", gop=GOP)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VLM2VecWarning)
        clip = read_frames(Source.from_bytes(data[: int(len(data) * 0.7)]))
    found = positions(clip.frames, decode_all(data))
    assert -1 not in found
    assert len(found) == 8
    assert found[-1] > 20


def test_a_transport_stream_cut_from_a_broadcast_starts_at_its_first_key_frame():
    data = clip_bytes("mpegts", gop=20)
    part = data[188 * (len(data) // 188 // 4) :]
    expected = decode_all(part)
    clip = read_frames(Source.from_bytes(part), Sampling(None))
    assert len(clip.frames) == len(expected) < 60
    assert all(map(np.array_equal, clip.frames, expected))
    assert clip.times[0] == 0
    assert clip.problem is None


def test_two_transport_streams_in_one_file_are_read_one_after_the_other():
    data = clip_bytes("mpegts", count=30) + clip_bytes("mpegts", count=40)
    expected = decode_all(data)
    clip = read_frames(Source.from_bytes(data), Sampling(None))
    assert len(clip.frames) == 70
    assert all(map(np.array_equal, clip.frames, expected))


def test_a_clip_of_which_nothing_is_left_is_an_error():
    data = make("mp4")
    for packet in range(60):
        place, size = packet_places(data)[packet]
        data = data[:place] + bytes(size) + data[place + size :]
    with pytest.raises(MediaError, match="decoded"):
        read_frames(Source.from_bytes(data))


@pytest.mark.parametrize("seed", range(12))
def test_random_damage_is_survived(seed):
    """Whatever happens to a file, its frames are read or an error of this package says why not."""
    generator = np.random.default_rng(seed)
    container = ["mp4", "matroska", "mpegts", "avi", "webm", "flv"][seed % 6]
    data = bytearray(clip_bytes(container, "libvpx" if container == "webm" else "libx264", count=30))
    for _ in range(20):
        data[generator.integers(len(data))] = generator.integers(256)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            clip = read_frames(Source.from_bytes(bytes(data)))
        except MediaError as error:
            assert error.cause
        else:
            assert 1 <= len(clip.frames) <= 8


@pytest.mark.parametrize(
    ("container", "stamps"),
    [
        ("matroska", [3 * i * i // 4 for i in range(70)]),  # of the first ones, some are equal
        ("avi", [10_000 + 40 * i for i in range(70)]),
    ],
)
def test_a_counted_clip_with_pauses_is_not_cut_off(container, stamps):
    data = clip_bytes(container, count=70, stamps=stamps)
    assert read_frames(Source.from_bytes(data)).problem is None


@pytest.mark.parametrize("place", [10, 2**40, 2**62])
def test_places_behind_the_end_are_the_end_in_memory_and_on_a_disk(tmp_path, place):
    """A damaged file may lead there, and was read from memory and not from the disk."""
    (tmp_path / "clip").write_bytes(b"12345")
    with (tmp_path / "clip").open("rb") as file:
        for each in (file, io.BytesIO(b"12345")):
            nameless = _Nameless(each, Deadline(60, "reading"))
            assert nameless.seek(place) == 5
            assert nameless.read(3) == b""
            assert nameless.seek(2) == 2
            assert nameless.read(3) == b"345"


def test_a_file_that_ffmpeg_reads_too_long_ends():
    file = _Nameless(io.BytesIO(b"12345"), Deadline(0.01, "reading"))
    assert file.read(2) == b"12"
    end = time.thread_time() + 0.02
    while time.thread_time() < end:
        pass
    with pytest.raises(LimitError, match=r"reading took longer than 0\.01 s"):
        file.read(2)
    assert file.read(2) == b""  # which FFmpeg may ask, and would drop a second error


def test_a_clip_that_is_called_off_while_ffmpeg_opens_it_is_not_called_damaged(monkeypatch):
    stop = threading.Event()
    opened = _Nameless.read

    def read(file, size):
        stop.set()
        return opened(file, size)

    monkeypatch.setattr(_Nameless, "read", read)
    with cancellable(stop), pytest.raises(Cancelled):
        read_frames(Source.from_bytes(clip_bytes()))


def test_a_duration_of_very_many_digits_is_a_number():
    assert _clock("00:01:02.5") == 62.5
    assert _clock("9" * 400 + ":00:00") == float("inf")


@pytest.mark.parametrize("name", [b"LIST", b"strf"])
def test_what_an_avi_only_claims_to_tell_of_itself_takes_no_memory(name, monkeypatch):
    data = bytearray(clip_bytes("avi", "mpeg4"))
    place = data.index(b"INFO") - 8 if name == b"LIST" else data.index(name)
    struct.pack_into("<I", data, place + 4, 2**31 - 1)
    monkeypatch.setattr(av, "open", None)
    with pytest.raises(MediaError, match="tells 2,147,483,647 bytes of itself, in a file of"):
        read_frames(Source.from_bytes(bytes(data)))


def test_an_avi_that_is_cut_off_in_its_header_is_no_video():
    data = clip_bytes("avi", "mpeg4")
    for length in range(16, data.index(b"movi"), 7):
        with pytest.raises(MediaError):
            read_frames(Source.from_bytes(data[:length]))


def test_a_read_is_no_longer_than_the_file(tmp_path):
    path = tmp_path / "clip"
    path.write_bytes(b"abc")
    with path.open("rb") as file:
        asked = []
        file_of_all = SimpleNamespace(
            tell=file.tell, seek=file.seek, read=lambda n: asked.append(n) or file.read(n)
        )
        assert _Nameless(file_of_all, Deadline(60, "reading")).read(2**40) == b"abc"
        assert asked == [3]


def test_a_stream_that_is_found_on_the_way_ends_no_clip():
    """FLV files have no list of them, and at the end PyAV looks for it among those that it knew."""
    with ClipFile(
        Source.from_bytes(clip_bytes(count=9)), limits=Limits(), deadline=Deadline(60, "reading")
    ) as clip:
        opened = clip.container

        def demux(stream):
            yield from opened.demux(stream)
            raise IndexError("list index out of range")

        clip.container = SimpleNamespace(demux=demux, close=opened.close)
        assert len(list(clip.packets())) == 9
