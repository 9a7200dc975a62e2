"""A folder of sample files, and queries whose right answers are known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vlm2vec.world.captions import full_caption, motion_text
from vlm2vec.world.clips import Clip, draw_clip, reverse, write_clip
from vlm2vec.world.pages import Page, draw_page, write_pages
from vlm2vec.world.scenes import Scene, draw_scene, render_scene

__all__ = ["Sample", "write_samples"]

_SCENES, _CLIPS, _DOCUMENTS, _PAGES_EACH = 6, 4, 2, 3
_SCENE_SIDE = 448
"""Samples are drawn larger than the model sees them, as files of users are."""


@dataclass(frozen=True)
class Sample:
    """One thing to find.

    Attributes:
        path: The file.
        page: Number of the page in it, from 1; `None` for images and clips.
        caption: A query that this file, or page, is the right answer to.
    """

    path: Path
    page: int | None
    caption: str


def write_samples(folder: Path, seed: int = 0) -> list[Sample]:
    """Write images, clips and PDFs, and say what each shows.

    Args:
        folder: Made if it is not there; files of the same names are replaced.
        seed: The same seed gives the same files.

    Returns:
        One sample for each image, each clip and each page of each PDF, in that order.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     samples = write_samples(Path(folder))
        >>> len(samples), samples[-1].page
        (16, 3)
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    return [*_write_scenes(folder, rng), *_write_clips(folder, rng), *_write_documents(folder, rng)]


def _write_scenes(folder: Path, rng: np.random.Generator) -> list[Sample]:
    samples = []
    for number in range(_SCENES):
        scene = draw_scene(rng)
        suffix = "png" if number % 2 == 0 else "jpg"
        path = folder / f"scene-{'-'.join(thing.noun.replace(' ', '-') for thing in scene.things)}.{suffix}"
        render_scene(scene, _SCENE_SIDE).save(path, quality=92)
        samples.append(_sample(path, scene))
    return samples


def _write_clips(folder: Path, rng: np.random.Generator) -> list[Sample]:
    clips = [draw_clip(rng) for _ in range(_CLIPS // 2)]
    samples = []
    # Each clip has a twin that differs in nothing but the direction: frames alone do not tell them apart.
    for clip in [one for pair in clips for one in (pair, reverse(pair))]:
        name = f"clip-{clip.mover.noun}-moving-{motion_text(clip.motions)}.mp4"
        path = folder / name.replace(",", "").replace(" ", "-")
        write_clip(clip, path)
        samples.append(_sample(path, clip))
    return samples


def _write_documents(folder: Path, rng: np.random.Generator) -> list[Sample]:
    samples = []
    for _ in range(_DOCUMENTS):
        pages = [draw_page(rng) for _ in range(_PAGES_EACH)]
        path = folder / f"report-{pages[0].title_text.replace(' ', '-')}.pdf"
        write_pages(pages, path)
        samples += [_sample(path, page, number) for number, page in enumerate(pages, start=1)]
    return samples


def _sample(path: Path, item: Scene | Clip | Page, page: int | None = None) -> Sample:
    return Sample(path, page, full_caption(item))
