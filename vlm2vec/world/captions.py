"""What can truthfully be said of a scene, a clip or a page: queries, and captions to learn from."""

from __future__ import annotations

import numpy as np

from vlm2vec.world.clips import Clip
from vlm2vec.world.pages import Page
from vlm2vec.world.scenes import Scene
from vlm2vec.world.shapes import Thing
from vlm2vec.world.vocabulary import with_article

__all__ = ["describe", "full_caption"]

_CLEARLY = 0.12
"""Two centres this far apart, as a fraction of the side, are plainly beside or above each other."""

_SCENE_OPENINGS = ("", "", "", "a picture of ", "an image with ")
_CLIP_OPENINGS = ("", "", "", "a clip of ", "a video of ")
_MOVING = ("moving {}", "moving {}", "going {}", "moving to the {}")


def full_caption(item: Scene | Clip | Page) -> str:
    """Everything there is to say, in one fixed form.

    Example:
        >>> from vlm2vec.world.scenes import draw_scene
        >>> full_caption(draw_scene(np.random.default_rng(5)))
        'a large black circle right of a small green square and a small pink cross'
    """
    if isinstance(item, Scene):
        return _scene(item.things, sized=True)
    if isinstance(item, Clip):
        return _clip(item, sized=True, moving="moving {}")
    return f"a page titled {item.title_text} with {with_article(f'{item.colour} {item.figure}')}"


def describe(item: Scene | Clip | Page, rng: np.random.Generator) -> str:
    """One of many ways to say what is there, sometimes leaving something out."""
    if isinstance(item, Scene):
        things = tuple(item.things[index] for index in rng.permutation(len(item.things)))
        opening = _SCENE_OPENINGS[rng.integers(len(_SCENE_OPENINGS))]
        return opening + _scene(things, sized=bool(rng.random() < 0.6), related=bool(rng.random() < 0.75))
    if isinstance(item, Clip):
        opening = _CLIP_OPENINGS[rng.integers(len(_CLIP_OPENINGS))]
        moving = _MOVING[rng.integers(len(_MOVING))]
        if item.direction in {"up", "down"}:
            moving = moving.replace("to the ", "")
        shown = bool(rng.random() < 0.8)
        return opening + _clip(item, sized=bool(rng.random() < 0.5), moving=moving, bystander=shown)
    return _page(item, int(rng.integers(7)))


def _noun(thing: Thing, *, sized: bool) -> str:
    return with_article(f"{thing.size} {thing.noun}" if sized else thing.noun)


def relation(thing: Thing, other: Thing) -> str | None:
    """Where a thing is, seen from another: `left of`, `right of`, `above`, `below`, or `None` if unclear."""
    dx, dy = thing.x - other.x, thing.y - other.y
    if max(abs(dx), abs(dy)) < _CLEARLY or abs(abs(dx) - abs(dy)) < _CLEARLY / 2:
        return None
    if abs(dx) > abs(dy):
        return "left of" if dx < 0 else "right of"
    return "above" if dy < 0 else "below"


def place(thing: Thing) -> str:
    """Where in the picture a thing is, in words."""
    column = "left" if thing.x < 0.4 else "right" if thing.x > 0.6 else ""
    row = "top" if thing.y < 0.4 else "bottom" if thing.y > 0.6 else ""
    return f"{row} {column}".strip() or "middle"


def _scene(things: tuple[Thing, ...], *, sized: bool, related: bool = True) -> str:
    nouns = [_noun(thing, sized=sized) for thing in things]
    if len(things) == 1:
        return f"{nouns[0]} in the {place(things[0])}" if related else nouns[0]
    where = relation(things[0], things[1]) if related else None
    first = f"{nouns[0]} {where or 'and'} {nouns[1]}"
    return first if len(things) == 2 else f"{first} and {nouns[2]}"


def _clip(clip: Clip, *, sized: bool, moving: str, bystander: bool = True) -> str:
    text = f"{_noun(clip.mover, sized=sized)} {moving.format(clip.direction)}"
    if clip.bystander is None or not bystander:
        return text
    return f"{text} with {_noun(clip.bystander, sized=sized)}"


def _page(page: Page, form: int) -> str:
    figure = f"{page.colour} {page.figure}"
    return (
        full_caption(page),
        full_caption(page),
        f"a page titled {page.title_text}",
        f"a page about {page.title_text} with {with_article(page.figure)}",
        f"{with_article(figure)} about {page.title_text}",
        f"a document about {page.title_text}",
        page.title_text,
    )[form]
