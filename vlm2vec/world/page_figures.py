"""The charts and tables of typeset pages."""

from __future__ import annotations

import numpy as np

from vlm2vec.world.page import Page
from vlm2vec.world.pdf_canvas import PdfCanvas
from vlm2vec.world.vocabulary import COLOURS

__all__ = ["INK", "draw_figure"]

INK = (40, 40, 44)
"""Colour of what is not coloured."""

_ROW = 28


def draw_figure(canvas: PdfCanvas, page: Page) -> None:
    """Draw the page's chart or table into `FIGURE_BOX`."""
    (_read_table if page.cells else _DRAWERS[page.figure])(canvas, page)


def _bar_chart(canvas: PdfCanvas, page: Page) -> None:
    canvas.line([(12, 90), (12, 156), (102, 156)], INK, 1)
    step = 86 / len(page.values)
    for index, value in enumerate(page.values):
        height = 60 * value
        canvas.rectangle(16 + step * index, 156 - height, step * 0.7, height, COLOURS[page.colour])


def _line_chart(canvas: PdfCanvas, page: Page) -> None:
    canvas.line([(12, 90), (12, 156), (102, 156)], INK, 1)
    step = 80 / (len(page.values) - 1)
    points = [(17 + step * index, 154 - 58 * value) for index, value in enumerate(page.values)]
    canvas.line(points, COLOURS[page.colour], 4)


def _pie_chart(canvas: PdfCanvas, page: Page) -> None:
    canvas.disc(56, 124, 33, COLOURS[page.colour])
    shares = np.cumsum(page.values) / np.sum(page.values)
    for share in shares:
        angle = 2 * np.pi * float(share)
        canvas.line([(56, 124), (56 + 33 * np.sin(angle), 124 - 33 * np.cos(angle))], (255, 255, 255), 1.5)


def _plain_table(canvas: PdfCanvas, page: Page) -> None:
    """Numbers too small to read under a coloured head."""
    rows, columns, left, top, width, height = len(page.values), 3, 10.0, 94.0, 92.0, 64.0
    row_height = height / (rows + 1)
    canvas.rectangle(left, top, width, row_height, COLOURS[page.colour])
    for row in range(rows + 2):
        canvas.line([(left, top + row * row_height), (left + width, top + row * row_height)], INK, 0.7)
    for column in range(columns + 1):
        x = left + column * width / columns
        canvas.line([(x, top), (x, top + height)], INK, 0.7)
    for row, value in enumerate(page.values, start=1):
        for column in range(columns):
            number = f"{value * (column + 1) * 10:.1f}"
            at = (left + column * width / columns + 5, top + (row + 0.75) * row_height)
            canvas.text(number, at, font=page.font, size=min(8.0, row_height * 0.7), colour=INK)


def _read_table(canvas: PdfCanvas, page: Page) -> None:
    """One word and one number in each row, with coloured lines, large enough to be read."""
    colour, top, bottom = COLOURS[page.colour], 3 * _ROW, (3 + len(page.cells)) * _ROW - 2
    canvas.rectangle(2, top, 4, bottom - top, colour)
    for row in range(len(page.cells) + 1):
        y = min(max(top + row * _ROW, top + 1), bottom)
        canvas.line([(2, y), (110, y)], colour, 2)
    for word, number in page.cells:
        for text in (word, number):
            canvas.text(text.text, (text.x, text.baseline), font=page.font, size=text.size, colour=INK)


_DRAWERS = {
    "bar chart": _bar_chart,
    "line chart": _line_chart,
    "pie chart": _pie_chart,
    "table": _plain_table,
}
