"""PDFs, read in processes of their own, which can be stopped whatever a file does to them.

The same functions as in `vlm2vec.media.pdf`, which read in the process that they run in: those are taken
where readers are turned off by `Limits.readers`, or none can be started.
"""

from __future__ import annotations

import numpy as np

from vlm2vec.media import pdf
from vlm2vec.media.limits import Limits
from vlm2vec.media.pixels import PixelRules
from vlm2vec.media.reader_messages import Request
from vlm2vec.media.reader_process import Reply
from vlm2vec.media.readers import NoReadersError, readers
from vlm2vec.media.source import Source
from vlm2vec.notices import warn

__all__ = ["page_count", "page_size_in_pixels", "render_page"]

_told: list[str] = []


def page_count(source: Source, *, password: str | None = None, limits: Limits | None = None) -> int:
    """Number of pages; takes, raises and warns of the same as that of `vlm2vec.media.pdf`.

    Raises:
        LimitError: Opening it takes longer, or more memory, than `limits` allow.
    """
    limits = limits or Limits()
    reply = _read(Request("count", limits, password), source)
    if reply is None:
        return pdf.page_count(source, password=password, limits=limits)
    return reply.numbers[0]


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
    reply = _read(Request("size", limits, password, page, rules, max_pixels), source)
    if reply is None:
        return pdf.page_size_in_pixels(
            source, page, rules, max_pixels=max_pixels, password=password, limits=limits
        )
    height, width = reply.numbers
    return height, width


def render_page(
    source: Source,
    page: int,
    rules: PixelRules,
    *,
    max_pixels: int | None = None,
    password: str | None = None,
    limits: Limits | None = None,
) -> np.ndarray:
    """Draws a page; takes, gives, raises and warns of the same as that of `vlm2vec.media.pdf`.

    Returns:
        Picture of shape (H, W, 3), uint8 RGB, H and W multiples of `rules.factor`.

    Raises:
        LimitError: Drawing it takes longer, or more memory, than `limits` allow.
    """
    limits = limits or Limits()
    reply = _read(Request("picture", limits, password, page, rules, max_pixels), source)
    if reply is None:
        return pdf.render_page(source, page, rules, max_pixels=max_pixels, password=password, limits=limits)
    assert reply.picture is not None  # noqa: S101  # a reply without one has an error
    return reply.picture


def _read(request: Request, source: Source) -> Reply | None:
    """What a reader finds; `None` where this process must read the file itself."""
    if request.limits.readers == 0:
        return None
    pdf.check_is_pdf(source)  # what is none need not be sent
    try:
        reply = readers().ask(request, source)
    except NoReadersError as reason:
        if not _told:
            _told.append(str(reason))
            warn(
                f"PDFs are read in this process, where no limit of time or memory holds: {reason}. "
                "Limits(readers=0) asks for that without this warning"
            )
        return None
    for text in reply.warnings:
        warn(text)  # from this one line, so that Python's filters show each text once
    if reply.error is not None:
        raise reply.error
    return reply
