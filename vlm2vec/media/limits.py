"""Upper limits for one input, with defaults that a server could live with."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True)
class Limits:
    """What one input may cost. Anything above is a `LimitError` that says so.

    Attributes:
        max_image_pixels: Declared width times height of an image, a frame or a page, in pixels.
        max_image_bytes: Encoded size of an image file, in bytes.
        max_pdf_pages: Pages that a PDF may declare.
        max_pages: Pages of one document that go into one vector.
        decode_seconds: Time to decode one input, in seconds.
        readers: Processes that may read PDFs at the same time; as many as there are cores, from two to four,
            by default. 0 reads them in this process, where no limit of time or memory holds for them.
        reader_memory: Memory that one of them may take, in bytes.
    """

    max_image_pixels: int = 64_000_000
    max_image_bytes: int = 64 * 2**20
    max_pdf_pages: int = 2_000
    max_pages: int = 32
    decode_seconds: float = 20.0
    readers: int | None = None
    reader_memory: int = 2 * 2**30
