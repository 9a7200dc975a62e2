"""`Thumbnails`: small pictures of what was found, drawn when they are asked for, and kept for a while."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from vlm2vec.errors import VLM2VecError
from vlm2vec.index.search import Hit
from vlm2vec.media.documents import render_page
from vlm2vec.media.image import load_image
from vlm2vec.media.limits import Limits
from vlm2vec.media.pixels import PixelRules
from vlm2vec.media.sampling import Sampling
from vlm2vec.media.source import Source
from vlm2vec.media.video import read_frames
from vlm2vec.serve.stored_file import FileGoneError, StoredFile

__all__ = ["FRAMES", "SIZES", "Thumbnails"]

SIZES = (240, 480, 960, 1600)
"""Longer sides that are drawn, in pixels: any other is taken for the next one."""

FRAMES = 8
"""Of a moment at most, as an animation."""

_MAX_BYTES = 64 * 2**20  # that are kept
_SECONDS = 10.0  # of the processor, for one
_QUALITY, _METHOD = 80, 2
_FRAME_MILLISECONDS = 260


@dataclass(frozen=True)
class _Key:
    path: Path
    version: tuple[int, ...]
    page: int | None
    start: float | None
    end: float | None
    size: int
    frames: int


class Thumbnails:
    """Draws pictures, pages of PDFs and frames of videos, each once while it is kept.

    Any number of threads may ask; how many draw at a time is up to the caller.

    Args:
        limits: What one file may cost; a thumbnail never works longer than ten seconds.
        max_bytes: Of the thumbnails that are kept in memory.
    """

    def __init__(self, limits: Limits | None = None, *, max_bytes: int = _MAX_BYTES) -> None:
        limits = limits or Limits()
        self._limits = replace(limits, decode_seconds=min(limits.decode_seconds, _SECONDS))
        self._max_bytes = max_bytes
        self._kept: OrderedDict[_Key, bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def of(self, hit: Hit, stored: StoredFile, *, size: int, frames: int = 1) -> bytes:
        """A thumbnail as WebP.

        Args:
            hit: Which page or moment of the file.
            stored: The file.
            size: Longer side in pixels at most.
            frames: More than one makes an animation of a moment.

        Raises:
            FileGoneError: The file was replaced meanwhile.
            VLM2VecError: It cannot be drawn.
        """
        side = next((known for known in SIZES if size <= known), SIZES[-1])
        frames = min(frames, FRAMES) if hit.kind == "video" else 1
        key = _Key(stored.path, stored.version, hit.page, hit.start, hit.end, side, frames)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        pictures = [Image.fromarray(pixels) for pixels in self._pixels(hit, stored, side, frames)]
        if not stored.is_still_there():  # readers open by the path
            raise FileGoneError
        drawn = _webp(pictures, side)
        self._keep(key, drawn)
        return drawn

    def _pixels(self, hit: Hit, stored: StoredFile, side: int, frames: int) -> list[Any]:
        source = Source.from_path(stored.path)
        if hit.kind == "image":
            return [load_image(source, alpha="white", limits=self._limits)]
        if hit.kind == "pdf":
            rules = PixelRules(min_pixels=28 * 28, max_pixels=side**2)
            return [render_page(source, hit.page or 1, rules, limits=self._limits)]
        if hit.kind == "video":
            sampling = Sampling(frames, start=hit.start or None, end=hit.end)
            return list(read_frames(source, sampling, alpha="white", limits=self._limits).frames)
        raise VLM2VecError("there is nothing to draw of a text")

    def _keep(self, key: _Key, drawn: bytes) -> None:
        with self._lock:
            if key in self._kept or len(drawn) > self._max_bytes:
                return
            self._kept[key] = drawn
            self._bytes += len(drawn)
            while self._bytes > self._max_bytes:
                _, dropped = self._kept.popitem(last=False)
                self._bytes -= len(dropped)


def _webp(pictures: list[Image.Image], side: int) -> bytes:
    for picture in pictures:
        picture.thumbnail((side, side))
    first, *rest = pictures
    encoded = io.BytesIO()
    options: dict[str, Any] = {"quality": _QUALITY, "method": _METHOD}
    if rest:
        options |= {"save_all": True, "append_images": rest, "duration": _FRAME_MILLISECONDS, "loop": 0}
    first.save(encoded, "WEBP", **options)
    return encoded.getvalue()
