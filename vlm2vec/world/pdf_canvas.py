"""A PDF being drawn: text, lines, rectangles and discs, all as vectors, by pdfium."""

from __future__ import annotations

import ctypes
from itertools import pairwise
from pathlib import Path
from typing import Any

import pypdfium2
import pypdfium2.raw as pdfium

from vlm2vec.world.fonts import FONTS

__all__ = ["PdfCanvas"]

_Colour = tuple[int, int, int]
_Point = tuple[float, float]
_CIRCLE = 0.5523
"""Length of a Bezier handle that makes a quarter circle of radius 1."""


class PdfCanvas:
    """A PDF with its origin at the top left of each page and y pointing down.

    Args:
        scale: Points (1/72 inch) per unit of length.
    """

    def __init__(self, *, scale: float) -> None:
        self.document = pypdfium2.PdfDocument.new()
        self.pages_begun = 0
        self._scale = scale
        self._fonts: dict[str, Any] = {}
        self._page: Any = None
        self._height = 0.0

    def new_page(self, width: float, height: float) -> None:
        """Begin a page of this size, in units."""
        self.pages_begun += 1
        self._height = height * self._scale
        self._page = self.document.new_page(width * self._scale, self._height)

    def finish_page(self) -> None:
        """End the page begun last."""
        self._page.gen_content()

    def remove_pages(self) -> None:
        """Remove all pages; fonts stay."""
        self._page = None
        for _ in range(len(self.document)):
            pdfium.FPDFPage_Delete(self.document, 0)

    def text(self, text: str, at: _Point, *, font: str, size: float, colour: _Colour) -> None:
        """Set a line of text, its left end and baseline at a point."""
        item = pdfium.FPDFPageObj_CreateTextObj(self.document, self._font(font), size * self._scale)
        encoded = (text + "\0").encode("utf-16-le")
        buffer = (ctypes.c_ushort * (len(encoded) // 2)).from_buffer_copy(encoded)
        pdfium.FPDFText_SetText(item, buffer)
        pdfium.FPDFPageObj_SetFillColor(item, *colour, 255)
        pdfium.FPDFPageObj_Transform(item, 1, 0, 0, 1, *self._point(*at))
        pdfium.FPDFPage_InsertObject(self._page, item)

    def rectangle(self, x: float, y: float, width: float, height: float, colour: _Colour) -> None:
        """Fill a rectangle whose top left corner is `(x, y)`."""
        left, bottom = self._point(x, y + height)
        item = pdfium.FPDFPageObj_CreateNewRect(left, bottom, width * self._scale, height * self._scale)
        self._fill(item, colour)

    def disc(self, x: float, y: float, radius: float, colour: _Colour) -> None:
        """Fill a circle around `(x, y)`."""
        item = pdfium.FPDFPageObj_CreateNewPath(*self._point(x + radius, y))
        handle = radius * _CIRCLE
        corners = [(1, 0), (0, 1), (-1, 0), (0, -1), (1, 0)]
        for (ax, ay), (bx, by) in pairwise(corners):
            # The handle at each end runs along the tangent, which is the direction of the other end.
            first = self._point(x + ax * radius + bx * handle, y + ay * radius + by * handle)
            second = self._point(x + bx * radius + ax * handle, y + by * radius + ay * handle)
            pdfium.FPDFPath_BezierTo(item, *first, *second, *self._point(x + bx * radius, y + by * radius))
        pdfium.FPDFPath_Close(item)
        self._fill(item, colour)

    def line(self, points: list[_Point], colour: _Colour, width: float) -> None:
        """Stroke a line through the points."""
        item = pdfium.FPDFPageObj_CreateNewPath(*self._point(*points[0]))
        for point in points[1:]:
            pdfium.FPDFPath_LineTo(item, *self._point(*point))
        pdfium.FPDFPageObj_SetStrokeColor(item, *colour, 255)
        pdfium.FPDFPageObj_SetStrokeWidth(item, width * self._scale)
        pdfium.FPDFPath_SetDrawMode(item, pdfium.FPDF_FILLMODE_NONE, True)
        pdfium.FPDFPage_InsertObject(self._page, item)

    def save(self, path: Path) -> None:
        """Write the PDF."""
        self.document.save(path)

    def _fill(self, item: Any, colour: _Colour) -> None:
        pdfium.FPDFPageObj_SetFillColor(item, *colour, 255)
        pdfium.FPDFPath_SetDrawMode(item, pdfium.FPDF_FILLMODE_WINDING, False)
        pdfium.FPDFPage_InsertObject(self._page, item)

    def _point(self, x: float, y: float) -> tuple[float, float]:
        return x * self._scale, self._height - y * self._scale

    def _font(self, name: str) -> Any:
        if name not in self._fonts:
            content = FONTS[name].read_bytes()
            buffer = (ctypes.c_ubyte * len(content)).from_buffer_copy(content)
            self._fonts[name] = pdfium.FPDFText_LoadFont(
                self.document, buffer, len(content), pdfium.FPDF_FONT_TRUETYPE, True
            )
        return self._fonts[name]
