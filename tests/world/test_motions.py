"""Clips of several motions."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from vlm2vec.world import describe, draw_clip, full_caption, render_clip
from vlm2vec.world.clips import reverse
from vlm2vec.world.scenes import is_allowed
from vlm2vec.world.vocabulary import DIRECTIONS

CLIPS = [draw_clip(np.random.default_rng(seed), motions=1 + seed % 3) for seed in range(90)]


def _moved(clip, start: float, end: float) -> str:
    before, after = clip.at(start).things[0], clip.at(end).things[0]
    step = np.array([after.x - before.x, after.y - before.y])
    return max(DIRECTIONS, key=lambda name: float(step @ DIRECTIONS[name]))


def test_each_motion_is_made_in_its_turn_and_no_two_in_a_row_are_the_same():
    for clip in CLIPS:
        count = len(clip.motions)
        turns = np.linspace(0, 1, count + 1)
        made = [_moved(clip, *span) for span in pairwise(turns)]
        assert tuple(made) == clip.motions
        assert all(one != other for one, other in pairwise(made))
        for time in np.linspace(0.01, 0.99, 23):
            assert clip.motion_at(time) == made[int(time * count)]


def test_the_mover_stays_inside_and_clear_of_the_bystander():
    for clip in CLIPS:
        for time in np.linspace(0, 1, 40):
            mover, *bystander = clip.at(float(time)).things
            assert min(mover.box(1)) >= -1e-9 and max(mover.box(1)) <= 1 + 1e-9
            for other in bystander:
                distance = max(abs(mover.x - other.x), abs(mover.y - other.y))
                assert distance > (mover.diameter + other.diameter) / 2 - 0.02


def test_all_numbers_of_motions_are_described_in_order():
    for seed, clip in enumerate(CLIPS):
        for text in (full_caption(clip), describe(clip, np.random.default_rng(seed))):
            said = [word.strip(",") for word in text.split() if word.strip(",") in DIRECTIONS]
            assert tuple(said) == clip.motions
    assert ", then " in full_caption(CLIPS[1])


def test_the_reverse_has_the_frames_backwards():
    for clip in CLIPS[:12]:
        forward, backward = render_clip(clip).astype(int), render_clip(reverse(clip)).astype(int)
        assert np.abs(forward - backward[::-1]).mean() < 0.5  # equal but for the rounding of places


def test_frames_can_be_had_for_any_times():
    whole = render_clip(CLIPS[1], frames=9)
    assert np.array_equal(render_clip(CLIPS[1], times=[0.5, 0.625, 1.0]), whole[[4, 5, 8]])


def test_seen_and_unseen_pairs_are_kept_apart():
    for seed in range(40):
        for pairs in ("seen", "unseen"):
            clip = draw_clip(np.random.default_rng(seed), motions=2, pairs=pairs)
            things = [clip.mover, *([clip.bystander] if clip.bystander else [])]
            assert all(is_allowed(thing.colour, thing.shape, pairs) for thing in things)
