"""Scenes with counts, and pairs of colour and shape that are kept for scoring."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from vlm2vec.world import draw_scene, full_caption, render_scene
from vlm2vec.world.places import group_relation, relation
from vlm2vec.world.scenes import Scene, thing_map, with_unnamed_colours
from vlm2vec.world.shapes import Thing
from vlm2vec.world.vocabulary import COLOURS, PAPER, SHAPES, UNSEEN_PAIRS


def _scenes(count: int = 300, **options):
    return [draw_scene(np.random.default_rng(seed), **options) for seed in range(count)]


def test_counted_scenes_have_two_to_six_things_of_up_to_four_kinds():
    scenes = _scenes(counted=True)
    assert {len(scene.things) for scene in scenes} == {2, 3, 4, 5, 6}
    assert {len(scene.groups) for scene in scenes} == {1, 2, 3, 4}
    assert {len(group) for scene in scenes for group in scene.groups} == {1, 2, 3, 4}


def test_things_of_counted_scenes_are_apart_and_kinds_differ():
    for scene in _scenes(counted=True):
        assert len({group[0].noun for group in scene.groups}) == len(scene.groups)
        for one, other in combinations(scene.things, 2):
            distance = max(abs(one.x - other.x), abs(one.y - other.y))
            assert distance > (one.diameter + other.diameter) / 2
        for thing in scene.things:
            assert min(thing.box(1)) >= 0 and max(thing.box(1)) <= 1


def test_as_many_things_are_seen_as_are_said():
    """Connected areas of ink, counted by a slow flood fill, for one kind of things without holes."""
    for scene in _scenes(60, counted=True):
        ink = thing_map(scene, 84) > 0
        assert _areas(ink) == len(scene.things)


def _areas(ink: np.ndarray) -> int:
    left, areas = set(zip(*np.nonzero(ink), strict=True)), 0
    while left:
        areas, edge = areas + 1, [left.pop()]
        while edge:
            y, x = edge.pop()
            for near in ((y, x - 1), (y, x + 1), (y - 1, x), (y + 1, x)):
                if near in left:
                    left.remove(near)
                    edge.append(near)
    return areas


@pytest.mark.parametrize("counted", [False, True])
def test_unseen_pairs_are_drawn_only_when_asked_for(counted):
    def nouns(pairs):
        scenes = _scenes(pairs=pairs, counted=counted)
        return {(thing.colour, thing.shape) for scene in scenes for thing in scene.things}

    assert nouns("unseen") == UNSEEN_PAIRS
    everything = {(colour, shape) for colour in COLOURS for shape in SHAPES}
    assert nouns("seen") == everything - UNSEEN_PAIRS
    assert nouns("any") == everything


def test_each_colour_and_each_shape_is_unseen_once():
    colours, shapes = zip(*UNSEEN_PAIRS, strict=True)
    assert sorted(colours) == sorted(COLOURS) and sorted(shapes) == sorted(SHAPES)


def test_colours_without_a_name_are_far_from_all_and_nearest_to_none_that_is_unseen():
    names = list(COLOURS)
    for seed, scene in enumerate(_scenes(100, counted=True)):
        other = with_unnamed_colours(scene, np.random.default_rng(seed))
        for before, thing in zip(scene.things, other.things, strict=True):
            colour = np.array([int(thing.colour[start : start + 2], 16) for start in (1, 3, 5)])
            distances = np.linalg.norm(np.array(list(COLOURS.values())) - colour, axis=1)
            assert distances.min() > 60 and (names[distances.argmin()], thing.shape) not in UNSEEN_PAIRS
            assert replace(thing, colour=before.colour) == before and thing.noun == thing.shape


def test_colours_without_a_name_are_drawn_and_not_told():
    circle = Thing("#705a3c", "circle", "large", 0.5, 0.5, 0.4)
    scene = Scene((circle,), PAPER[0])
    assert full_caption(scene) == "a large circle in the middle"
    assert render_scene(scene).getpixel((56, 56)) == (0x70, 0x5A, 0x3C)


def test_captions_count_things_that_are_alike():
    def thing(noun, x, y, size="small"):
        return Thing(*noun.split(), size, x, y, 0.2)

    crosses = [thing("blue cross", x, 0.2) for x in (0.2, 0.5, 0.8)]
    star = thing("orange star", 0.5, 0.5)
    assert full_caption(Scene((*crosses, star), PAPER[0])) == (
        "three small blue crosses and a small orange star"  # the outer ones are neither above nor beside
    )
    assert full_caption(Scene((crosses[1], star), PAPER[0])) == "a small blue cross above a small orange star"
    assert full_caption(Scene((*crosses[:2],), PAPER[0])) == "two small blue crosses"


def test_a_group_is_left_of_another_if_all_its_things_are():
    for scene in _scenes(counted=True):
        for group, others in combinations(scene.groups, 2):
            relations = {relation(thing, other) for thing in group for other in others}
            expected = relations.pop() if len(relations) == 1 else None
            assert group_relation(group, others) == expected


def test_counted_scenes_follow_from_the_seed_and_show_their_colours():
    for first, again in zip(_scenes(30, counted=True), _scenes(30, counted=True), strict=True):
        assert first == again
        pixels, ink = np.asarray(render_scene(first)), thing_map(first)
        for number, thing in enumerate(first.things, start=1):
            assert np.array_equal(np.median(pixels[ink == number], axis=0), COLOURS[thing.colour])
