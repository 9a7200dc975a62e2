import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from media_making import clip_bytes, image_bytes, pdf_bytes, random_picture

from vlm2vec.errors import LimitError
from vlm2vec.media.container import ClipFile
from vlm2vec.media.deadline import Cancelled, Deadline, cancellable, raise_if_cancelled
from vlm2vec.media.frames import sample_frames
from vlm2vec.media.image import load_image
from vlm2vec.media.limits import Limits
from vlm2vec.media.pdf import render_page
from vlm2vec.media.pixels import PixelRules
from vlm2vec.media.sampling import Sampling
from vlm2vec.media.source import Source
from vlm2vec.media.video import clip_shape, read_frames


def set_event():
    event = threading.Event()
    event.set()
    return event


def folder_of_frames(folder):
    for i in range(3):
        (folder / f"{i}.png").write_bytes(image_bytes(random_picture(seed=i)))
    return Source.from_path(folder)


def animation():
    return image_bytes(random_picture(), "GIF", save_all=True, append_images=[random_picture(seed=1)])


WORK = {
    "a video": lambda _: read_frames(Source.from_bytes(clip_bytes())),
    "a video without time stamps": lambda _: read_frames(Source.from_bytes(clip_bytes("h264"))),
    "a video's shape": lambda _: clip_shape(Source.from_bytes(clip_bytes()), Sampling()),
    "an animation": lambda _: read_frames(Source.from_bytes(animation())),
    "a folder": lambda folder: read_frames(folder_of_frames(folder)),
    "pictures": lambda _: sample_frames(np.zeros((9, 30, 40, 3), np.uint8)),
    "an image": lambda _: load_image(random_picture()),
    "a page": lambda _: render_page(Source.from_bytes(pdf_bytes((100, 100))), 1, PixelRules()),
}


@pytest.mark.parametrize("name", WORK)
def test_work_that_was_called_off_stops(name, tmp_path):
    with cancellable(set_event()), pytest.raises(Cancelled):
        WORK[name](tmp_path)
    with cancellable(threading.Event()):
        WORK[name](tmp_path)
    WORK[name](tmp_path)


def test_a_video_stops_between_two_packets(monkeypatch):
    event, decoded = threading.Event(), []
    real = ClipFile.decode

    def decode(clip, packet):
        decoded.append(packet)
        if len(decoded) == 5:
            event.set()
        return real(clip, packet)

    monkeypatch.setattr(ClipFile, "decode", decode)
    with cancellable(event), pytest.raises(Cancelled):
        read_frames(Source.from_bytes(clip_bytes()), Sampling(None))
    assert len(decoded) == 5


def test_cancelling_is_no_error_of_an_input():
    assert not issubclass(Cancelled, Exception)


def test_only_the_thread_inside_the_block_stops():
    event = set_event()
    with cancellable(event), ThreadPoolExecutor(1) as pool:
        pool.submit(raise_if_cancelled).result()
        with pytest.raises(Cancelled):
            raise_if_cancelled()


def test_a_block_inside_another_is_stopped_by_the_events_of_both_and_ends():
    outer, inner = threading.Event(), set_event()
    with cancellable(outer):
        with cancellable(inner), pytest.raises(Cancelled):
            Deadline(60, "working").check()
        raise_if_cancelled()
        outer.set()
        with cancellable(threading.Event()), pytest.raises(Cancelled):
            Deadline(60, "working").check()
    raise_if_cancelled()


def test_the_time_limit_is_named():
    with pytest.raises(
        LimitError, match=r"took longer than -1 s of the processor\. Raise Limits.decode_seconds"
    ):
        Deadline(-1, "working").check()


class Clocks:
    """A clock, and a processor's time for each thread, that go on only when they are told to."""

    def __init__(self, monkeypatch):
        self.now, self._spent = 0.0, threading.local()
        monkeypatch.setattr("vlm2vec.media.deadline.time", self)

    def monotonic(self):
        return self.now

    def thread_time(self):
        return getattr(self._spent, "seconds", 0.0)

    def compute(self, seconds):
        self._spent.seconds = self.thread_time() + seconds
        self.now += seconds


def test_a_busy_machine_does_not_refuse_a_sound_clip(monkeypatch):
    class Busy(Clocks):
        def monotonic(self):
            self.now += 0.5
            return self.now

    clock = Busy(monkeypatch)
    limits = Limits(decode_seconds=20)
    assert len(read_frames(Source.from_bytes(clip_bytes()), Sampling(None), limits=limits).frames) == 60
    assert clock.now > 20


def test_what_computes_too_long_stops(monkeypatch):
    clocks = Clocks(monkeypatch)
    deadline = Deadline(2, "working")
    clocks.compute(1.5)
    deadline.check()
    clocks.compute(1)
    with pytest.raises(LimitError, match="longer than 2 s of the processor"):
        deadline.check()


def test_the_threads_of_one_input_count_together(monkeypatch):
    clocks = Clocks(monkeypatch)
    deadline = Deadline(2, "working")

    def work():
        clocks.compute(5)  # on other inputs, before this one
        deadline.check()
        clocks.compute(1.5)
        deadline.check()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result()
    with ThreadPoolExecutor(1) as pool, pytest.raises(LimitError, match="longer than 2 s"):
        pool.submit(work).result()


def test_computing_of_other_threads_does_not_count(monkeypatch):
    clocks = Clocks(monkeypatch)
    deadline = Deadline(2, "working")
    with ThreadPoolExecutor(1) as pool:
        pool.submit(clocks.compute, 100).result()
    deadline.check()


@pytest.mark.parametrize(("seconds", "most"), [(2, 300), (60, 600)])
def test_what_hangs_stops_by_the_clock(monkeypatch, seconds, most):
    clocks = Clocks(monkeypatch)
    deadline = Deadline(seconds, "working")
    for clocks.now in range(0, most + 1, 50):
        deadline.check()
    clocks.now = most + 1
    with pytest.raises(LimitError, match=f"longer than {most} s, most of which it waited"):
        deadline.check()


def test_a_process_that_was_stopped_for_an_hour_has_waited_for_nothing(monkeypatch):
    clocks = Clocks(monkeypatch)
    deadline = Deadline(2, "working")
    clocks.now += 3600
    deadline.check()
    clocks.now += 10
    deadline.check()


def test_ffmpeg_decodes_in_the_thread_that_asks():
    source = Source.from_bytes(clip_bytes())
    with ClipFile(source, limits=Limits(), deadline=Deadline(60, "decoding")) as clip:
        for packet in clip.packets():
            clip.decode(packet)
        assert clip.stream.codec_context.thread_count == 1
