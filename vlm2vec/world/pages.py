"""Typeset pages: a title of two words, lines too small to read, and a table or a chart."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vlm2vec.world.fonts import FONTS, text_width
from vlm2vec.world.pdf_canvas import PdfCanvas
from vlm2vec.world.vocabulary import COLOURS, FIGURES, WORDS

__all__ = ["FIGURE_BOX", "PAGE_SIZE", "Page", "TitleWord", "draw_page", "render_pages", "write_pages"]

PAGE_SIZE = (112, 168)
"""Width and height of a page at the embedded model's size, in pixels; the unit of all lengths here."""

FIGURE_BOX = (0, 84, 112, 168)
"""Left, top, right and bottom of the part of a page that its chart or table is drawn in."""

_POINTS_PER_UNIT = 4
_ROW = 28
_TITLE_SIZES = (17.0, 21.0)
_INK = (40, 40, 44)
_FAINT = (150, 150, 156)


@dataclass(frozen=True)
class TitleWord:
    """One word of a title, on a line of its own.

    Attributes:
        text: One of `WORDS`.
        x: Left end of the word, in units.
        baseline: In units from the top.
        width: In units.
    """

    text: str
    x: float
    baseline: float
    width: float


@dataclass(frozen=True)
class Page:
    """What a page shows.

    Attributes:
        title: Its two words, top to bottom.
        font: One of `FONTS`.
        size: Height of the title's letters (em), in units.
        figure: One of `FIGURES`.
        colour: Colour of the figure, one of `COLOURS`.
        values: Sizes of bars, slices and points, each between 0.2 and 1.
        filler: The small lines between title and figure.
    """

    title: tuple[TitleWord, TitleWord]
    font: str
    size: float
    figure: str
    colour: str
    values: tuple[float, ...]
    filler: tuple[str, ...]

    @property
    def title_text(self) -> str:
        """The title on one line."""
        return " ".join(word.text for word in self.title)


def draw_page(rng: np.random.Generator) -> Page:
    """A random page.

    Example:
        >>> page = draw_page(np.random.default_rng(3))
        >>> page == draw_page(np.random.default_rng(3)), len(page.title_text.split())
        (True, 2)
    """
    words = [WORDS[index] for index in rng.choice(len(WORDS), size=2, replace=False)]
    font = tuple(FONTS)[rng.integers(len(FONTS))]
    size = float(rng.uniform(*_TITLE_SIZES))
    widest = max(text_width(word, font) for word in words)
    size = min(size, (PAGE_SIZE[0] - 8) / widest)
    left = float(rng.uniform(4, 8))
    title = tuple(
        TitleWord(
            word,
            min(left, PAGE_SIZE[0] - 3 - text_width(word, font) * size),
            row * _ROW + 20 + float(rng.uniform(-1.5, 2)),
            text_width(word, font) * size,
        )
        for row, word in enumerate(words)
    )
    lines = tuple(" ".join(WORDS[i] for i in rng.integers(len(WORDS), size=4)) for _ in range(3))
    return Page(
        title=(title[0], title[1]),
        font=font,
        size=size,
        figure=FIGURES[rng.integers(len(FIGURES))],
        colour=tuple(COLOURS)[rng.integers(len(COLOURS))],
        values=tuple(rng.uniform(0.2, 1, size=int(rng.integers(3, 6))).tolist()),
        filler=lines,
    )


def write_pages(pages: list[Page], path: Path) -> None:
    """Write a PDF with one page for each, all text and drawings as vectors.

    Args:
        pages: At least one.
        path: The file to write.
    """
    canvas = lay_out(pages)
    canvas.save(path)


def render_pages(pages: list[Page]) -> np.ndarray:
    """Pages at the embedded model's size, without a file in between.

    Returns:
        `(n, 168, 112, 3)` uint8, RGB.
    """
    document = lay_out(pages).document
    bitmaps = [document[i].render(scale=1 / _POINTS_PER_UNIT, rev_byteorder=True) for i in range(len(pages))]
    return np.stack([bitmap.to_numpy()[..., :3] for bitmap in bitmaps])


def lay_out(pages: list[Page]) -> PdfCanvas:
    """The pages as an open PDF, not yet written."""
    canvas = PdfCanvas(scale=_POINTS_PER_UNIT)
    for page in pages:
        canvas.new_page(*PAGE_SIZE)
        _lay_out_text(canvas, page)
        _FIGURE_DRAWERS[page.figure](canvas, page)
        canvas.finish_page()
    return canvas


def _lay_out_text(canvas: PdfCanvas, page: Page) -> None:
    for word in page.title:
        canvas.text(word.text, (word.x, word.baseline), font=page.font, size=page.size, colour=_INK)
    for row, line in enumerate(page.filler):
        canvas.text(line, (8, 63 + 7 * row), font=page.font, size=4.2, colour=_FAINT)


def _bar_chart(canvas: PdfCanvas, page: Page) -> None:
    canvas.line([(12, 90), (12, 156), (102, 156)], _INK, 1)
    step = 86 / len(page.values)
    for index, value in enumerate(page.values):
        height = 60 * value
        canvas.rectangle(16 + step * index, 156 - height, step * 0.7, height, COLOURS[page.colour])


def _line_chart(canvas: PdfCanvas, page: Page) -> None:
    canvas.line([(12, 90), (12, 156), (102, 156)], _INK, 1)
    step = 80 / (len(page.values) - 1)
    points = [(17 + step * index, 154 - 58 * value) for index, value in enumerate(page.values)]
    canvas.line(points, COLOURS[page.colour], 4)


def _pie_chart(canvas: PdfCanvas, page: Page) -> None:
    canvas.disc(56, 124, 33, COLOURS[page.colour])
    shares = np.cumsum(page.values) / np.sum(page.values)
    for share in shares:
        angle = 2 * np.pi * float(share)
        canvas.line([(56, 124), (56 + 33 * np.sin(angle), 124 - 33 * np.cos(angle))], (255, 255, 255), 1.5)


def _table(canvas: PdfCanvas, page: Page) -> None:
    rows, columns, left, top, width, height = len(page.values), 3, 10.0, 94.0, 92.0, 64.0
    row_height = height / (rows + 1)
    canvas.rectangle(left, top, width, row_height, COLOURS[page.colour])
    for row in range(rows + 2):
        canvas.line([(left, top + row * row_height), (left + width, top + row * row_height)], _INK, 0.7)
    for column in range(columns + 1):
        x = left + column * width / columns
        canvas.line([(x, top), (x, top + height)], _INK, 0.7)
    for row, value in enumerate(page.values, start=1):
        for column in range(columns):
            number = f"{value * (column + 1) * 10:.1f}"
            at = (left + column * width / columns + 5, top + (row + 0.75) * row_height)
            canvas.text(number, at, font=page.font, size=min(8.0, row_height * 0.7), colour=_INK)


_FIGURE_DRAWERS = {
    "bar chart": _bar_chart,
    "line chart": _line_chart,
    "pie chart": _pie_chart,
    "table": _table,
}
