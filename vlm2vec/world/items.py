"""Anything drawn: a scene, a clip or a page, as rich as the world gets."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Literal, TypeAlias

import numpy as np

from vlm2vec.world.clips import Clip, draw_clip
from vlm2vec.world.pages import Page, draw_page
from vlm2vec.world.places import place
from vlm2vec.world.scenes import Pairs, Scene, draw_scene

__all__ = ["KINDS", "Item", "Kind", "any_clip", "any_page", "any_scene", "draw_item", "story"]

Item: TypeAlias = Scene | Clip | Page

Kind: TypeAlias = Literal["scene", "clip", "page"]

KINDS: tuple[Kind, ...] = ("scene", "clip", "page")
"""What can be drawn."""

_COUNTED, _WITH_TEXTS = 0.55, 0.75
"""Shares of the scenes with counts and of the pages with more to read than a title."""

_MOTIONS = (0.4, 0.88)
"""Shares of the clips with one motion, and with one or two; the others have three."""


def draw_item(kind: Kind, rng: np.random.Generator, *, pairs: Pairs = "seen") -> Item:
    """A random scene, clip or page of all sorts there are: what is trained on and scored.

    Args:
        kind: One of `KINDS`.
        rng: Decides everything.
        pairs: Which pairs of colour and shape may be in it; by default those of training.

    Example:
        >>> from vlm2vec.world.captions import full_caption
        >>> print(full_caption(draw_item("clip", np.random.default_rng(0))))
        a ... moving ..., then ...
    """
    if kind == "scene":
        return any_scene(rng, pairs=pairs)
    return any_clip(rng, pairs=pairs) if kind == "clip" else any_page(rng)


def any_scene(rng: np.random.Generator, *, pairs: Pairs = "seen") -> Scene:
    """A random scene, with counts or without."""
    return draw_scene(rng, pairs=pairs, counted=bool(rng.random() < _COUNTED))


def any_clip(rng: np.random.Generator, *, pairs: Pairs = "seen") -> Clip:
    """A random clip of one to three motions."""
    motions = int(np.searchsorted(_MOTIONS, rng.random(), side="right")) + 1
    return draw_clip(rng, pairs=pairs, motions=motions)


def any_page(rng: np.random.Generator) -> Page:
    """A random page, with more to read than a title or without."""
    return draw_page(rng, texts=bool(rng.random() < _WITH_TEXTS))


def story(item: Item) -> Hashable:
    """What is in an item, without how its parts are arranged.

    Of two items with different stories, neither fits the other's full caption.
    """
    if isinstance(item, Scene):
        groups = sorted((group[0].noun, group[0].size, len(group)) for group in item.groups)
        return tuple(groups), place(item.things[0]) if len(item.things) == 1 else None
    if isinstance(item, Clip):
        return item.mover.noun, item.mover.size, item.motions
    heading = None if item.heading is None else item.heading.text
    return item.title_text, heading, item.figure, item.colour, item.table_text if item.cells else None
