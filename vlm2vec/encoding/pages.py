"""Documents as pages: a PDF in an input becomes one picture a page."""

from __future__ import annotations

from dataclasses import replace

from vlm2vec.errors import LimitError
from vlm2vec.inputs.parts import Document, Input, Part
from vlm2vec.media.documents import page_count
from vlm2vec.media.limits import Limits
from vlm2vec.media.pdf import parse_pages

__all__ = ["expand_documents"]


def expand_documents(item: Input, limits: Limits) -> Input:
    """The input with each document replaced by its chosen pages, one `Document` a page.

    Raises:
        LimitError: A document that does not say which pages it means has more than `limits.max_pages`.
        MediaError: The PDF cannot be read.
    """
    if not any(isinstance(part, Document) for part in item.parts):
        return item
    parts: list[Part] = []
    for part in item.parts:
        parts += _pages(part, limits) if isinstance(part, Document) else [part]
    return replace(item, parts=tuple(parts))


def _pages(document: Document, limits: Limits) -> list[Part]:
    pages = (document.pages,) if isinstance(document.pages, int) else document.pages
    if isinstance(pages, tuple) and len(pages) == 1:
        # Drawing the page says whether it is there; counting them for each page of a file would cost n^2.
        return [replace(document, pages=pages)]
    count = page_count(document.content, password=document.password, limits=limits)
    if pages is None and count > limits.max_pages:
        raise LimitError(
            f"the document has {count} pages, more than the {limits.max_pages} that go into one vector",
            fix='Say which with "pages": "1-8", or give each page a vector of its own with pdf_pages(path).',
        )
    chosen = range(1, count + 1) if pages is None else parse_pages(pages, count)
    return [replace(document, pages=(page,)) for page in chosen]
