"""Upper limits for one input, with defaults that a server could live with."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vlm2vec.arguments import is_finite, is_number, is_whole
from vlm2vec.describe import literal
from vlm2vec.errors import InputError

__all__ = ["Limits"]


@dataclass(frozen=True)
class Limits:
    """What one input may cost. Anything above is a `LimitError` that says so.

    Attributes:
        max_image_pixels: Declared width times height of an image, a frame or a page, in pixels. Neither side
            of an image may have more than a 64th of that, or 65,535, whichever is more.
        max_image_bytes: Encoded size of an image file, in bytes.
        max_pdf_pages: Pages that a PDF may declare.
        max_pages: Pages of one document that go into one vector.
        decode_seconds: What the processor may work on decoding one picture, clip or page, in seconds. What
            waits for a disk or for other work costs nothing, until ten times as long, and at least five
            minutes, have passed.
        readers: Processes that may read PDFs at the same time; as many as there are cores, from two to four,
            by default. 0 reads them in this process, where no limit of time or memory holds for them.
        reader_memory: Memory that one of them may take, in bytes.

    Raises:
        InputError: One of them is no number, or limits nothing.
    """

    max_image_pixels: int = 64_000_000
    max_image_bytes: int = 64 * 2**20
    max_pdf_pages: int = 2_000
    max_pages: int = 32
    decode_seconds: float = 20.0
    readers: int | None = None
    reader_memory: int = 2 * 2**30

    def __post_init__(self) -> None:
        seconds = self.decode_seconds
        if not (is_number(seconds) and seconds > 0 and (is_finite(seconds) or seconds == math.inf)):
            self._refuse("decode_seconds", "a number of seconds above 0")
        if self.readers is not None and not is_whole(self.readers, 0):
            self._refuse("readers", "a whole number, 0 or more, or None")
        for name in ("max_image_pixels", "max_image_bytes", "max_pdf_pages", "max_pages", "reader_memory"):
            if not is_whole(getattr(self, name), 1):
                self._refuse(name, "a whole number above 0")

    def _refuse(self, name: str, what: str) -> None:
        raise InputError(f"{name} is {literal(getattr(self, name))}", fix=f"Let Limits.{name} be {what}.")
