"""Bytes of PDFs that PDFium does not open, or whose count of pages is wrong, made such that it reads them."""

from __future__ import annotations

import re

from vlm2vec.media.signature import HEAD_BYTES

__all__ = ["says_too_few_pages", "with_root", "without_counts", "without_junk"]

_OBJECT = re.compile(rb"(\d{1,9})[ \r\n\t]+(\d{1,5})[ \r\n\t]+obj\b")
_CATALOG = re.compile(rb"/Type\s*/Catalog\b")
_PAGES = re.compile(rb"/Type\s*/Pages\b")
_PAGE = re.compile(rb"/Type\s*/Page\b(?!s)")
_COUNT = re.compile(rb"/Count(?=[\s\d+-])")
_NEW = 4_000_000  # a number for one more object, near the greatest that PDFium takes (4,194,304)
_DICTIONARY = 65_536  # bytes from the start of an object in which its own entries are looked for


def without_junk(data: bytes) -> bytes:
    """The file from its header on; PDFium looks for that in the first 1,024 bytes alone."""
    return data[max(0, data.find(b"%PDF-", 0, HEAD_BYTES)) :]


def with_root(data: bytes) -> bytes | None:
    """The file with a trailer that names its catalogue; `None` where it has none that can be seen.

    PDFium finds the objects of a file without their table, but not which of them is the root: a file that is
    cut off, or whose trailer is wrong, has lost that. One without a single whole stream shows nothing.
    """
    if b"endstream" not in data:
        return None
    catalog = _last(data, _CATALOG)
    if catalog is not None:
        added = b"trailer\n<</Root %b R>>" % catalog
    else:
        pages = _last(data, _PAGES, without=b"/Parent")
        if pages is None:
            return None
        added = b"%d 0 obj\n<</Type/Catalog/Pages %b R>>\nendobj\n" % (_NEW, pages)
        added += b"trailer\n<</Root %d 0 R>>" % _NEW
    return data + b"\nendstream\nendobj\n" + added + b"\nstartxref\n0\n%%EOF\n"


def says_too_few_pages(data: bytes | memoryview, count: int) -> bool:
    """Whether more pages than `count` can be seen; some may be left over from what the file was before."""
    return sum(1 for _ in _PAGE.finditer(data)) > count


def without_counts(data: bytes) -> bytes:
    """The file, of the same length, with no counts in its tree of pages: PDFium counts them then."""
    made = bytearray(data)
    for start, end in _objects(data):
        if _PAGES.search(data, start, end):
            for found in _COUNT.finditer(data, start, end):
                made[found.start() : found.end()] = b"/Xount"
    return bytes(made)


def _last(data: bytes, what: re.Pattern[bytes], *, without: bytes | None = None) -> bytes | None:
    """Number and generation of the last object that is this."""
    number = None
    for found in _OBJECT.finditer(data):
        start, end = _span(data, found)
        if what.search(data, start, end) and (without is None or data.find(without, start, end) < 0):
            number = found[1] + b" " + found[2]
    return number


def _objects(data: bytes) -> list[tuple[int, int]]:
    return [_span(data, found) for found in _OBJECT.finditer(data)]


def _span(data: bytes, found: re.Match[bytes]) -> tuple[int, int]:
    """Where the dictionary of an object may stand: before its stream, its end, and what comes next."""
    start = found.end()
    end = min(len(data), start + _DICTIONARY)
    # What comes next first: a file may have an object in every eight bytes.
    following = _OBJECT.search(data, start, end)
    end = end if following is None else following.start()
    for mark in (b"stream", b"endobj"):
        place = data.find(mark, start, end)
        end = place if place >= 0 else end
    return start, end
