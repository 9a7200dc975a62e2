"""A file in segments: what becomes one row each, with the input that its vector is of."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vlm2vec.errors import MediaError, VLM2VecWarning
from vlm2vec.index.passages import paragraphs, passages
from vlm2vec.index.settings import IndexSettings
from vlm2vec.inputs.parts import Clip, Document, Image, Input, Part, Text
from vlm2vec.media import probe
from vlm2vec.media.limits import Limits
from vlm2vec.media.source import Source

__all__ = ["MEDIA_SUFFIXES", "Segment", "clock", "is_ours", "segments_of"]

_IMAGES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"}
_VIDEOS = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi"}
TEXT_SUFFIXES = {".txt", ".md"}
MEDIA_SUFFIXES = _IMAGES | _VIDEOS | {".pdf"}
"""A file called like this that is something else is broken; any other unknown file is just not ours."""

# A last piece of a video that is shorter than this share of a segment belongs to the one before.
_SHORT = 0.5
_INSTANT = 1e-3  # seconds


@dataclass(frozen=True)
class Segment:
    """A part of a file that has a row of its own.

    Attributes:
        kind: "image", "video", "pdf" or "text".
        content: What `encode` takes.
        part: Number within the file, the first being 1.
        page: Of a PDF.
        start: Of a piece of a video, in seconds; `None` for the whole.
        end: The same.
        text: Of a passage.
    """

    kind: str
    content: Input
    part: int = 1
    page: int | None = None
    start: float | None = None
    end: float | None = None
    text: str | None = None

    @property
    def name(self) -> str:
        """Which part of the file it is, in words; empty for the whole."""
        if self.page is not None:
            return f"page {self.page}"
        if self.start is not None and self.end is not None:
            return f"{clock(self.start)}-{clock(self.end)}"
        return f"passage {self.part}" if self.kind == "text" else ""

    @property
    def fragment(self) -> str:
        """The same behind a path, as addresses have it."""
        if self.page is not None:
            return f"#page={self.page}"
        if self.start is not None:
            return f"#t={self.start:g},{self.end:g}"
        return f"#passage={self.part}" if self.kind == "text" else ""


def is_ours(path: Path) -> bool:
    """Whether a file is, or claims by its name to be, of a kind that can be embedded.

    Example:
        >>> is_ours(Path("broken.jpg")), is_ours(Path(__file__))
        (True, False)
    """
    if path.suffix.lower() in MEDIA_SUFFIXES | TEXT_SUFFIXES:
        return True
    with suppress(MediaError):  # what is empty is of no kind
        signature = Source.from_path(path).signature
        return signature is not None and signature.kind is not None
    return False


def clock(seconds: float) -> str:
    """A moment as players show it.

    Example:
        >>> clock(75.4), clock(3675)
        ('1:15', '1:01:15')
    """
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def segments_of(
    path: Path, settings: IndexSettings, *, limits: Limits, count: Callable[[str], int], context: int
) -> Iterator[Segment]:
    """The segments of a file, in order, found as they are asked for.

    Args:
        path: The file.
        settings: Of the index.
        limits: What one input may cost.
        count: Tokens of a text.
        context: Tokens that the model's context holds beside the prompt.

    Raises:
        VLM2VecError: It cannot be read, or is of no kind that can be embedded.
    """
    source = Source.from_path(path)
    kind = probe.kind(source)
    if kind == "image":
        yield Segment(kind, _input(Image(source, max_pixels=settings.max_pixels)))
    elif kind == "pdf":
        from vlm2vec.media.documents import page_count

        for page in range(1, page_count(source, limits=limits) + 1):
            document = Document(source, pages=page, max_pixels=settings.max_pixels)
            yield Segment(kind, _input(document), part=page, page=page)
    elif kind == "video":
        clip = Clip(source, num_frames=settings.num_frames, max_pixels=settings.max_pixels)
        spans = _spans(source, settings.segment_seconds, limits)
        for part, (start, end) in enumerate(spans, start=1):
            # The frame on screen at the end is the first of what follows.
            until = None if part == len(spans) else end - _INSTANT
            piece = clip if len(spans) == 1 else replace(clip, start=start, end=until)
            yield Segment(kind, _input(piece), part=part, start=start, end=end)
    else:
        most = min(settings.passage_tokens, context)
        for part, text in enumerate(passages(paragraphs(path), count, most), start=1):
            yield Segment(kind, _input(Text(text)), part=part, text=text)


def _input(part: Part) -> Input:
    return Input((part,))


def _spans(source: Source, seconds: float, limits: Limits) -> list[tuple[Any, Any]]:
    """Starts and ends of the pieces of a clip; of an animation one piece without."""
    duration = _duration(source, limits)
    if duration is None:
        return [(None, None)]
    starts = [number * seconds for number in range(int(duration // seconds) + 1)]
    if len(starts) > 1 and duration - starts[-1] < seconds * _SHORT:
        starts.pop()
    return list(zip(starts, [*starts[1:], round(duration, 3)], strict=True))


def _duration(source: Source, limits: Limits) -> float | None:
    """Length of a clip in seconds; `None` for an animation, which is one piece however long."""
    from vlm2vec.media.animation import is_animation
    from vlm2vec.media.container import ClipFile
    from vlm2vec.media.deadline import Deadline

    if is_animation(source):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VLM2VecWarning)
        with ClipFile(
            source, limits=limits, deadline=Deadline(limits.decode_seconds, "reading the video")
        ) as clip:
            duration = clip.index(keep=True).duration("clock")
    if not duration > 0:
        raise MediaError("the video has no length", fix="Write the file again.")
    return duration
