"""Still pictures: one to three coloured shapes on plain paper."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from vlm2vec.world.shapes import Thing, draw_shape
from vlm2vec.world.vocabulary import COLOURS, PAPER, SHAPES, SIZES

__all__ = ["Scene", "draw_scene", "render_scene", "thing_map"]

SCENE_SIDE = 112
"""Side of a scene at the embedded model's size, in pixels."""

_DIAMETERS = {"small": (0.17, 0.22), "large": (0.34, 0.42)}


@dataclass(frozen=True)
class Scene:
    """What a picture shows.

    Attributes:
        things: The shapes, none overlapping another.
        paper: Background as RGB in 0..255.
    """

    things: tuple[Thing, ...]
    paper: tuple[int, int, int]


def draw_scene(rng: np.random.Generator) -> Scene:
    """A random scene.

    Example:
        >>> scene = draw_scene(np.random.default_rng(0))
        >>> scene == draw_scene(np.random.default_rng(0))
        True
    """
    count = int(rng.integers(1, 4))
    things: list[Thing] = []
    while len(things) < count:
        thing = random_thing(rng)
        if all(is_apart(thing, other) for other in things):
            things.append(thing)
    return Scene(tuple(things), random_paper(rng))


def random_paper(rng: np.random.Generator) -> tuple[int, int, int]:
    """A random background."""
    return PAPER[rng.integers(len(PAPER))]


def random_thing(rng: np.random.Generator) -> Thing:
    """A random shape, wholly inside the picture."""
    size = SIZES[rng.integers(len(SIZES))]
    diameter = float(rng.uniform(*_DIAMETERS[size]))
    x, y = rng.uniform(diameter / 2 + 0.02, 0.98 - diameter / 2, size=2).tolist()
    colour = tuple(COLOURS)[rng.integers(len(COLOURS))]
    return Thing(colour, SHAPES[rng.integers(len(SHAPES))], size, x, y, diameter)


def is_apart(thing: Thing, other: Thing) -> bool:
    """Whether two shapes keep clear of each other, and differ in colour or shape."""
    reach = (thing.diameter + other.diameter) / 2 + 0.02
    clear = max(abs(thing.x - other.x), abs(thing.y - other.y)) > reach
    return clear and thing.noun != other.noun


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
        draw_shape(draw, thing.shape, thing.box(large), COLOURS[thing.colour])
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
