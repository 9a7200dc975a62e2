"""Still pictures: coloured shapes on plain paper."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
from PIL import Image, ImageDraw

from vlm2vec.world.shapes import Thing, draw_shape
from vlm2vec.world.vocabulary import COLOURS, COUNTS, PAPER, SHAPES, SIZES, UNSEEN_PAIRS

__all__ = ["Pairs", "Scene", "draw_scene", "render_scene", "thing_map", "with_unnamed_colours"]

SCENE_SIDE = 112
"""Side of a scene at the embedded model's size, in pixels."""

Pairs: TypeAlias = Literal["any", "seen", "unseen"]
"""Which pairs of colour and shape may be drawn: all, those of training, or `UNSEEN_PAIRS`."""

_DIAMETERS = {"small": (0.17, 0.22), "large": (0.34, 0.42)}
_MAX_KINDS, _MAX_THINGS, _CROWDED = 4, 6, 4
_GAP = 0.02
_FAR = 60
"""Of two colours: the least distance, in RGB, of one without a name to all others."""


@dataclass(frozen=True)
class Scene:
    """What a picture shows.

    Attributes:
        things: The shapes, none overlapping another.
        paper: Background as RGB in 0..255.
    """

    things: tuple[Thing, ...]
    paper: tuple[int, int, int]

    @property
    def groups(self) -> tuple[tuple[Thing, ...], ...]:
        """Things of the same size, colour and shape together, in the order of their first."""
        groups: dict[tuple[str, str], list[Thing]] = {}
        for thing in self.things:
            groups.setdefault((thing.size, thing.noun), []).append(thing)
        return tuple(map(tuple, groups.values()))


def draw_scene(rng: np.random.Generator, *, pairs: Pairs = "any", counted: bool = False) -> Scene:
    """A random scene of one to three things, no two of the same colour and shape.

    Args:
        rng: Decides everything.
        pairs: Which pairs of colour and shape may be in it.
        counted: Two to six things instead, of up to four kinds, with up to four things of a kind.

    Example:
        >>> scene = draw_scene(np.random.default_rng(0))
        >>> scene == draw_scene(np.random.default_rng(0))
        True
        >>> [len(group) for group in draw_scene(np.random.default_rng(3), counted=True).groups]
        [1, 2]
    """
    if counted:
        things = None
        while things is None:  # until they find room
            things = _groups(rng, pairs)
        return Scene(tuple(things), random_paper(rng))
    count = int(rng.integers(1, 4))
    things = []
    while len(things) < count:
        thing = random_thing(rng, pairs)
        if all(is_apart(thing, other) for other in things):
            things.append(thing)
    return Scene(tuple(things), random_paper(rng))


def with_unnamed_colours(scene: Scene, rng: np.random.Generator) -> Scene:
    """The scene with each thing in a colour of its own that has no name.

    Whoever has seen shapes in many colours knows them in one they were never seen in. Of all colours with a
    name, the one next to a thing's is never that of `UNSEEN_PAIRS`, so that these stay unseen.
    Things of one shape and size are one kind, whatever their colours.

    Example:
        >>> rng = np.random.default_rng(1)
        >>> [thing.noun for thing in with_unnamed_colours(draw_scene(rng), rng).things]
        ['triangle', 'heart']
    """
    things = (replace(thing, colour=_unnamed_colour(thing.shape, rng)) for thing in scene.things)
    return replace(scene, things=tuple(things))


def _unnamed_colour(shape: str, rng: np.random.Generator) -> str:
    names, taken = tuple(COLOURS), np.array([*COLOURS.values(), *PAPER])
    while True:
        colour = rng.integers(256, size=3)
        distances = np.linalg.norm(taken - colour, axis=1)
        nearest = names[distances[: len(names)].argmin()]
        if distances.min() > _FAR and (nearest, shape) not in UNSEEN_PAIRS:
            return "#{:02x}{:02x}{:02x}".format(*colour)


def random_paper(rng: np.random.Generator) -> tuple[int, int, int]:
    """A random background."""
    return PAPER[rng.integers(len(PAPER))]


def random_thing(rng: np.random.Generator, pairs: Pairs = "any", *, sizes: tuple[str, ...] = SIZES) -> Thing:
    """A random shape, wholly inside the picture."""
    size = sizes[rng.integers(len(sizes))]
    diameter = float(rng.uniform(*_DIAMETERS[size]))
    x, y = _random_place(rng, diameter)
    while True:
        colour = tuple(COLOURS)[rng.integers(len(COLOURS))]
        shape = SHAPES[rng.integers(len(SHAPES))]
        if is_allowed(colour, shape, pairs):
            return Thing(colour, shape, size, x, y, diameter)


def is_allowed(colour: str, shape: str, pairs: Pairs) -> bool:
    """Whether things of this colour and shape may be drawn."""
    return pairs == "any" or ((colour, shape) in UNSEEN_PAIRS) == (pairs == "unseen")


def is_apart(thing: Thing, other: Thing) -> bool:
    """Whether two shapes keep clear of each other, and differ in colour or shape."""
    return _is_clear(thing, other) and thing.noun != other.noun


def _is_clear(thing: Thing, other: Thing) -> bool:
    reach = (thing.diameter + other.diameter) / 2 + _GAP
    return max(abs(thing.x - other.x), abs(thing.y - other.y)) > reach


def _random_place(rng: np.random.Generator, diameter: float) -> tuple[float, float]:
    x, y = rng.uniform(diameter / 2 + _GAP, 1 - _GAP - diameter / 2, size=2).tolist()
    return x, y


def _groups(rng: np.random.Generator, pairs: Pairs) -> list[Thing] | None:
    """Some things of some kinds, or `None` if they find no room."""
    kinds = int(rng.integers(1, _MAX_KINDS + 1))
    # Every second kind is a single thing: many kinds and many of each would not fit.
    counts = np.where(rng.random(kinds) < 0.5, 1, rng.integers(2, len(COUNTS) + 1, size=kinds))
    if not 2 <= counts.sum() <= _MAX_THINGS:
        return None
    things: list[Thing] = []
    for count in counts:
        single = count == 1 and counts.sum() < _CROWDED
        first = random_thing(rng, pairs, sizes=SIZES if single else SIZES[:1])
        if any(thing.noun == first.noun for thing in things):
            return None
        for _ in range(count):
            placed = _with_room(first, things, rng)
            if placed is None:
                return None
            things.append(placed)
    return things


def _with_room(thing: Thing, others: list[Thing], rng: np.random.Generator) -> Thing | None:
    """The thing somewhere clear of the others, or `None` if a few tries find no such place."""
    for _ in range(20):
        x, y = _random_place(rng, thing.diameter)
        placed = replace(thing, x=x, y=y)
        if all(_is_clear(placed, other) for other in others):
            return placed
    return None


def render_scene(scene: Scene, side: int = SCENE_SIDE, *, oversampling: int = 2) -> Image.Image:
    """The picture of a scene.

    Args:
        scene: What to show.
        side: Width and height, in pixels.
        oversampling: Drawn this much larger, then averaged down, so that edges are smooth.

    Returns:
        An RGB image of `side` by `side` pixels.
    """
    large = side * oversampling
    image = Image.new("RGB", (large, large), scene.paper)
    draw = ImageDraw.Draw(image)
    for thing in scene.things:
        draw_shape(draw, thing.shape, thing.box(large), thing.ink)
    return image if oversampling == 1 else image.reduce(oversampling)


def thing_map(scene: Scene, side: int = SCENE_SIDE) -> np.ndarray:
    """Which thing each pixel belongs to.

    Returns:
        `(side, side)` uint8: 0 is paper, `k + 1` the thing `scene.things[k]`.
    """
    image = Image.new("L", (side, side), 0)
    draw = ImageDraw.Draw(image)
    for number, thing in enumerate(scene.things, start=1):
        draw_shape(draw, thing.shape, thing.box(side), number)
    return np.asarray(image)
