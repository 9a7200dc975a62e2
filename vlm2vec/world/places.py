"""Where things are, in words."""

from __future__ import annotations

from collections.abc import Sequence

from vlm2vec.world.shapes import Thing

__all__ = ["group_relation", "place", "relation"]

_CLEARLY = 0.12
"""Two centres this far apart, as a fraction of the side, are plainly beside or above each other."""


def relation(thing: Thing, other: Thing) -> str | None:
    """Where a thing is, seen from another: `left of`, `right of`, `above`, `below`, or `None` if unclear."""
    dx, dy = thing.x - other.x, thing.y - other.y
    if max(abs(dx), abs(dy)) < _CLEARLY or abs(abs(dx) - abs(dy)) < _CLEARLY / 2:
        return None
    if abs(dx) > abs(dy):
        return "left of" if dx < 0 else "right of"
    return "above" if dy < 0 else "below"


def group_relation(group: Sequence[Thing], others: Sequence[Thing]) -> str | None:
    """The relation of each thing in a group to each of the others, or `None` if it is not always the same."""
    relations = {relation(thing, other) for thing in group for other in others}
    return relations.pop() if len(relations) == 1 else None


def place(thing: Thing) -> str:
    """Where in the picture a thing is: `top left`, `middle` and so on."""
    column = "left" if thing.x < 0.4 else "right" if thing.x > 0.6 else ""
    row = "top" if thing.y < 0.4 else "bottom" if thing.y > 0.6 else ""
    return f"{row} {column}".strip() or "middle"
