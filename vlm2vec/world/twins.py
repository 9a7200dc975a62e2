"""Hard distractors: the same picture with one thing different, which its caption tells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeVar, cast

import numpy as np

from vlm2vec.world.clips import Clip, is_clear, reverse
from vlm2vec.world.items import Item
from vlm2vec.world.page_words import PlacedWord, place_word
from vlm2vec.world.pages import Page
from vlm2vec.world.places import group_relation, place
from vlm2vec.world.scenes import Pairs, Scene, is_allowed
from vlm2vec.world.vocabulary import ALL_WORDS, COLOURS, DIGITS, FIGURES, SHAPES

__all__ = ["twin"]

AnItem = TypeVar("AnItem", bound=Item)


def twin(item: AnItem, rng: np.random.Generator, *, pairs: Pairs = "seen") -> AnItem:
    """An item that differs in one thing, so that neither fits the other's full caption.

    Scenes are mirrored, lose one of several alike, or have two colours exchanged; clips are reversed, or
    their motions come in another order; pages have another heading, another word or number in the table, or
    another chart.

    Args:
        item: What to change.
        rng: Chooses the change.
        pairs: Which pairs of colour and shape may result.

    Example:
        >>> from vlm2vec.world.clips import draw_clip
        >>> clip = draw_clip(np.random.default_rng(1))
        >>> clip.motions, twin(clip, rng=np.random.default_rng(0)).motions
        (('right',), ('left',))
    """
    others: list[Any]
    if isinstance(item, Clip):
        others = list(_clips(item))
    elif isinstance(item, Page):
        others = list(_pages(item, rng))
    else:
        others = list(_scenes(item, pairs)) or [_recoloured(item, rng, pairs)]
    return cast(AnItem, others[rng.integers(len(others))])


def _clips(clip: Clip) -> Iterator[Clip]:
    backwards = reverse(clip)
    for motions in {backwards.motions: None, clip.motions[::-1]: None}:
        other = replace(clip, motions=motions)
        if motions != clip.motions and is_clear(other):
            yield other


def _scenes(scene: Scene, pairs: Pairs) -> Iterator[Scene]:
    first, *others = scene.groups
    where = group_relation(first, others[0]) if others else place(first[0]) if len(first) == 1 else ""
    if where is not None and ("left" in where or "right" in where):
        yield replace(scene, things=tuple(replace(thing, x=1 - thing.x) for thing in scene.things))
    elif where not in (None, "", "middle"):
        yield replace(scene, things=tuple(replace(thing, y=1 - thing.y) for thing in scene.things))
    many = [group for group in scene.groups if len(group) > 1]
    if many:
        yield replace(scene, things=tuple(thing for thing in scene.things if thing is not many[0][-1]))
    if others:
        exchanged = _exchanged(scene, pairs)
        if exchanged is not None:
            yield exchanged


def _exchanged(scene: Scene, pairs: Pairs) -> Scene | None:
    """The first two groups with each other's colour, if that makes another scene that may be drawn."""
    one, other = (group[0] for group in scene.groups[:2])
    colours = {one.noun: other.colour, other.noun: one.colour}
    things = tuple(replace(thing, colour=colours.get(thing.noun, thing.colour)) for thing in scene.things)
    nouns = [group[0].noun for group in Scene(things, scene.paper).groups]
    if one.colour == other.colour or one.shape == other.shape or len(set(nouns)) < len(scene.groups):
        return None
    if not all(is_allowed(thing.colour, thing.shape, pairs) for thing in things):
        return None
    return replace(scene, things=things)


def _recoloured(scene: Scene, rng: np.random.Generator, pairs: Pairs) -> Scene:
    """The first group in another colour, or as something else if there is none for its shape."""
    first, taken = scene.groups[0], {thing.noun for thing in scene.things}
    free = [
        (colour, shape)
        for shape in SHAPES
        for colour in COLOURS
        if is_allowed(colour, shape, pairs) and f"{colour} {shape}" not in taken
    ]
    choices = [choice for choice in free if choice[1] == first[0].shape] or free
    colour, shape = choices[rng.integers(len(choices))]
    things = (replace(t, colour=colour, shape=shape) if t in first else t for t in scene.things)
    return replace(scene, things=tuple(things))


def _pages(page: Page, rng: np.random.Generator) -> Iterator[Page]:
    taken = {word.text for word in page.words}
    if page.heading is not None:
        yield replace(page, heading=_other(page.heading, page, taken, rng))
    for row, (word, number) in enumerate(page.cells):
        for cells in ((_other(word, page, taken, rng), number), (word, _other(number, page, taken, rng))):
            yield replace(page, cells=(*page.cells[:row], cells, *page.cells[row + 1 :]))
    if page.heading is None and not page.cells:
        colours = [colour for colour in COLOURS if colour != page.colour]
        yield replace(page, colour=colours[rng.integers(len(colours))])
        figures = [figure for figure in FIGURES[:-1] if figure != page.figure]
        yield replace(page, figure=figures[rng.integers(len(figures))])


def _other(word: PlacedWord, page: Page, taken: set[str], rng: np.random.Generator) -> PlacedWord:
    """Another word in its place, or another number in that of a number."""
    words = DIGITS if word.text in DIGITS else [text for text in ALL_WORDS if text not in taken]
    others = [text for text in words if text != word.text]
    text = others[rng.integers(len(others))]
    return place_word(text, page.font, x=word.x, baseline=word.baseline, size=word.size, right=word.right)
