"""Frames that are resized when they are decoded are what resizing all of them afterwards gives."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from media_making import clip_bytes, image_bytes, packet_places, random_picture

from vlm2vec.errors import VLM2VecWarning
from vlm2vec.media.frames import Frames, whole
from vlm2vec.media.pixels import FrameRules, PixelRules
from vlm2vec.media.resize import FrameFit, fit_frames, frame_size
from vlm2vec.media.sampling import Sampling
from vlm2vec.media.source import Source
from vlm2vec.media.video import _fitted, read_frames

RULES = PixelRules(min_pixels=28 * 28)
# So many pixels for all frames that each has fewer the more there are.
SHARED = replace(RULES, frames=FrameRules(28 * 28, 96 * 64, total_pixels_of_files=8 * 28 * 28))


def afterwards(source, sampling, rules):
    return fit_frames(read_frames(source, sampling).frames, rules, of_file=True)


def at_once(source, sampling, rules):
    return read_frames(source, sampling, fit=FrameFit(rules, of_file=True)).frames


@pytest.mark.parametrize("rules", [RULES, SHARED])
@pytest.mark.parametrize("container", ["mp4", "h264"])
def test_frames_of_a_file(container, rules):
    source = Source.from_bytes(clip_bytes(container))
    assert np.array_equal(at_once(source, Sampling(7), rules), afterwards(source, Sampling(7), rules))


@pytest.mark.parametrize("order", ["h264 of two sizes", "the smaller first"])
def test_frames_of_several_sizes_get_that_of_the_first(order):
    parts = [clip_bytes("h264", count=12), clip_bytes("h264", count=12, size=(160, 128))]
    source = Source.from_bytes(b"".join(parts if order == "the smaller first" else parts[::-1]))
    sizes = {frame.shape for frame in read_frames(source, Sampling(None)).frames}
    assert len(sizes) == 2
    found, expected = (way(source, Sampling(6), RULES) for way in (at_once, afterwards))
    assert np.array_equal(found, expected)


def test_frames_of_an_animation():
    pictures = [random_picture(seed=i) for i in range(6)]
    source = Source.from_bytes(image_bytes(pictures[0], "GIF", save_all=True, append_images=pictures[1:]))
    assert np.array_equal(at_once(source, Sampling(4), SHARED), afterwards(source, Sampling(4), SHARED))


def test_fewer_frames_than_promised_get_the_size_of_so_many():
    data = bytearray(clip_bytes(gop=6))
    for start, size in packet_places(bytes(data))[30:]:
        data[start : start + size] = bytes(size)
    source = Source.from_bytes(bytes(data))
    with pytest.warns(VLM2VecWarning, match="damaged"):
        found = at_once(source, Sampling(None, fps=5), SHARED)
    with pytest.warns(VLM2VecWarning, match="damaged"):
        expected = afterwards(source, Sampling(None, fps=5), SHARED)
    assert len(expected) < 12
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("promised", [4, 9])
def test_frames_that_come_in_another_order_are_read_again(promised):
    rng = np.random.default_rng(0)
    given = [
        rng.integers(0, 255, (h, w, 3), np.uint8) for h, w in ((90, 120), (60, 200), (90, 120), (33, 40))
    ]
    passes = []

    def read(fit):
        passes.append(fit)
        made = {i: fit(given[i], promised if len(passes) == 1 else 4) for i in (3, 1, 0, 2)}
        return Frames([made[i] for i in range(4)])

    expected = fit_frames(given, SHARED, of_file=True)
    assert np.array_equal(_fitted(read, FrameFit(SHARED, of_file=True)).frames, expected)
    assert len(passes) == 3
    assert [frame.shape for frame in _fitted(read, None).frames] == [frame.shape for frame in given]
    assert passes[-1] is whole


def test_frames_of_one_size_are_read_once():
    passes = []

    def read(fit):
        passes.append(fit)
        return Frames([fit(np.full((90, 120, 3), i, np.uint8), 5) for i in range(5)])

    found = _fitted(read, FrameFit(SHARED, of_file=True))
    assert len(passes) == 1
    assert found.frames[0].shape[:2] == frame_size(90, 120, SHARED, count=5, of_file=True)


MEMORY = """
import resource, sys
from pathlib import Path
from vlm2vec.media.pixels import PixelRules
from vlm2vec.media.resize import FrameFit
from vlm2vec.media.sampling import Sampling
from vlm2vec.media.source import Source
from vlm2vec.media.video import read_frames

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

rules = PixelRules(max_pixels=28 * 28 * 16)
source = Source.from_path(Path(sys.argv[1]))
read_frames(source, Sampling(2), fit=FrameFit(rules, of_file=True))
before = peak()
frames = read_frames(source, Sampling(48), fit=FrameFit(rules, of_file=True)).frames
print(len(frames), peak() - before)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the peak of memory is asked for otherwise there")
def test_memory_does_not_grow_with_the_frames(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(clip_bytes(count=48, size=(1920, 1080), preset="ultrafast", gop=48))
    told = subprocess.run([sys.executable, "-c", MEMORY, path], check=True, capture_output=True, text=True)
    count, grown = map(int, told.stdout.split())
    assert count == 48
    assert grown < 48 * 1920 * 1080 * 3 / 3  # a third of what they take in full size
