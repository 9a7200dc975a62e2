"""Blurred colours are those that a video file has."""

from __future__ import annotations

import av
import numpy as np
import pytest

from vlm2vec.world import draw_clip, render_clip, write_clip
from vlm2vec.world.video_colours import blur_colours


@pytest.mark.parametrize("seed", range(4))
def test_blurred_frames_are_much_nearer_to_those_of_a_file(seed, tmp_path):
    clip = draw_clip(np.random.default_rng(seed))
    write_clip(clip, tmp_path / "clip.mp4", frames=8)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        decoded = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    drawn = render_clip(clip)
    blurred = blur_colours(drawn)
    assert blurred.shape == drawn.shape and blurred.dtype == np.uint8
    errors = [((frames.astype(int) - decoded) ** 2).mean() for frames in (drawn, blurred)]
    assert errors[1] < errors[0] / 3


def test_each_block_has_one_colour_and_keeps_its_brightness():
    frames = np.random.default_rng(0).integers(90, 166, (2, 8, 6, 3), dtype=np.uint8)  # nothing is clipped
    blurred = blur_colours(frames).astype(float)
    weights = np.array([0.299, 0.587, 0.114])
    assert np.abs(blurred @ weights - frames @ weights).max() < 2.5
    colours = (blurred - (blurred @ weights)[..., None]).reshape(2, 4, 2, 3, 2, 3)
    assert np.abs(colours - colours[:, :, :1, :, :1]).max() < 3  # rounding of eight bits
    assert np.abs(frames.astype(float) - blurred).max() > 20
