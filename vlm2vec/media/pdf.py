"""Pages of PDF files, drawn at their size for the vision tower."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from vlm2vec.describe import shorten
from vlm2vec.errors import InputError, LimitError, MediaError
from vlm2vec.media.deadline import raise_if_cancelled
from vlm2vec.media.limits import Limits
from vlm2vec.media.pdf_content import enlargement, is_plain, read_content, undrawn
from vlm2vec.media.pdf_document import PDFIUM_LOCK, PdfFile, open_pdf
from vlm2vec.media.pdf_substitutes import reset_substitutes
from vlm2vec.media.pixels import PixelRules
from vlm2vec.media.resize import resize, target_size
from vlm2vec.media.source import Source
from vlm2vec.notices import warn

__all__ = ["PDFIUM_LOCK", "check_is_pdf", "page_count", "page_size_in_pixels", "parse_pages", "render_page"]

# A page's natural size is what it measures in pixels at this resolution; the pixel budget does the rest.
_DPI = 200
_POINTS_PER_INCH = 72
_NOTICES = 8  # of one page
_MOST_CHOSEN = 100_000  # pages that a text may name, which can repeat them
_MAX_SIDE = 10_000_000  # pixels at that resolution, over a kilometre: larger numbers are damage


def page_count(source: Source, *, password: str | None = None, limits: Limits | None = None) -> int:
    """Number of pages.

    Args:
        source: A PDF file or its bytes.
        password: Opens an encrypted file.
        limits: Upper limits.

    Raises:
        MediaError: It is no PDF, is broken or encrypted, or has no pages.
        LimitError: It has more than `limits.max_pdf_pages` pages.
    """
    with _document(source, password, limits or Limits()) as document:
        return document.count


def render_page(
    source: Source,
    page: int,
    rules: PixelRules,
    *,
    max_pixels: int | None = None,
    password: str | None = None,
    limits: Limits | None = None,
) -> np.ndarray:
    """Draws a page on white, with its annotations and form fields, at the size that `fit` would give it.

    Args:
        source: A PDF file or its bytes.
        page: Number of the page, the first being 1.
        rules: Pixel budget and conversion rules.
        max_pixels: Greatest area, in pixels, in place of `rules.max_pixels`.
        password: Opens an encrypted file.
        limits: Upper limits.

    Returns:
        Picture of shape (H, W, 3), uint8 RGB, H and W multiples of `rules.factor`.

    Raises:
        InputError: There is no such page.
        MediaError: It is no PDF, is broken or encrypted, or the page has no area.
        LimitError: It has too many pages, or the page would be drawn with too many pixels.

    Warns:
        VLM2VecWarning: Something of the page cannot be drawn, such as an image that is damaged or text in a
            font that is neither in the file nor on this machine; or the file was cut off.
    """
    limits = limits or Limits()
    with _document(source, password, limits, page) as document:
        size = _pixel_size(document, page, rules, max_pixels, limits)
        picture, missing = _render(document, page, *size, limits)
    if document.notices and is_plain(picture):
        raise MediaError(f"page {page} was lost: {document.notices[0]}", fix="Write the file again.")
    notices = [*document.notices, *missing]
    if len(notices) > _NOTICES:
        notices[_NOTICES - 1 :] = [f"{len(notices) - _NOTICES + 1} more of its fonts and images are missing"]
    for notice in notices:
        warn(f"{source.describe()}, page {page}: {notice}", stacklevel=2)
    return picture


def page_size_in_pixels(
    source: Source,
    page: int,
    rules: PixelRules,
    *,
    max_pixels: int | None = None,
    password: str | None = None,
    limits: Limits | None = None,
) -> tuple[int, int]:
    """Size as (height, width) of what `render_page` draws; takes the same and raises the same."""
    limits = limits or Limits()
    with _document(source, password, limits, page) as document:
        return _pixel_size(document, page, rules, max_pixels, limits)


def check_is_pdf(source: Source) -> None:
    """Raises MediaError if the first bytes are not those of a PDF."""
    if source.is_folder:
        raise MediaError("this is a folder, not a PDF", fix="Pass a PDF file.")
    signature = source.signature
    if signature is None or signature.kind != "pdf":
        what = "an unknown format" if signature is None else signature.label
        raise MediaError(f"this is not a PDF but {what}", fix="Pass a PDF file.")


def parse_pages(pages: int | str | Sequence[int], count: int) -> list[int]:
    """Page numbers of a selection, the first page being 1, in the order given.

    Args:
        pages: One number, several, or text such as "1-3,7"; "5-" goes to the end.
        count: Pages of the document.

    Raises:
        InputError: It is no selection, is empty, or names a page that is not there.

    Example:
        >>> parse_pages("1-3, 7", 10)
        [1, 2, 3, 7]
        >>> parse_pages(range(2, 4), 10)
        [2, 3]
    """
    numbers: list[Any]
    if isinstance(pages, str):
        numbers = []
        for part in pages.split(","):
            numbers += _parse_range(part, pages, count)
            if len(numbers) > _MOST_CHOSEN:
                raise InputError(
                    f"the pages {shorten(pages)!r} are more than {_MOST_CHOSEN:,}",
                    fix="Choose fewer at a time.",
                )
    elif isinstance(pages, Sequence):
        numbers = list(pages)
    else:
        numbers = [pages]
    for number in numbers:
        if isinstance(number, bool) or not hasattr(number, "__index__"):
            raise InputError(f"the page {number!r} is no whole number", fix='Pass 5, [1, 2] or "1-3,7".')
        if not 1 <= number <= count:
            raise _no_such_page(int(number), count)
    if not numbers:
        raise InputError("no page is chosen", fix="Leave pages out for all of them.")
    return [int(number) for number in numbers]


def _parse_range(part: str, whole: str, count: int) -> Sequence[int]:
    match = re.fullmatch(r"\s*(\d{1,9})\s*(?:(-)\s*(\d{1,9})?\s*)?", part)
    if match is None:
        raise InputError(f"the pages {whole[:60]!r} are no selection", fix='Write for example "1-3,7".')
    first = int(match[1])
    last = first if match[2] is None else int(match[3]) if match[3] else count
    for number in (first, last):
        # checked here, so that no huge range is ever counted out
        if not 1 <= number <= count:
            raise _no_such_page(number, count)
    if last < first:
        raise InputError(f"the pages {part.strip()!r} run backwards", fix=f'Write "{last}-{first}".')
    return range(first, last + 1)


def _no_such_page(page: int, count: int) -> InputError:
    what = "1 page" if count == 1 else f"{count} pages"
    return InputError(f"there is no page {page}: the document has {what}", fix="Pages count from 1.")


def _pixel_size(
    document: PdfFile, page: int, rules: PixelRules, max_pixels: int | None, limits: Limits
) -> tuple[int, int]:
    budget = rules.max_pixels if max_pixels is None else max_pixels
    height, width = document.size(page, least_area=budget * (_POINTS_PER_INCH / _DPI) ** 2)
    size = target_size(*_natural_size(height, width, page), rules, max_pixels=max_pixels)
    if size[0] * size[1] > limits.max_image_pixels:
        raise LimitError(
            f"page {page} is drawn at {size[1]} x {size[0]} pixels, more than {limits.max_image_pixels:,}",
            fix="Lower max_pixels, or raise Limits.max_image_pixels.",
        )
    return size


def _natural_size(height: float, width: float, page: int) -> tuple[int, int]:
    """Pixels of a page at 200 dpi, as (height, width)."""
    sides = [side * _DPI / _POINTS_PER_INCH for side in (height, width)]
    if not 0.5 < min(sides) <= max(sides) < _MAX_SIDE:
        raise MediaError(f"page {page} is {width:g} x {height:g} points", fix="Leave it out with pages=.")
    return round(sides[0]), round(sides[1])


@contextmanager
def _document(
    source: Source, password: str | None, limits: Limits, page: int | None = None
) -> Iterator[PdfFile]:
    """An open document that has this page, with PDFium to ourselves until the block ends."""
    check_is_pdf(source)
    with PDFIUM_LOCK:
        raise_if_cancelled()  # others may have stood before us
        with open_pdf(source, password) as document:
            count = document.count
            if page is None or not page <= count <= limits.max_pdf_pages:
                # It goes through the whole file, so only where the file's own count must be believed.
                count = document.recount(source)
            if count > limits.max_pdf_pages:
                raise LimitError(
                    f"the PDF has {count:,} pages, more than {limits.max_pdf_pages:,}",
                    fix="Split it, or raise Limits.max_pdf_pages.",
                )
            if page is not None and not 1 <= page <= count:
                raise _no_such_page(page, count)
            yield document


def _render(
    document: PdfFile, number: int, height: int, width: int, limits: Limits
) -> tuple[np.ndarray, list[str]]:
    """The picture of a page, and what is missing in it."""
    reset_substitutes()
    with document.form() as form, document.page(number, form) as page:
        content = read_content(page)
        times = enlargement(page, content, height, width)
        if height * width * times**2 > limits.max_image_pixels:
            times = 1
        picture = _draw(page, form, height * times, width * times)
        if times > 1:
            picture = np.ascontiguousarray(resize(picture, height, width))
        return picture, undrawn(page, content, picture, times=times)


def _draw(page: Any, form: Any, height: int, width: int) -> np.ndarray:
    import pypdfium2
    import pypdfium2.raw as pdfium

    bitmap = pypdfium2.PdfBitmap.new_native(width, height, pdfium.FPDFBitmap_BGRx, rev_byteorder=True)
    bitmap.fill_rect((255, 255, 255, 255), 0, 0, width, height)
    where = (bitmap, page, 0, 0, width, height, 0, pdfium.FPDF_ANNOT | pdfium.FPDF_REVERSE_BYTE_ORDER)
    pdfium.FPDF_RenderPageBitmap(*where)
    if form:
        pdfium.FPDF_FFLDraw(form, *where)
    # A copy, since the fourth byte holds nothing.
    return np.ascontiguousarray(bitmap.to_numpy()[:, :, :3])
