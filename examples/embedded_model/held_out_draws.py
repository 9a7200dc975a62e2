"""Candidates of held-out scores: items that are told apart by their captions, and their files."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vlm2vec.inputs.pdf import pdf_pages
from vlm2vec.world.clips import Clip, write_clip
from vlm2vec.world.items import Item, Kind, draw_item, story
from vlm2vec.world.pages import Page, write_pages
from vlm2vec.world.scenes import Pairs, Scene, render_scene
from vlm2vec.world.twins import twin

__all__ = ["candidates", "write_files"]

_SIDE = 448
"""Pictures are written larger than the model sees them, as files of users are."""


def candidates(
    kind: Kind, rng: np.random.Generator, *, count: int, twins: int, pairs: Pairs = "seen"
) -> list[Item]:
    """Items of one kind, each of which only its own full caption fits.

    Args:
        kind: Scenes, clips or pages.
        rng: Decides everything.
        count: How many.
        twins: How many of them differ in one thing from another that is there too.
        pairs: Which pairs of colour and shape may be in them.

    Example:
        >>> from vlm2vec.world.captions import full_caption
        >>> clips = candidates("clip", np.random.default_rng(1), count=2, twins=1)
        >>> len({full_caption(clip) for clip in clips})
        2
    """
    items: list[Item] = []
    stories: set[Hashable] = set()
    while len(items) < count:
        item = draw_item(kind, rng, pairs=pairs)
        drawn = [item, twin(item, rng, pairs=pairs)] if len(items) < 2 * twins else [item]
        told = {story(each) for each in drawn}
        if told.isdisjoint(stories):
            items += drawn
            stories |= told
    return items[:count]


def write_files(items: Sequence[Item], folder: Path) -> list[Any]:
    """The inputs that stand for the items: PNG and MP4 files, or the pages of one PDF."""
    pages = [item for item in items if isinstance(item, Page)]
    if pages:
        write_pages(pages, folder / "pages.pdf")
        return list(pdf_pages(folder / "pages.pdf"))
    paths: list[Path] = []
    for number, item in enumerate(items):
        if isinstance(item, Clip):
            paths.append(folder / f"{number}.mp4")
            write_clip(item, paths[-1])
        elif isinstance(item, Scene):
            paths.append(folder / f"{number}.png")
            render_scene(item, _SIDE).save(paths[-1])
    return paths
