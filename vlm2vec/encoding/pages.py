"""Documents as pages: a PDF in an input becomes one picture a page."""

from __future__ import annotations

from dataclasses import replace

from vlm2vec.errors import LimitError
from vlm2vec.inputs.parts import Document, Input, Part
from vlm2vec.media.limits import Limits
from vlm2vec.media.pdf import page_sizes, parse_pages

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
    count = len(page_sizes(document.content, password=document.password, limits=limits))
    pages = list(range(1, count + 1)) if document.pages is None else parse_pages(document.pages, count)
    if document.pages is None and count > limits.max_pages:
        raise LimitError(
            f"the document has {count} pages, more than the {limits.max_pages} that go into one vector",
            fix='Say which with "pages": "1-8", or give each page a vector of its own with pdf_pages(path).',
        )
    return [replace(document, pages=(page,)) for page in pages]
