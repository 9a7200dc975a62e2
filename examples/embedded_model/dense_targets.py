"""What each merged token of a picture shows, from the drawn world's own truth.

A token is a cell of 28 by 28 pixels. Cells are in row-major order, frames in pairs.
"""

from __future__ import annotations

import numpy as np

from vlm2vec.world.clips import CLIP_SIDE, Clip
from vlm2vec.world.fonts import text_width
from vlm2vec.world.page_words import PlacedWord
from vlm2vec.world.pages import FIGURE_BOX, PAGE_SIZE, Page
from vlm2vec.world.scenes import SCENE_SIDE, Scene, thing_map
from vlm2vec.world.vocabulary import ALL_WORDS, COLOURS, DIGITS, DIRECTIONS, FIGURES, SHAPES, SIZES

__all__ = ["ASPECTS", "LETTERS", "NOT_ASKED", "dense_targets", "ink_targets", "letter_targets"]

_NOTHING = "nothing"

ASPECTS: dict[str, tuple[str, ...]] = {
    "colour": (_NOTHING, *COLOURS),
    "shape": (_NOTHING, *SHAPES, *FIGURES),
    "size": (_NOTHING, *SIZES),
    "motion": (_NOTHING, "still", *DIRECTIONS),
    "centres": (_NOTHING, "one", "two"),
    "word": (_NOTHING, *ALL_WORDS, *DIGITS),
}
"""What is asked about each token, and the possible answers; the first is that there is nothing.

Centres are those of things: whoever counts things has to tell one that reaches over four tokens from four.
"""

LETTERS = "abcdefghijklmnopqrstuvwxyz" + "".join(DIGITS)
"""What pages are written with."""

NOT_ASKED = -100
"""In place of an answer, where the question makes no sense; what torch's cross entropy leaves out."""

_CELL = 28
_INK_PARTS = 7
_LEAST_INK = 30
"""Pixels of a thing in a cell from which on the cell shows it."""

_STEPS = tuple((2 * step + 0.5) / 7 for step in range(4))
"""Times of the four grid steps of a clip: each holds two of eight frames, and lies halfway between them."""


def dense_targets(item: Scene | Clip | Page) -> np.ndarray:
    """The answer to each question of `ASPECTS` at each token.

    Args:
        item: What the picture shows.

    Returns:
        `(tokens, 6)` int64, indices into the values of `ASPECTS`, or `NOT_ASKED`; colours without a name are
        not asked for.

    Example:
        >>> from vlm2vec.world.scenes import draw_scene
        >>> dense_targets(draw_scene(np.random.default_rng(0))).shape
        (16, 6)
    """
    if isinstance(item, Scene):
        return _asked(_of_scene(item, SCENE_SIDE, moving=None), "colour", "shape", "size", "centres")
    if isinstance(item, Clip):
        steps = [_of_scene(item.at(t), CLIP_SIDE, moving=item.motion_at(t)) for t in _STEPS]
        return _asked(np.concatenate(steps), "colour", "shape", "size", "motion", "centres")
    return _asked(_of_page(item), "colour", "shape", "word")


def ink_targets(item: Scene | Clip) -> np.ndarray:
    """How much of each seventh by seventh of a token is ink, whatever its colour.

    Returns:
        `(tokens, 49)` float32 in 0..1.
    """
    if isinstance(item, Clip):
        return np.concatenate([_ink(item.at(time), CLIP_SIDE) for time in _STEPS])
    return _ink(item, SCENE_SIDE)


def letter_targets(page: Page) -> np.ndarray:
    """Which letters and digits each token holds, of those large enough to be read.

    Returns:
        `(tokens, 35)` float32, 0 or 1.
    """
    shown = np.zeros((PAGE_SIZE[1] // _CELL, PAGE_SIZE[0] // _CELL, len(LETTERS)), dtype=np.float32)
    for word in page.words:
        edges = [text_width(word.text[:end], page.font) for end in range(len(word.text) + 1)]
        for letter, left, right in zip(word.text, edges, edges[1:], strict=False):
            middle = word.x + (left + right) / 2 * word.size
            shown[_row(word), int(middle // _CELL), LETTERS.index(letter)] = 1
    return shown.reshape(-1, len(LETTERS))


def _asked(answers: np.ndarray, *aspects: str) -> np.ndarray:
    """The answers, with `NOT_ASKED` for all other aspects."""
    asked = [aspect in aspects for aspect in ASPECTS]
    return np.where(asked, answers, NOT_ASKED)


def _ink(scene: Scene, side: int) -> np.ndarray:
    cells, parts, pixels = side // _CELL, _INK_PARTS, _CELL // _INK_PARTS
    ink = thing_map(scene, side) > 0
    shares = ink.reshape(cells, parts, pixels, cells, parts, pixels).mean(axis=(2, 5))
    by_cell: np.ndarray = shares.swapaxes(1, 2).reshape(cells * cells, parts * parts).astype(np.float32)
    return by_cell


def _of_scene(scene: Scene, side: int, *, moving: str | None) -> np.ndarray:
    """Targets of one picture; `moving` is where the first thing moves, `None` where all are still."""
    cells = side // _CELL
    ink = thing_map(scene, side).reshape(cells, _CELL, cells, _CELL).swapaxes(1, 2).reshape(cells * cells, -1)
    amounts = np.stack([(ink == k + 1).sum(axis=1) for k in range(len(scene.things))], axis=1)
    shown = np.where(amounts.max(axis=1) >= _LEAST_INK, amounts.argmax(axis=1) + 1, 0)
    answers = np.zeros((len(scene.things) + 1, len(ASPECTS)), dtype=np.int64)
    for number, thing in enumerate(scene.things, start=1):
        motion = "still" if moving is None or number > 1 else moving
        said = {"colour": thing.colour, "shape": thing.shape, "size": thing.size, "motion": motion}
        for column, (aspect, options) in enumerate(ASPECTS.items()):
            value = said.get(aspect, _NOTHING)
            answers[number, column] = options.index(value) if value in options else NOT_ASKED
    by_cell = answers[shown]
    by_cell[:, list(ASPECTS).index("centres")] = _centres(scene, cells)
    return by_cell


def _centres(scene: Scene, cells: int) -> np.ndarray:
    """How many things have their centre in each cell; two is the most that is told."""
    places = [int(thing.y * cells) * cells + int(thing.x * cells) for thing in scene.things]
    most = len(ASPECTS["centres"]) - 1
    return np.bincount(places, minlength=cells * cells).clip(max=most)


def _of_page(page: Page) -> np.ndarray:
    rows, columns = PAGE_SIZE[1] // _CELL, PAGE_SIZE[0] // _CELL
    answers = np.zeros((rows, columns, len(ASPECTS)), dtype=np.int64)
    figure = slice(FIGURE_BOX[1] // _CELL, FIGURE_BOX[1] // _CELL + (len(page.cells) or rows))
    answers[figure, :, 0] = ASPECTS["colour"].index(page.colour)
    answers[figure, :, 1] = ASPECTS["shape"].index(page.figure)
    for word in page.words:
        first, last = int(word.x // _CELL), int((word.x + word.width - 4) // _CELL)
        answers[_row(word), first : last + 1, list(ASPECTS).index("word")] = ASPECTS["word"].index(word.text)
    return answers.reshape(rows * columns, len(ASPECTS))


def _row(word: PlacedWord) -> int:
    """The row of tokens that a word stands in."""
    return int(word.baseline // _CELL)
