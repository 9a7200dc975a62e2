import threading
from contextlib import ExitStack

import numpy as np
import pytest
from media_making import clip_bytes, decode_all, packet_places

from vlm2vec.errors import LimitError, VLM2VecWarning
from vlm2vec.media import cores, seeking
from vlm2vec.media.container import ClipFile
from vlm2vec.media.cores import core_count, share_of_cores
from vlm2vec.media.deadline import Cancelled, Deadline, cancellable
from vlm2vec.media.limits import Limits
from vlm2vec.media.sampling import Sampling, uniform_indices
from vlm2vec.media.source import Source
from vlm2vec.media.video import read_frames


def test_whoever_reads_alone_has_all_cores_and_many_have_one_each(monkeypatch):
    monkeypatch.setattr(cores, "core_count", lambda: 4)
    with ExitStack() as readers:
        shares = [readers.enter_context(share_of_cores()) for _ in range(6)]
    assert shares == [4, 2, 1, 1, 1, 1]


def test_a_share_is_given_back_whatever_happens():
    with pytest.raises(KeyError), share_of_cores():
        raise KeyError
    with share_of_cores() as share:
        assert share == core_count()


@pytest.fixture
def four_threads(monkeypatch):
    """Every clip is read by four threads, however short."""
    monkeypatch.setattr(cores, "core_count", lambda: 4)
    monkeypatch.setattr(seeking, "_PACKETS_PER_THREAD", 1)


@pytest.mark.parametrize("container", ["mp4", "matroska", "mpegts", "avi"])
@pytest.mark.parametrize("num_frames", [2, 8, None])
def test_side_by_side_gives_what_one_thread_gives(four_threads, container, num_frames):
    codec = "mpeg4" if container == "avi" else "libx264"
    data = clip_bytes(container, codec, gop=6)
    everything = decode_all(data)
    chosen = uniform_indices(60, num_frames or 60)
    clip = read_frames(Source.from_bytes(data), Sampling(num_frames))
    assert all(np.array_equal(frame, everything[i]) for frame, i in zip(clip.frames, chosen, strict=True))


def test_damage_is_found_side_by_side(four_threads):
    data = bytearray(clip_bytes("mp4", gop=6, muxer={"movflags": "faststart"}))
    place, size = packet_places(bytes(data))[20]
    data[place : place + size] = np.random.default_rng(1).bytes(size)
    source = Source.from_bytes(bytes(data))
    with pytest.warns(VLM2VecWarning, match="damaged frames: at least"):
        clip = read_frames(source, Sampling(30))
    assert len(clip.frames) == 30


def test_what_goes_wrong_in_a_thread_is_raised(four_threads, monkeypatch):
    def decode(clip, packet):
        raise LimitError("too slow")

    monkeypatch.setattr(ClipFile, "decode", decode)
    with pytest.raises(LimitError, match="too slow"):
        read_frames(Source.from_bytes(clip_bytes("mp4", gop=6)))


def test_calling_off_reaches_the_threads_and_leaves_none(four_threads, monkeypatch):
    event, real, before = threading.Event(), ClipFile.decode, threading.enumerate()
    monkeypatch.setattr(ClipFile, "decode", lambda clip, packet: event.set() or real(clip, packet))
    with cancellable(event), pytest.raises(Cancelled):
        read_frames(Source.from_bytes(clip_bytes("mp4", gop=6)))
    assert threading.enumerate() == before


def test_large_frames_are_not_decoded_side_by_side(four_threads, monkeypatch):
    """Each decoder keeps frames of its own."""
    opened, again = [], ClipFile.again
    monkeypatch.setattr(ClipFile, "again", lambda clip: opened.append(clip) or again(clip))
    source = Source.from_bytes(clip_bytes("mp4", gop=6))
    read_frames(source, Sampling(2))
    assert len(opened) == 1
    opened.clear()
    with ClipFile(source, limits=Limits(), deadline=Deadline(60, "reading")) as clip:
        pixels = clip.stream.codec_context.width * clip.stream.codec_context.height
    monkeypatch.setattr(seeking, "_PIXELS_AT_ONCE", 2 * pixels - 1)
    read_frames(source, Sampling(2))
    assert not opened
