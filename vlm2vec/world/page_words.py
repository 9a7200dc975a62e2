"""Words at their places on a page."""

from __future__ import annotations

from dataclasses import dataclass

from vlm2vec.world.fonts import text_width

__all__ = ["PlacedWord", "place_word"]


@dataclass(frozen=True)
class PlacedWord:
    """One word, or number, that can be read.

    Attributes:
        text: The word.
        x: Its left end, in units of the page.
        baseline: In units from the top.
        size: Height of its letters (em), in units.
        width: In units.
        right: Where the room for it ends.
    """

    text: str
    x: float
    baseline: float
    size: float
    width: float
    right: float


def place_word(
    text: str, font: str, *, x: float, baseline: float, size: float, right: float, shrink: bool = True
) -> PlacedWord:
    """The word at a place, smaller or further to the left if it would not end in time.

    Args:
        text: The word.
        font: One of `FONTS`.
        x: Where it should begin.
        baseline: In units from the top.
        size: Height of the letters, if there is room.
        right: Where it must have ended.
        shrink: Whether a long word is set smaller; otherwise it begins further to the left.
    """
    em = text_width(text, font)
    if shrink:
        size = min(size, (right - x) / em)
    else:
        x = min(x, right - em * size)
    return PlacedWord(text, x, baseline, size, em * size, right)
