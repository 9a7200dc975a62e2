"""`pdf_pages`: every page of a PDF as an input of its own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlm2vec.describe import describe_media, shorten
from vlm2vec.errors import LimitError, MediaError, VLM2VecError
from vlm2vec.inputs.options import check_option
from vlm2vec.inputs.sources import kind_of, source_of
from vlm2vec.media.limits import Limits
from vlm2vec.media.source import Source, url_refusal

__all__ = ["PdfPage", "counted_pages", "pdf_pages"]


@dataclass(frozen=True, repr=False)
class PdfPage:
    """One page of a PDF, drawn when it is encoded and not before. Made by `pdf_pages`.

    Attributes:
        source: The file or bytes, shared by all pages of the document.
        page: The page, the first being 1.
        password: Opens an encrypted file.
        max_pixels: Greatest area of the page, in pixels.
        error: What was wrong with the file when its pages were to be counted: encoding it raises that.
    """

    source: Source
    page: int
    password: str | None = field(default=None, kw_only=True)
    max_pixels: int | None = field(default=None, kw_only=True)
    error: VLM2VecError | None = field(default=None, kw_only=True, compare=False)

    @property
    def path(self) -> Path | None:
        """Where the file lies; `None` for bytes."""
        return self.source.path

    def __str__(self) -> str:
        name = self.source.describe() if self.source.path is None else self.source.path.name
        return f"{shorten(name, 40)}, {'broken' if self.error else f'page {self.page}'}"

    def __repr__(self) -> str:
        return f"PdfPage({self})"


def pdf_pages(
    path: str | os.PathLike[str] | bytes,
    pages: int | str | Sequence[int] | None = None,
    *,
    password: str | None = None,
    max_pixels: int | None = None,
    limits: Limits | None = None,
) -> list[PdfPage]:
    """A list with one input per page, so that every page gets a vector of its own.

    The file is opened to count its pages; each page is drawn when it is encoded. A file that cannot be read
    is one input that fails when it is encoded, so that `on_error` decides about it as about any other.

    Args:
        path: The file (here a string is a path), or its bytes.
        pages: Which pages, the first being 1: an int, a list of ints, or a string such as "1-3,7"; all by
            default.
        password: Opens an encrypted file.
        max_pixels: Greatest area of a page, in pixels; the model's own budget when left out.
        limits: How many pages the file may have; those of the model count when it is encoded.

    Raises:
        InputError: `path` is something else, or `pages` is no selection of pages that the file has.

    Example:
        >>> import io, PIL.Image
        >>> file, page = io.BytesIO(), PIL.Image.new("RGB", (100, 140), "white")
        >>> page.save(file, "PDF", save_all=True, append_images=[page, page])
        >>> pdf_pages(file.getvalue(), pages="2-3")
        [PdfPage(... bytes of PDF, page 2), PdfPage(... bytes of PDF, page 3)]
    """
    selection = check_option("pages", pages)
    password = check_option("password", password)
    max_pixels = check_option("max_pixels", max_pixels)
    # Bytes as they are: of none, the page fails as any other.
    source = Source(data=path) if isinstance(path, bytes) else source_of(path, key="pdf")
    try:
        return _counted(source, path, selection, password, max_pixels, limits=limits)
    except (MediaError, LimitError) as error:
        return [PdfPage(source, 1, password=password, max_pixels=max_pixels, error=error)]


def counted_pages(path: Path, limits: Limits | None = None) -> list[PdfPage]:
    """Every page of a PDF, as `pdf_pages` gives them.

    Raises:
        MediaError: The file is missing, broken, encrypted, or not a PDF.
        LimitError: The file has more pages than `Limits.max_pdf_pages`.
    """
    return _counted(source_of(path, key="pdf"), path, None, None, None, limits=limits)


def _counted(
    source: Source,
    path: Any,
    selection: Any,
    password: str | None,
    max_pixels: int | None,
    *,
    limits: Limits | None,
) -> list[PdfPage]:
    from vlm2vec.media.documents import page_count
    from vlm2vec.media.pdf import parse_pages

    try:
        if source.url is not None:
            raise url_refusal()
        source.check_exists()
        kind = kind_of(source, path)
        if kind != "pdf":
            raise MediaError(f"this is no PDF but of the kind {kind}", fix="Pass the path of a PDF.")
        count = page_count(source, password=password, limits=limits or Limits())
        chosen = range(1, count + 1) if selection is None else parse_pages(selection, count)
    except VLM2VecError as error:
        error.at(None, describe_media(path))
        raise
    return [PdfPage(source, page, password=password, max_pixels=max_pixels) for page in chosen]
