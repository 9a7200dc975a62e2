"""The fonts of typeset pages: DejaVu in five styles, cut down to printable ASCII."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from PIL import ImageFont

__all__ = ["FONTS", "text_width"]

_NAMES = ("DejaVuSans", "DejaVuSerif", "DejaVuSansMono", "DejaVuSans-Bold", "DejaVuSerif-Italic")

FONTS = {name: Path(__file__).with_name(f"{name}.ttf") for name in _NAMES}
"""Name of each font and its TrueType file."""


@cache
def text_width(text: str, font: str) -> float:
    """Width of a line of text, in multiples of the font's size.

    Example:
        >>> round(text_width("ab", "DejaVuSansMono"), 2)
        1.2
    """
    return _at_size_100(font).getlength(text) / 100


@cache
def _at_size_100(font: str) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(FONTS[font], 100)
