"""An open PDF, by PDFium's own calls: every document and page is closed, whatever happens in between."""

from __future__ import annotations

import ctypes
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlm2vec.errors import MediaError
from vlm2vec.fork import free_after_fork
from vlm2vec.media.pdf_repair import says_too_few_pages, with_root, without_counts, without_junk
from vlm2vec.media.source import Source
from vlm2vec.notices import warn

__all__ = ["PDFIUM_LOCK", "PdfFile", "open_pdf"]

PDFIUM_LOCK = free_after_fork(threading.Lock())
"""PDFium is not made for several threads, so whoever calls it holds this."""

# What PDFium's error codes mean (fpdfview.h), in the words of pypdfium2.
_REASONS = {2: "File access error", 3: "Data format error", 6: "Page not found or content error"}
_FORMAT, _PASSWORD, _SECURITY = 3, 4, 5
_USER_UNIT = re.compile(rb"/UserUnit\s+([\d.]+)")
_COPIED = 65_536  # bytes of a copied page in which its own entries are looked for


@dataclass
class PdfFile:
    """An open document.

    Attributes:
        handle: PDFium's.
        content: Its path, or its bytes, which PDFium reads from until it is closed.
        password: Opens it.
        count: Pages that it says it has.
        notices: What was mended to open it and may have been lost.
    """

    handle: Any
    content: Path | bytes
    password: str | None
    count: int
    notices: list[str] = field(default_factory=list)

    def recount(self, source: Source) -> int:
        """The pages that there are, which a wrong /Count hides or invents; they can be loaded then.

        Warns:
            VLM2VecWarning: There are fewer than the file says.
        """
        if not self._has_page(self.count):
            said, self.count = self.count, _last_true(self._has_page, self.count)
            warn(f"{source.describe()}: it says that it has {said:,} pages, and {self.count:,} are there")
        elif says_too_few_pages(source.read(), self.count):
            data = without_counts(source.read())
            other = _load(data, self.password)
            if other and (count := _count(other)) > self.count:
                self.handle, other = other, self.handle
                self.content, self.count = data, count
            if other:
                _close(other)
        return self.count

    def size(self, page: int, *, least_area: float) -> tuple[float, float]:
        """Height and width of a page in points.

        Args:
            page: The page, the first being 1.
            least_area: Of a page below this, in square points, it is looked up in which unit it is measured.

        Raises:
            MediaError: It cannot be loaded.
        """
        import pypdfium2.raw as pdfium

        found = pdfium.FS_SIZEF()
        if not pdfium.FPDF_GetPageSizeByIndexF(self.handle, page - 1, found):
            raise _unreadable(page)
        height, width = found.height, found.width
        if not (height and width):
            with self.page(page) as raw:
                height, width = pdfium.FPDF_GetPageHeightF(raw), pdfium.FPDF_GetPageWidthF(raw)
        if 0 < height * width < least_area:
            unit = self._user_unit(page)
            height, width = height * unit, width * unit
        return height, width

    @contextmanager
    def page(self, page: int, form: Any = None) -> Iterator[Any]:
        """A page, the first being 1, as PDFium's handle.

        Raises:
            MediaError: It cannot be loaded.
        """
        import pypdfium2.raw as pdfium

        raw = pdfium.FPDF_LoadPage(self.handle, page - 1)
        if not raw:
            raise _unreadable(page)
        try:
            if not (pdfium.FPDF_GetPageWidthF(raw) and pdfium.FPDF_GetPageHeightF(raw)):
                # A crop box beside the media box; without one the media box counts.
                pdfium.FPDFPage_SetCropBox(raw, 0, 0, 0, 0)
            if form:
                pdfium.FORM_OnAfterLoadPage(raw, form)
            yield raw
        finally:
            if form:
                pdfium.FORM_OnBeforeClosePage(raw, form)
            pdfium.FPDF_ClosePage(raw)

    @contextmanager
    def form(self) -> Iterator[Any]:
        """What draws form fields, whether or not the catalogue has a form; before a page is loaded."""
        import pypdfium2.raw as pdfium

        info = pdfium.FPDF_FORMFILLINFO(version=2)
        form = pdfium.FPDFDOC_InitFormFillEnvironment(self.handle, info)
        try:
            yield form
        finally:
            if form:
                pdfium.FPDFDOC_ExitFormFillEnvironment(form)

    def close(self) -> None:
        """Let go of the document."""
        _close(self.handle)

    def _has_page(self, page: int) -> bool:
        import pypdfium2.raw as pdfium

        return bool(pdfium.FPDF_GetPageSizeByIndexF(self.handle, page - 1, pdfium.FS_SIZEF()))

    def _user_unit(self, page: int) -> float:
        """Points of 1/72 inch per unit (PDF 1.7, table 30), which PDFium leaves out: read from a copy."""
        import pypdfium2.raw as pdfium

        copy = pdfium.FPDF_CreateNewDocument()
        written = bytearray()

        def write(_: Any, data: Any, size: int) -> int:
            written.extend(ctypes.string_at(data, size))
            return int(len(written) < _COPIED)

        try:
            if not pdfium.FPDF_ImportPages(copy, self.handle, str(page).encode(), 0):
                return 1.0
            writer = pdfium.FPDF_FILEWRITE(version=1)
            writer.WriteBlock = type(writer.WriteBlock)(write)
            pdfium.FPDF_SaveAsCopy(copy, writer, pdfium.FPDF_NO_INCREMENTAL)
        finally:
            _close(copy)
        found = _USER_UNIT.search(written)
        with suppress(ValueError):
            return (float(found[1]) if found else 0) or 1.0  # none is 0 wide
        return 1.0


@contextmanager
def open_pdf(source: Source, password: str | None) -> Iterator[PdfFile]:
    """An open PDF; the caller holds `PDFIUM_LOCK`.

    Raises:
        MediaError: It is broken or encrypted, or has no pages.
    """
    import pypdfium2.raw as pdfium

    content = source.path or source.read()
    handle = _load(content, password)
    notices: list[str] = []
    if not handle:
        code = pdfium.FPDF_GetLastError()
        if code == _FORMAT:
            content, handle, notices = _mended(source.read(), password)
        if not handle:
            raise _opening_error(code, password)
    file = PdfFile(handle, content, password, _count(handle), notices)
    try:
        if file.count < 1:
            raise MediaError("the PDF has no pages", fix="Pass one that has.")
        yield file
    finally:
        file.close()


def _mended(data: bytes, password: str | None) -> tuple[bytes, Any, list[str]]:
    """The bytes with what PDFium needs, the document (or nothing), and what may have been lost."""
    data = without_junk(data)
    handle = _load(data, password)
    if handle:
        return data, handle, []
    rooted = None if b"/Encrypt" in data else with_root(data)
    if rooted is not None and (handle := _load(rooted, password)):
        return rooted, handle, ["the PDF is damaged or cut off, and parts of it may be missing"]
    return data, None, []


def _load(content: Path | bytes, password: str | None) -> Any:
    """PDFium's document; a path is read as it is needed."""
    import pypdfium2.raw as pdfium

    secret = None if password is None else password.encode() + b"\0"
    if isinstance(content, bytes):
        return pdfium.FPDF_LoadMemDocument64(content, len(content), secret)
    return pdfium.FPDF_LoadDocument(os.fsencode(content) + b"\0", secret)


def _close(handle: Any) -> None:
    import pypdfium2.raw as pdfium

    pdfium.FPDF_CloseDocument(handle)


def _count(handle: Any) -> int:
    import pypdfium2.raw as pdfium

    count: int = pdfium.FPDF_GetPageCount(handle)
    return count


def _last_true(holds: Callable[[int], bool], beyond: int) -> int:
    """The greatest number below `beyond` that holds, where all below it do; 1 where none does."""
    low, high = 1, beyond
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _unreadable(page: int) -> MediaError:
    return MediaError(f"page {page} of the PDF cannot be read", fix="Write the file again.")


def _opening_error(code: int, password: str | None) -> MediaError:
    if code == _PASSWORD:
        if password is None:
            return MediaError(
                "the PDF is encrypted",
                fix='Pass its password: {"pdf": path, "password": ...} or pdf_pages(path, password=...).',
            )
        return MediaError("the PDF is encrypted, and the password is wrong", fix="Check the password.")
    if code == _SECURITY:
        return MediaError("the PDF is encrypted in a way PDFium does not know", fix="Decrypt it first.")
    reason = _REASONS.get(code, "Unknown error")
    return MediaError(
        f"the PDF cannot be opened (Failed to load document (PDFium: {reason}))",
        fix="It is damaged, cut off, or has no pages.",
    )
