"""Scores on draws of the world that no training has seen, from real files through the public API."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import numpy as np

from vlm2vec.world.captions import full_caption
from vlm2vec.world.clips import Clip, draw_clip, reverse, write_clip
from vlm2vec.world.pages import Page, draw_page, write_pages
from vlm2vec.world.scenes import Scene, draw_scene, render_scene

__all__ = ["HELD_OUT_SEEDS", "held_out_scores", "scores_table"]

Item: TypeAlias = Scene | Clip | Page

HELD_OUT_SEEDS = (1_000_001, 1_000_003, 1_000_005)
"""Seeds of held-out draws: odd, where those of training are even."""

_CANDIDATES = 100


def held_out_scores(model: Any, *, seeds: Sequence[int] = HELD_OUT_SEEDS) -> dict[str, list[float]]:
    """Hit@1 of text queries, for each seed.

    Every query describes one candidate in full, and all descriptions differ. Images are PNG files, clips are
    MP4 files of which every second one is another in reverse, pages are those of one PDF.

    Args:
        model: A `VLM2Vec`.
        seeds: One row of candidates and queries each.

    Returns:
        By task, the share of queries in percent whose first-ranked candidate is the right one, a number for
        each seed: among 100 images, 100 clips, 100 pages, and all 300 together.
    """
    scores: dict[str, list[float]] = {
        f"text to {kind}": [] for kind in ("image", "clip", "page", "all three")
    }
    for seed in seeds:
        rng = np.random.default_rng(seed)
        kinds = [_distinct(draw, rng) for draw in (_scene, _clip_and_reverse, _page)]
        queries = [np.asarray(model.encode_query([full_caption(item) for item in items])) for items in kinds]
        with TemporaryDirectory() as folder:
            files = [_write(items, Path(folder)) for items in kinds]
            documents = [np.asarray(model.encode_document(inputs)) for inputs in files]
        for name, query, document in zip(scores, queries, documents, strict=False):
            scores[name].append(_hit_at_1(query, document))
        scores["text to all three"].append(_hit_at_1(np.concatenate(queries), np.concatenate(documents)))
    return scores


def scores_table(scores: dict[str, list[float]]) -> str:
    """Scores as a Markdown table, with their mean.

    Example:
        >>> print(scores_table({"text to image": [90.0, 92.0]}))
        | Hit@1, percent | draw 1 | draw 2 | mean |
        |---|---|---|---|
        | text to image | 90.0 | 92.0 | 91.0 |
    """
    count = max(len(values) for values in scores.values())
    lines = [
        f"| Hit@1, percent | {' | '.join(f'draw {k + 1}' for k in range(count))} | mean |",
        "|---" * (count + 2) + "|",
    ]
    for name, values in scores.items():
        cells = [f"{value:.1f}" for value in (*values, sum(values) / len(values))]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _scene(rng: np.random.Generator) -> list[Item]:
    return [draw_scene(rng)]


def _clip_and_reverse(rng: np.random.Generator) -> list[Item]:
    clip = draw_clip(rng)
    return [clip, reverse(clip)]


def _page(rng: np.random.Generator) -> list[Item]:
    return [draw_page(rng)]


def _distinct(draw: Any, rng: np.random.Generator) -> list[Item]:
    """Items whose descriptions all differ."""
    items: dict[str, Item] = {}
    while len(items) < _CANDIDATES:
        for item in draw(rng):
            items.setdefault(full_caption(item), item)
    return list(items.values())[:_CANDIDATES]


def _write(items: Sequence[Item], folder: Path) -> list[Any]:
    """The inputs that stand for the items: files, or pages of one."""
    pages = [item for item in items if isinstance(item, Page)]
    if pages:
        from vlm2vec import pdf_pages

        write_pages(pages, folder / "pages.pdf")
        return list(pdf_pages(folder / "pages.pdf"))
    paths = []
    for number, item in enumerate(items):
        if isinstance(item, Clip):
            paths.append(folder / f"{number}.mp4")
            write_clip(item, paths[-1])
        elif isinstance(item, Scene):
            paths.append(folder / f"{number}.png")
            render_scene(item, 448).save(paths[-1])
    return paths


def _hit_at_1(queries: np.ndarray, documents: np.ndarray) -> float:
    best = (queries @ documents.T).argmax(axis=1)
    return 100 * float((best == np.arange(len(queries))).mean())
