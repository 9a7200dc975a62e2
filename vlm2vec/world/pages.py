"""Typeset pages: a title of two words, perhaps a heading, and a table or a chart."""

from __future__ import annotations

import atexit
from pathlib import Path
from typing import Any

import numpy as np

from vlm2vec.media.pdf import PDFIUM_LOCK
from vlm2vec.world.fonts import FONTS, text_width
from vlm2vec.world.page import FIGURE_BOX, PAGE_SIZE, Page
from vlm2vec.world.page_figures import INK, draw_figure
from vlm2vec.world.page_words import PlacedWord, place_word
from vlm2vec.world.pdf_canvas import PdfCanvas
from vlm2vec.world.vocabulary import ALL_WORDS, COLOURS, DIGITS, FIGURES, WORDS

__all__ = ["FIGURE_BOX", "PAGE_SIZE", "Page", "draw_page", "render_pages", "write_pages"]

_POINTS_PER_UNIT = 4
_MAX_PAGES = 1000
"""Pages that are drawn on one canvas, for a PDF keeps something of those that were removed."""

_ROW = 28
_TITLE_SIZES, _HEADING_SIZES, _CELL_SIZES = (17.0, 21.0), (14.0, 16.0), (12.5, 14.0)
_PLAIN_FONTS = 3
_FAINT = (150, 150, 156)


def draw_page(rng: np.random.Generator, *, texts: bool = False) -> Page:
    """A random page.

    Args:
        rng: Decides everything.
        texts: Whether there is more to read than the title, in more words and fonts: most pages have a
            heading then, and each table has two or three rows of a word and a number.

    Example:
        >>> page = draw_page(np.random.default_rng(3))
        >>> page == draw_page(np.random.default_rng(3)), len(page.title_text.split())
        (True, 2)
    """
    vocabulary = ALL_WORDS if texts else WORDS
    words = [vocabulary[index] for index in rng.choice(len(vocabulary), size=2, replace=False)]
    fonts = tuple(FONTS) if texts else tuple(FONTS)[:_PLAIN_FONTS]
    font = fonts[rng.integers(len(fonts))]
    size = float(rng.uniform(*_TITLE_SIZES))
    widest = max(text_width(word, font) for word in words)
    size = min(size, (PAGE_SIZE[0] - 8) / widest)
    left = float(rng.uniform(4, 8))
    first, second = (
        place_word(
            word,
            font,
            x=left,
            baseline=row * _ROW + 20 + float(rng.uniform(-1.5, 2)),
            size=size,
            right=PAGE_SIZE[0] - 3,
            shrink=False,
        )
        for row, word in enumerate(words)
    )
    lines = tuple(" ".join(vocabulary[i] for i in rng.integers(len(vocabulary), size=4)) for _ in range(3))
    figure = FIGURES[rng.integers(len(FIGURES))]
    colour = tuple(COLOURS)[rng.integers(len(COLOURS))]
    values = tuple(rng.uniform(0.2, 1, size=int(rng.integers(3, 6))).tolist())
    if not texts:
        return Page((first, second), font, figure, colour, values, lines)
    others = iter(rng.permutation([word for word in vocabulary if word not in words])[:4].tolist())
    heading = _heading(next(others), font, rng) if rng.random() < 0.7 else None
    rows = int(rng.integers(2, 4)) if figure == "table" else 0
    cells = tuple(_row(next(others), number, font, rng) for number in range(rows))
    return Page(
        (first, second), font, figure, colour, values, () if heading is not None else lines, heading, cells
    )


def _heading(text: str, font: str, rng: np.random.Generator) -> PlacedWord:
    size, x = float(rng.uniform(*_HEADING_SIZES)), float(rng.uniform(6, 12))
    baseline = 2 * _ROW + 19 + float(rng.uniform(-1, 2))
    return place_word(text, font, x=x, baseline=baseline, size=size, right=PAGE_SIZE[0] - 4)


def _row(text: str, number: int, font: str, rng: np.random.Generator) -> tuple[PlacedWord, PlacedWord]:
    """The word and the number of a row. Numbers have a column of tokens of their own."""
    baseline, size = (3 + number) * _ROW + 19 + float(rng.uniform(-1, 1)), float(rng.uniform(*_CELL_SIZES))
    word = place_word(text, font, x=float(rng.uniform(9, 11)), baseline=baseline, size=size, right=83)
    digit = DIGITS[rng.integers(len(DIGITS))]
    x = float(rng.uniform(90, 96))
    return word, place_word(digit, font, x=x, baseline=baseline, size=size, right=PAGE_SIZE[0] - 4)


def write_pages(pages: list[Page], path: Path) -> None:
    """Write a PDF with one page for each, all text and drawings as vectors.

    Args:
        pages: At least one.
        path: The file to write.
    """
    with PDFIUM_LOCK:
        canvas = PdfCanvas(scale=_POINTS_PER_UNIT)
        lay_out(pages, canvas)
        canvas.save(path)
        canvas.document.close()


def render_pages(pages: list[Page]) -> np.ndarray:
    """Pages at the embedded model's size, without a file in between.

    Returns:
        `(n, 168, 112, 3)` uint8, RGB.
    """
    with PDFIUM_LOCK:
        canvas = _canvas_with_fonts()
        try:
            lay_out(pages, canvas)
            return np.stack([_pixels(canvas.document[number]) for number in range(len(pages))])
        finally:
            canvas.remove_pages()


def lay_out(pages: list[Page], canvas: PdfCanvas) -> None:
    """Put the pages on a canvas of `_POINTS_PER_UNIT`, one after the other."""
    for page in pages:
        canvas.new_page(*PAGE_SIZE)
        _lay_out_text(canvas, page)
        draw_figure(canvas, page)
        canvas.finish_page()


def _pixels(page: Any) -> np.ndarray:
    return np.array(page.render(scale=1 / _POINTS_PER_UNIT, rev_byteorder=True).to_numpy()[..., :3])


_CANVASES: list[PdfCanvas] = []


def _canvas_with_fonts() -> PdfCanvas:
    """An empty canvas that may have its fonts already: to load one takes longer than to draw a page."""
    if not _CANVASES or _CANVASES[0].pages_begun > _MAX_PAGES:
        _close_canvases()
        _CANVASES.append(PdfCanvas(scale=_POINTS_PER_UNIT))
    return _CANVASES[0]


@atexit.register  # pypdfium2 warns of documents that are open when the interpreter ends
def _close_canvases() -> None:
    while _CANVASES:
        _CANVASES.pop().document.close()


def _lay_out_text(canvas: PdfCanvas, page: Page) -> None:
    for word in (*page.title, *([] if page.heading is None else [page.heading])):
        canvas.text(word.text, (word.x, word.baseline), font=page.font, size=word.size, colour=INK)
    for row, line in enumerate(page.filler):
        canvas.text(line, (8, 63 + 7 * row), font=page.font, size=4.2, colour=_FAINT)
