"""Hard negatives in words: what a scene nearly shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any, TypeAlias

import numpy as np

from vlm2vec.world.scenes import Scene, is_allowed
from vlm2vec.world.shapes import Thing
from vlm2vec.world.vocabulary import COLOURS, COUNTS, SHAPES, SIZES

__all__ = ["near_misses"]

Group: TypeAlias = tuple[Thing, ...]

_VALUES = {"colour": tuple(COLOURS), "shape": SHAPES, "size": SIZES}


def near_misses(scene: Scene, rng: np.random.Generator) -> list[Scene]:
    """Scenes that differ in one thing, to be told of and not to be drawn: their shapes may overlap.

    One kind has another number, colour, shape or size; or two kinds have these exchanged; or everything is
    mirrored, or elsewhere. Some come out the same, or differ in what a text leaves out: compare what is
    told. There are as many kinds as before, of pairs of colour and shape of training.

    Args:
        scene: What to change.
        rng: Chooses values and the order.

    Example:
        >>> from vlm2vec.world import draw_scene, full_caption
        >>> rng = np.random.default_rng(5)
        >>> others = near_misses(draw_scene(rng, pairs="seen"), rng)
        >>> full_caption(others[0]) != full_caption(others[1])
        True
    """
    groups = scene.groups
    changed = [*_one_changed(groups, rng), *_two_exchanged(groups)]
    others = [replace(scene, things=tuple(thing for group in each for thing in group)) for each in changed]
    others = [other for other in [*others, *_moved(scene, rng)] if _is_of_training(other, kinds=len(groups))]
    return [others[index] for index in rng.permutation(len(others))]


def _one_changed(groups: Sequence[Group], rng: np.random.Generator) -> Iterator[list[Group]]:
    for index, group in enumerate(groups):
        others = [group[:1] * count for count in range(1, len(COUNTS) + 1) if count != len(group)]
        changed = [others[rng.integers(len(others))]]
        for name, values in _VALUES.items():
            choices = [value for value in values if value != getattr(group[0], name)]
            changed.append(_with(group, **{name: choices[rng.integers(len(choices))]}))
        for other in changed:
            yield [*groups[:index], other, *groups[index + 1 :]]


def _two_exchanged(groups: Sequence[Group]) -> Iterator[list[Group]]:
    for (first, one), (second, other) in combinations(enumerate(groups), 2):
        exchanged = {
            name: (
                _with(one, **{name: getattr(other[0], name)}),
                _with(other, **{name: getattr(one[0], name)}),
            )
            for name in _VALUES
        }
        exchanged["number"] = (one[:1] * len(other), other[:1] * len(one))
        for name, pair in exchanged.items():
            again = list(groups)
            again[first], again[second] = pair
            # Two circles with their colours exchanged are the same two, told in another order.
            if name == "size" or _nouns(again) != _nouns(groups):
                yield again


def _moved(scene: Scene, rng: np.random.Generator) -> Iterator[Scene]:
    for mirrored in ({"x": -1, "y": 1}, {"x": 1, "y": -1}):
        yield replace(scene, things=tuple(_mirrored(thing, **mirrored) for thing in scene.things))
    yield replace(scene, things=tuple(replace(thing, x=thing.y, y=thing.x) for thing in scene.things))
    if len(scene.things) == 1:
        x, y = rng.choice((0.2, 0.5, 0.8), size=2).tolist()
        yield replace(scene, things=(replace(scene.things[0], x=x, y=y),))


def _mirrored(thing: Thing, *, x: int, y: int) -> Thing:
    return replace(thing, x=0.5 + x * (thing.x - 0.5), y=0.5 + y * (thing.y - 0.5))


def _with(group: Group, **values: Any) -> Group:
    return tuple(replace(thing, **values) for thing in group)


def _nouns(groups: Sequence[Group]) -> list[tuple[str, int]]:
    return sorted((group[0].noun, len(group)) for group in groups)


def _is_of_training(scene: Scene, *, kinds: int) -> bool:
    """Whether all its kinds have nouns of their own, and none is kept for scoring."""
    nouns = {thing.noun for thing in scene.things}
    return len(nouns) == kinds and all(is_allowed(t.colour, t.shape, "seen") for t in scene.things)
