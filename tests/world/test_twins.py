"""Twins differ in one thing, and captions tell."""

from __future__ import annotations

import numpy as np
import pytest

from vlm2vec.world import draw_item, full_caption, twin
from vlm2vec.world.items import KINDS, story
from vlm2vec.world.scenes import Scene, is_allowed
from vlm2vec.world.shapes import Thing
from vlm2vec.world.vocabulary import PAPER


def _pairs(kind, count=200, pairs="seen"):
    for seed in range(count):
        rng = np.random.default_rng(seed)
        item = draw_item(kind, rng, pairs=pairs)
        yield item, twin(item, rng, pairs=pairs)


@pytest.mark.parametrize("kind", KINDS)
def test_captions_of_twins_differ(kind):
    for item, other in _pairs(kind):
        assert full_caption(item) != full_caption(other)


@pytest.mark.parametrize("pairs", ["seen", "unseen"])
def test_twins_of_scenes_keep_to_the_pairs(pairs):
    for item, other in _pairs("scene", pairs=pairs):
        for thing in (*item.things, *other.things):
            assert is_allowed(thing.colour, thing.shape, pairs)


def test_a_scene_with_a_relation_has_a_mirrored_twin_of_the_same_story():
    left, right = (
        Thing("red", "circle", "small", 0.2, 0.5, 0.2),
        Thing("blue", "heart", "small", 0.8, 0.5, 0.2),
    )
    scene = Scene((left, right), PAPER[0])
    twins = {full_caption(twin(scene, np.random.default_rng(seed))) for seed in range(20)}
    assert twins == {
        "a small red circle right of a small blue heart",
        "a small blue circle left of a small red heart",
    }


def test_twins_of_clips_move_differently_and_show_the_same():
    for item, other in _pairs("clip"):
        assert item.motions != other.motions and len(item.motions) == len(other.motions)
        assert (item.mover, item.bystander, item.paper) == (other.mover, other.bystander, other.paper)


def test_twins_of_pages_differ_in_one_word_or_in_the_chart():
    for item, other in _pairs("page"):
        words = [[word.text for word in page.words] for page in (item, other)]
        differing = sum(one != two for one, two in zip(*words, strict=True))
        charts = (item.colour != other.colour) + (item.figure != other.figure)
        assert differing + charts == 1 and item.title == other.title
        assert all(word.x + word.width <= word.right + 1e-9 for word in other.words)


def test_items_with_the_same_caption_have_the_same_story():
    for kind in KINDS:
        items = [item for pair in _pairs(kind) for item in pair]
        stories = {}
        for item in items:
            assert stories.setdefault(full_caption(item), story(item)) == story(item)


def test_movers_of_twins_stay_inside_and_clear_of_the_bystander():
    for _, other in _pairs("clip", 300):
        for time in np.linspace(0, 1, 20):
            mover, *bystander = other.at(float(time)).things
            assert min(mover.box(1)) >= -0.01 and max(mover.box(1)) <= 1.01
            for still in bystander:
                distance = max(abs(mover.x - still.x), abs(mover.y - still.y))
                assert distance > (mover.diameter + still.diameter) / 2 - 0.02
