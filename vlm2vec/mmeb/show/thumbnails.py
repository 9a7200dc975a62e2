"""Small copies of pictures, clips and pages inside the page, as many as a limit allows."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from html import escape
from pathlib import Path

from PIL import Image

from vlm2vec.errors import VLM2VecError
from vlm2vec.media.image import load_image
from vlm2vec.media.sampling import uniform_indices
from vlm2vec.media.source import Source
from vlm2vec.mmeb.samples import Content

__all__ = ["Thumbnails"]

_PIXELS = 320  # longer side; cards are about half as wide, on screens of twice the density
_FRAME_PIXELS = 144
_FRAMES = 8
_GAP = 4
_QUALITY = 75


@dataclass
class Thumbnails:
    """Makes thumbnails until they have taken as many bytes as they may.

    Attributes:
        limit: Bytes of all together, as the page holds them.
        spent: Bytes so far.
        shown: How many were made.
        left_out: How many were not, since the limit was reached.
        broken: How many could not be read.
    """

    limit: int
    spent: int = 0
    shown: int = 0
    left_out: int = 0
    broken: int = 0

    def of(self, content: Content, *, alt: str, columns: int = _FRAMES) -> str:
        """The picture, clip or page of a sample as HTML; "" for one that has none.

        Args:
            content: The sample.
            alt: What to call it.
            columns: How many frames of a clip stand side by side, before the next row begins.
        """
        if not content.frames and content.image is None:
            return ""
        try:
            picture = _strip(content, columns) if content.frames else _still(content.image, _PIXELS)
        except (VLM2VecError, OSError, ValueError):
            self.broken += 1
            return '<p class="gone">cannot be read</p>'
        encoded = io.BytesIO()
        picture.save(encoded, "WEBP", quality=_QUALITY)
        data = base64.b64encode(encoded.getvalue()).decode("ascii")
        if self.spent + len(data) > self.limit:
            self.left_out += 1
            return '<p class="gone">left out: the page would get too large</p>'
        self.spent += len(data)
        self.shown += 1
        return (
            f'<img alt="{escape(alt)}" width="{picture.width}" height="{picture.height}" decoding="async" '
            f'src="data:image/webp;base64,{data}">'
        )


def _still(given: Path | bytes | None, pixels: int) -> Image.Image:
    source = Source.from_bytes(given) if isinstance(given, bytes) else Source.from_path(Path(given or ""))
    picture = Image.fromarray(load_image(source, alpha="white"))
    picture.thumbnail((pixels, pixels))
    return picture


def _strip(content: Content, columns: int) -> Image.Image:
    """Frames side by side, in order of time; what is between them is transparent."""
    chosen = [content.frames[place] for place in uniform_indices(len(content.frames), _FRAMES)]
    frames = [_still(frame, _FRAME_PIXELS) for frame in chosen]
    wide, high = (max(side) + _GAP for side in zip(*(frame.size for frame in frames), strict=True))
    rows = -(-len(frames) // columns)
    strip = Image.new("RGBA", (min(columns, len(frames)) * wide - _GAP, rows * high - _GAP))
    for place, frame in enumerate(frames):
        strip.paste(frame, (place % columns * wide, place // columns * high))
    return strip
