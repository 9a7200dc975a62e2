"""The words that the drawn world knows: what can be seen in it, and what can be read in it."""

from __future__ import annotations

__all__ = ["COLOURS", "SHAPES", "SIZES", "DIRECTIONS", "FIGURES", "WORDS", "PAPER", "with_article"]

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 32, 38),
    "orange": (248, 140, 20),
    "yellow": (236, 208, 24),
    "green": (30, 150, 54),
    "blue": (30, 78, 214),
    "purple": (132, 42, 164),
    "pink": (244, 132, 186),
    "black": (28, 28, 30),
}
"""Colours of things and of charts, as RGB in 0..255."""

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring", "heart", "diamond")
"""Shapes of things."""

SIZES = ("small", "large")
"""Sizes of things, small first."""

DIRECTIONS: dict[str, tuple[int, int]] = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
"""Directions of motion, as a step `(x, y)` with y pointing down."""

FIGURES = ("bar chart", "pie chart", "line chart", "table")
"""What a page can show below its title."""

PAPER = ((250, 250, 247), (238, 241, 246), (246, 240, 228), (226, 232, 226), (222, 222, 228))
"""Backgrounds of scenes and clips, as RGB in 0..255."""

WORDS = (
    *("acorn", "amber", "anchor", "apple", "arrow", "autumn", "barley", "basket"),
    *("bridge", "butter", "candle", "canyon", "castle", "cedar", "cloud", "copper"),
    *("coral", "cotton", "crystal", "desert", "dragon", "eagle", "ember", "falcon"),
    *("feather", "forest", "garden", "ginger", "harbor", "hazel", "island", "ivory"),
    *("jacket", "jungle", "kettle", "lantern", "lemon", "maple", "marble", "meadow"),
    *("mirror", "mountain", "nectar", "ocean", "olive", "orchid", "pebble", "pepper"),
    *("planet", "puzzle", "quartz", "rabbit", "ribbon", "river", "rocket", "saddle"),
    *("silver", "spider", "summit", "thunder", "tiger", "tunnel", "velvet", "window"),
)
"""Words of page titles. A title is two different ones."""


def with_article(noun: str) -> str:
    """The noun with its indefinite article.

    Example:
        >>> with_article("orange circle"), with_article("red star")
        ('an orange circle', 'a red star')
    """
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
