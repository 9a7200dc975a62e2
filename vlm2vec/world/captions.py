"""What can truthfully be said of a scene, a clip or a page: queries, and captions to learn from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vlm2vec.world.clips import Clip
from vlm2vec.world.pages import Page
from vlm2vec.world.places import group_relation, place
from vlm2vec.world.scenes import Scene
from vlm2vec.world.shapes import Thing
from vlm2vec.world.vocabulary import COUNTS, plural, with_article

__all__ = ["describe", "full_caption", "motion_text"]

_SCENE_OPENINGS = ("", "", "", "a picture of ", "an image with ")
_CLIP_OPENINGS = ("", "", "", "a clip of ", "a video of ")
_MOVING = ("moving {}", "moving {}", "going {}", "moving to the {}")
_THEN = (", then ", ", then ", " then ", " and then ")


def full_caption(item: Scene | Clip | Page) -> str:
    """Everything there is to say, in one fixed form.

    Example:
        >>> from vlm2vec.world.scenes import draw_scene
        >>> full_caption(draw_scene(np.random.default_rng(5)))
        'a large black circle right of a small green square and a small pink cross'
        >>> full_caption(draw_scene(np.random.default_rng(3), counted=True))
        'a small green square and two small purple diamonds'
    """
    if isinstance(item, Scene):
        return _scene(item.groups, sized=True)
    if isinstance(item, Clip):
        return _clip(item, sized=True, moving="moving " + motion_text(item.motions))
    return f"a page titled {item.title_text} with {_figure_and_heading(item)}"


def describe(item: Scene | Clip | Page, rng: np.random.Generator) -> str:
    """One of many ways to say what is there, sometimes leaving something out."""
    if isinstance(item, Scene):
        groups = [item.groups[index] for index in rng.permutation(len(item.groups))]
        opening = _SCENE_OPENINGS[rng.integers(len(_SCENE_OPENINGS))]
        return opening + _scene(groups, sized=bool(rng.random() < 0.6), related=bool(rng.random() < 0.75))
    if isinstance(item, Clip):
        opening = _CLIP_OPENINGS[rng.integers(len(_CLIP_OPENINGS))]
        moving = _MOVING[rng.integers(len(_MOVING))]
        if item.motions[0] in {"up", "down"}:
            moving = moving.replace("to the ", "")
        shown = bool(rng.random() < 0.8)
        sized = bool(rng.random() < 0.5)
        then = _THEN[rng.integers(len(_THEN))] if len(item.motions) > 1 else ""
        moving = moving.format(motion_text(item.motions, then=then))
        return opening + _clip(item, sized=sized, moving=moving, bystander=shown)
    wordings = _page_wordings(item)
    return wordings[rng.integers(len(wordings))]


def motion_text(motions: Sequence[str], *, then: str = ", then ") -> str:
    """Motions in order.

    Example:
        >>> motion_text(("left", "up"))
        'left, then up'
    """
    return then.join(motions)


def _noun(group: Sequence[Thing], *, sized: bool) -> str:
    thing = group[0]
    noun = f"{thing.size} {thing.noun}" if sized else thing.noun
    return with_article(noun) if len(group) == 1 else f"{COUNTS[len(group) - 1]} {plural(noun)}"


def _scene(groups: Sequence[Sequence[Thing]], *, sized: bool, related: bool = True) -> str:
    nouns = [_noun(group, sized=sized) for group in groups]
    if len(groups) == 1:
        return f"{nouns[0]} in the {place(groups[0][0])}" if related and len(groups[0]) == 1 else nouns[0]
    where = group_relation(groups[0], groups[1]) if related else None
    return " and ".join([f"{nouns[0]} {where or 'and'} {nouns[1]}", *nouns[2:]])


def _clip(clip: Clip, *, sized: bool, moving: str, bystander: bool = True) -> str:
    text = f"{_noun([clip.mover], sized=sized)} {moving}"
    if clip.bystander is None or not bystander:
        return text
    return f"{text} with {_noun([clip.bystander], sized=sized)}"


def _figure(page: Page) -> str:
    """The chart or table, and what the table says."""
    text = with_article(f"{page.colour} {page.figure}")
    return f"{text} of {page.table_text}" if page.cells else text


def _figure_and_heading(page: Page) -> str:
    return _figure(page) if page.heading is None else f"the heading {page.heading.text} and {_figure(page)}"


def _page_wordings(page: Page) -> list[str]:
    """Ways to describe a page: more than one in full, for what is left out is not learned."""
    title = page.title_text
    wordings = [
        full_caption(page),
        full_caption(page),
        f"a page titled {title}",
        f"a page about {title} with {with_article(page.figure)}",
        f"{with_article(f'{page.colour} {page.figure}')} about {title}",
        f"a document about {title}",
        title,
    ]
    if page.heading is not None:
        wordings += [
            full_caption(page),
            f"a page with the heading {page.heading.text} about {title}",
            f"the heading {page.heading.text} and {_figure(page)}",
        ]
    if page.cells:
        wordings += [full_caption(page), f"{_figure(page)} about {title}", f"a table of {page.table_text}"]
    return wordings
