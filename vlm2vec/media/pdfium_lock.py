"""`PDFIUM_LOCK`: PDFium is not made for several threads, so whoever calls it holds this."""

from __future__ import annotations

import threading

__all__ = ["PDFIUM_LOCK"]

PDFIUM_LOCK = threading.Lock()
