"""Rows of emoji: to train on, each drawing in many variations, and to score with, as they are."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import PIL.Image
from PIL import ImageEnhance

from teach_emoji.drawings import TRAINED, Concept, draw, on_paper

__all__ = ["VariedRows", "drawn", "plain_rows", "vary"]


class VariedRows:
    """Each name with each vendor's drawing, in many variations; a row is the same whenever it is read."""

    def __init__(self, concepts: Sequence[Concept], variations: int = 100) -> None:
        self.pairs = [(concept, vendor) for vendor in TRAINED for concept in concepts]
        self.variations = variations

    def __len__(self) -> int:
        return len(self.pairs) * self.variations

    def __getitem__(self, number: int) -> dict[str, Any]:
        concept, vendor = self.pairs[number % len(self.pairs)]
        picture = vary(drawn(concept.drawings[vendor]), np.random.default_rng(number))
        return {"query": concept.name, "document": picture}


def plain_rows(concepts: Sequence[Concept], vendor: str) -> list[dict[str, Any]]:
    """Each name with its drawing by one vendor, as it is, on white."""
    return [{"query": one.name, "document": on_paper(drawn(one.drawings[vendor]))} for one in concepts]


@cache
def drawn(drawing: str) -> PIL.Image.Image:
    """Each is drawn once and kept: 28 kB."""
    return draw(drawing)


def vary(picture: PIL.Image.Image, rng: np.random.Generator) -> PIL.Image.Image:
    """Another angle, size and place, on another paper; half of them in other colours too, or in grey."""
    side = picture.width
    width, height = (int(size) for size in rng.integers(int(0.7 * side), side, 2, endpoint=True))
    turned = picture.rotate(rng.uniform(-12, 12), PIL.Image.Resampling.BILINEAR).resize((width, height))
    left, top = (int(rng.integers(side - size, endpoint=True)) for size in (width, height))
    placed = PIL.Image.new("RGBA", picture.size)
    placed.paste(turned, (left, top))
    varied = on_paper(placed, tuple(int(part) for part in rng.integers(225, 256, 3)))
    style = rng.random()
    if style < 0.15:
        return varied.convert("L").convert("RGB")
    if style < 0.5:
        for change in (ImageEnhance.Color, ImageEnhance.Brightness, ImageEnhance.Contrast):
            varied = change(varied).enhance(rng.uniform(0.6, 1.4))
    return varied
