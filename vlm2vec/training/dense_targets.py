"""What each merged token of a picture shows, from the drawn world's own truth.

A token is a cell of 28 by 28 pixels. Cells are in row-major order, frames in pairs.
"""

from __future__ import annotations

import numpy as np

from vlm2vec.world.clips import CLIP_SIDE, Clip
from vlm2vec.world.pages import FIGURE_BOX, PAGE_SIZE, Page
from vlm2vec.world.scenes import SCENE_SIDE, Scene, thing_map
from vlm2vec.world.vocabulary import COLOURS, DIRECTIONS, FIGURES, SHAPES, SIZES, WORDS

__all__ = ["ASPECTS", "dense_targets"]

_NOTHING = "nothing"

ASPECTS: dict[str, tuple[str, ...]] = {
    "colour": (_NOTHING, *COLOURS),
    "shape": (_NOTHING, *SHAPES, *FIGURES),
    "size": (_NOTHING, *SIZES),
    "motion": (_NOTHING, "still", *DIRECTIONS),
    "word": (_NOTHING, *WORDS),
}
"""What is asked about each token, and the possible answers; the first is that there is nothing."""

_CELL = 28
_LEAST_INK = 30
"""Pixels of a thing in a cell from which on the cell shows it."""


def dense_targets(item: Scene | Clip | Page, *, grid_steps: int = 4) -> np.ndarray:
    """The answer to each question of `ASPECTS` at each token.

    Args:
        item: What the picture shows.
        grid_steps: Pairs of frames of a clip.

    Returns:
        `(tokens, 5)` int64, indices into the values of `ASPECTS`.

    Example:
        >>> from vlm2vec.world.scenes import draw_scene
        >>> dense_targets(draw_scene(np.random.default_rng(0))).shape
        (16, 5)
    """
    if isinstance(item, Scene):
        return _of_scene(item, SCENE_SIDE, moving=None)
    if isinstance(item, Clip):
        # A grid step holds two frames; its truth is taken halfway between them.
        times = (np.arange(grid_steps) * 2 + 0.5) / (2 * grid_steps - 1)
        return np.concatenate(
            [_of_scene(item.at(float(time)), CLIP_SIDE, moving=item.direction) for time in times]
        )
    return _of_page(item)


def _of_scene(scene: Scene, side: int, *, moving: str | None) -> np.ndarray:
    """Targets of one picture; `moving` is where the first thing moves, `None` where all are still."""
    cells = side // _CELL
    ink = thing_map(scene, side).reshape(cells, _CELL, cells, _CELL).swapaxes(1, 2).reshape(cells * cells, -1)
    amounts = np.stack([(ink == k + 1).sum(axis=1) for k in range(len(scene.things))], axis=1)
    shown = np.where(amounts.max(axis=1) >= _LEAST_INK, amounts.argmax(axis=1) + 1, 0)
    answers = np.zeros((len(scene.things) + 1, len(ASPECTS)), dtype=np.int64)
    for number, thing in enumerate(scene.things, start=1):
        motion = "still" if moving is None or number > 1 else moving
        values = (thing.colour, thing.shape, thing.size, motion, _NOTHING)
        answers[number] = [
            options.index(value) for options, value in zip(ASPECTS.values(), values, strict=True)
        ]
    return answers[shown]


def _of_page(page: Page) -> np.ndarray:
    rows, columns = PAGE_SIZE[1] // _CELL, PAGE_SIZE[0] // _CELL
    answers = np.zeros((rows, columns, len(ASPECTS)), dtype=np.int64)
    top = FIGURE_BOX[1] // _CELL
    answers[top:, :, 0] = ASPECTS["colour"].index(page.colour)
    answers[top:, :, 1] = ASPECTS["shape"].index(page.figure)
    for row, word in enumerate(page.title):
        first, last = int(word.x // _CELL), int((word.x + word.width - 4) // _CELL)
        answers[row, first : last + 1, 4] = ASPECTS["word"].index(word.text)
    return answers.reshape(rows * columns, len(ASPECTS))
