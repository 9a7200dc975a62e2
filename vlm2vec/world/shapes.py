"""One coloured shape, as data and as ink."""

from __future__ import annotations

import math
from dataclasses import dataclass

from PIL import ImageDraw

from vlm2vec.world.vocabulary import COLOURS

__all__ = ["Thing", "draw_shape"]


@dataclass(frozen=True)
class Thing:
    """A coloured shape somewhere in a picture.

    Attributes:
        colour: One of `COLOURS`, or one without a name, such as `#705a3c`.
        shape: One of `SHAPES`.
        size: One of `SIZES`.
        x: Centre, as a fraction of the picture's width.
        y: Centre, as a fraction of the picture's height, from the top.
        diameter: Side of the box around it, as a fraction of the picture's side.
    """

    colour: str
    shape: str
    size: str
    x: float
    y: float
    diameter: float

    @property
    def noun(self) -> str:
        """Colour and shape, such as `red circle`; of a colour without a name nothing is said."""
        return f"{self.colour} {self.shape}" if self.colour in COLOURS else self.shape

    @property
    def ink(self) -> tuple[int, int, int] | str:
        """The colour as PIL takes it."""
        return COLOURS.get(self.colour, self.colour)

    def box(self, side: int) -> tuple[float, float, float, float]:
        """Left, top, right and bottom in a picture of `side` pixels."""
        half = self.diameter / 2
        return (
            (self.x - half) * side,
            (self.y - half) * side,
            (self.x + half) * side,
            (self.y + half) * side,
        )


def _polygon(points: list[tuple[float, float]], box: tuple[float, float, float, float]) -> list[float]:
    """Points in the unit square, scaled to a box and flattened as PIL likes them."""
    left, top, right, bottom = box
    return [
        coordinate for x, y in points for coordinate in (left + x * (right - left), top + y * (bottom - top))
    ]


def _star() -> list[tuple[float, float]]:
    angles = [math.pi * (k / 5 - 0.5) for k in range(10)]
    radii = [0.54 if k % 2 == 0 else 0.22 for k in range(10)]
    return [(0.5 + r * math.cos(a), 0.53 + r * math.sin(a)) for r, a in zip(radii, angles, strict=True)]


def _heart() -> list[tuple[float, float]]:
    turns = [2 * math.pi * k / 40 for k in range(40)]
    x = [16 * math.sin(t) ** 3 for t in turns]
    y = [13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t) for t in turns]
    return [(0.5 + a / 34, 0.46 - b / 32) for a, b in zip(x, y, strict=True)]


_POLYGONS = {
    "square": [(0.08, 0.08), (0.92, 0.08), (0.92, 0.92), (0.08, 0.92)],
    "triangle": [(0.5, 0.04), (1.0, 0.94), (0.0, 0.94)],
    "diamond": [(0.5, 0.0), (0.88, 0.5), (0.5, 1.0), (0.12, 0.5)],
    "cross": [
        *((0.34, 0.0), (0.66, 0.0), (0.66, 0.34), (1.0, 0.34), (1.0, 0.66), (0.66, 0.66)),
        *((0.66, 1.0), (0.34, 1.0), (0.34, 0.66), (0.0, 0.66), (0.0, 0.34), (0.34, 0.34)),
    ],
    "star": _star(),
    "heart": _heart(),
}


def draw_shape(
    draw: ImageDraw.ImageDraw,
    shape: str,
    box: tuple[float, float, float, float],
    fill: tuple[int, ...] | int | str,
) -> None:
    """Draw one of `SHAPES` into a box.

    Args:
        draw: Where to draw, any mode.
        shape: Name of the shape.
        box: Left, top, right and bottom, in pixels.
        fill: Colour in the mode of the picture, or its name.
    """
    if shape == "circle":
        draw.ellipse(box, fill=fill)
    elif shape == "ring":
        draw.ellipse(box, outline=fill, width=max(1, round((box[2] - box[0]) * 0.2)))
    else:
        draw.polygon(_polygon(_POLYGONS[shape], box), fill=fill)
