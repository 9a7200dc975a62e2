"""Ranked items -> the gallery: a thumbnail for each."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from vlm2vec._version import __version__
from vlm2vec.cli.files import Item
from vlm2vec.cli.ranking import Ranked
from vlm2vec.errors import VLM2VecWarning
from vlm2vec.gallery import THUMBNAIL_PIXELS, Hit, Ranking, write_gallery
from vlm2vec.media.documents import render_page
from vlm2vec.media.image import load_image
from vlm2vec.media.limits import Limits
from vlm2vec.media.pixels import PixelRules
from vlm2vec.media.sampling import Sampling
from vlm2vec.media.source import Source
from vlm2vec.media.video import read_frames

__all__ = ["write_results"]

EXCERPT_BYTES = 600
THUMBNAIL = PixelRules(min_pixels=28 * 28, max_pixels=THUMBNAIL_PIXELS**2)


def write_results(
    path: Path,
    results: Sequence[tuple[str, Sequence[Ranked]]],
    *,
    title: str,
    note: str = "",
    answers: Mapping[str, Item] | None = None,
    limits: Limits | None = None,
) -> None:
    """Write rankings as a gallery.

    Args:
        path: The file to write.
        results: Pairs of a query and its results.
        title: Heading of the page.
        note: A sentence below it.
        answers: The right answers by query, where they are known.
        limits: What one input may cost.
    """
    answers = answers or {}
    rankings = [
        Ranking(
            query, [_hit(row, path.parent, limits, right=row.item is answers.get(query)) for row in ranked]
        )
        for query, ranked in results
    ]
    write_gallery(path, rankings, title=title, note=note, footer=f"Made by vlm2vec {__version__}.")


def _hit(row: Ranked, folder: Path, limits: Limits | None, *, right: bool) -> Hit:
    item = row.item
    return Hit(
        rank=row.rank,
        score=row.score,
        name=item.name,
        kind=item.label,
        frames=_frames(item, limits),
        excerpt=_excerpt(item),
        link=_link(item, folder),
        right=right,
    )


def _frames(item: Item, limits: Limits | None) -> list[Image.Image]:
    if item.path is None or not item.path.is_file():  # an index may have a file that is gone
        return []
    source = Source.from_path(item.path)
    if item.page is not None:
        return [Image.fromarray(render_page(source, item.page, THUMBNAIL, limits=limits))]
    if item.kind == "image":
        return [Image.fromarray(load_image(source, alpha="white", limits=limits))]
    if item.kind == "video":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", VLM2VecWarning)  # encoding has said it already
            sampling = Sampling(start=item.start or None, end=item.end)
            frames = read_frames(source, sampling, alpha="white", limits=limits).frames
            return [Image.fromarray(frame) for frame in frames]
    return []


def _excerpt(item: Item) -> str:
    if item.text is not None:
        return item.text[:EXCERPT_BYTES]
    if item.kind != "text" or item.path is None:
        return ""
    with item.path.open("rb") as file:
        return file.read(EXCERPT_BYTES).decode("utf-8", "replace")


def _link(item: Item, folder: Path) -> str:
    if item.path is None:
        return ""
    page = f"#page={item.page}" if item.page is not None else ""
    try:
        relative = Path(os.path.relpath(item.path, folder)).as_posix()
    except ValueError:  # on another drive of Windows there is no way from here to there
        return item.path.resolve().as_uri() + page
    return quote(os.fsencode(relative)) + page
