"""Near misses differ in one thing, and what is said of them is wrong of the scene."""

from __future__ import annotations

import numpy as np
import pytest

from vlm2vec.world import draw_item, full_caption
from vlm2vec.world.captions import describe
from vlm2vec.world.near_misses import near_misses
from vlm2vec.world.places import group_relation, place
from vlm2vec.world.scenes import Scene
from vlm2vec.world.shapes import Thing
from vlm2vec.world.vocabulary import PAPER, UNSEEN_PAIRS

SCENES = [draw_item("scene", np.random.default_rng(seed)) for seed in range(300)]


def _thing(noun, x, y, size="small"):
    return Thing(*noun.split(), size, x, y, 0.2)


def _kinds(scene):
    return sorted((group[0].size, group[0].noun, len(group)) for group in scene.groups)


def _where(scene):
    """All that captions say of places: of one thing where it is, and where kinds are seen from each other."""
    if len(scene.things) == 1:
        return {place(scene.things[0])}
    groups = sorted(scene.groups, key=lambda group: group[0].noun)
    return {
        (one[0].noun, other[0].noun, group_relation(one, other))
        for one in groups
        for other in groups
        if one is not other and group_relation(one, other) is not None
    }


def test_they_have_as_many_kinds_and_no_pair_that_is_kept_for_scoring():
    for seed, scene in enumerate(SCENES):
        for other in near_misses(scene, np.random.default_rng(seed)):
            assert len(other.groups) == len(scene.groups)
            assert not UNSEEN_PAIRS & {(thing.colour, thing.shape) for thing in other.things}


def test_a_description_that_differs_is_wrong():
    """Worded alike, either the kinds differ, or where they are: never only the order of words."""
    differing = 0
    for seed, scene in enumerate(SCENES):
        for other in near_misses(scene, np.random.default_rng(seed)):
            text, others_text = (describe(each, np.random.default_rng(seed)) for each in (scene, other))
            if text == others_text:
                continue
            differing += 1
            if _kinds(other) == _kinds(scene):
                assert _where(other) != _where(scene), (text, others_text)
                assert any(word in others_text for word in ("left", "right", "above", "below", "in the"))
    assert differing > 10 * len(SCENES)


@pytest.mark.parametrize(
    "caption",
    [
        "two small red circles left of a small blue heart",  # number
        "a small blue circle left of a small red heart",  # colours exchanged
        "a small red heart left of a small blue circle",  # shapes exchanged
        "a small red circle right of a small blue heart",  # mirrored
        "a small red circle above a small blue heart",  # turned
        "a large red circle left of a small blue heart",  # size
    ],
)
def test_what_is_changed(caption):
    scene = Scene((_thing("red circle", 0.2, 0.5), _thing("blue heart", 0.8, 0.5)), PAPER[0])
    assert full_caption(scene) == "a small red circle left of a small blue heart"
    rng = np.random.default_rng(0)
    assert caption in {full_caption(other) for _ in range(20) for other in near_misses(scene, rng)}


def test_one_thing_is_also_elsewhere():
    scene = Scene((_thing("red circle", 0.2, 0.5),), PAPER[0])
    rng = np.random.default_rng(0)
    told = {full_caption(other) for _ in range(60) for other in near_misses(scene, rng)}
    assert {
        f"a small red circle in the {where}" for where in ("top left", "bottom", "middle", "right")
    } <= told
