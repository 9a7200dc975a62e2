"""What a caller may pass as an image, a video or a PDF, and the part it becomes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import PIL.Image

from vlm2vec.arrays import is_array, to_array
from vlm2vec.describe import describe_media
from vlm2vec.errors import InputError, VLM2VecError
from vlm2vec.inputs.parts import Clip, Document, Frame, Image, Part, Text
from vlm2vec.inputs.pdf import PdfPage
from vlm2vec.inputs.sources import BYTES, is_arrow_media, kind_of, mismatch, read_text, source_of
from vlm2vec.inputs.video import Video
from vlm2vec.media.source import Source

__all__ = ["MEDIA_KEYS", "is_media", "bare_part", "keyed_parts", "opened", "check_timeless"]

MEDIA_KEYS = ("image", "images", "video", "pdf")

_BARE = "file"  # what stands in the place of a key at a file that no key names


def is_media(value: object) -> bool:
    """Whether `value` is media by its type alone, wherever it stands. A string never is."""
    known = (os.PathLike, PIL.Image.Image, Video, PdfPage, *BYTES)
    return is_array(value) or isinstance(value, known) or is_arrow_media(value)


def bare_part(value: Any) -> Part:
    """The part for media that no key names: its kind is known by its shape or its first bytes.

    A file is a clip, which can have any option of a file, until it is `opened`.

    Raises:
        InputError: It has no kind that can be embedded.
        MediaError: The bytes are of an unknown format.
    """
    if isinstance(value, PdfPage):
        return _page(value)
    if isinstance(value, Video):
        return _clip(value)
    if isinstance(value, PIL.Image.Image):
        return Image(value)
    if is_array(value):
        array = to_array(value)
        if array.ndim not in (2, 3, 4):
            raise InputError(
                f"an array of {array.ndim} dimensions is neither an image nor a video",
                fix="Pass an image of shape (H, W, 3) or (H, W), or frames of shape (T, H, W, 3).",
            )
        return Clip(array) if array.ndim == 4 else Image(array)
    source = source_of(value)
    clip = Clip(replace(source, key=_BARE))
    return clip if source.data is None else _of_its_kind(clip, source, value)


def keyed_parts(key: str, value: Any) -> list[Part]:
    """The parts for the value under a media key of a dict.

    Args:
        key: One of `MEDIA_KEYS`.
        value: One item, or a list of items. Under "video" a list of pictures is one clip.

    Returns:
        Parts whose files and URLs are taken to be what the key says, until they are `opened`.

    Raises:
        InputError: The value, or one of the list, is not what the key says, or there is none.
        MediaError: Bytes are of an unknown format.
    """
    if isinstance(value, (list, tuple)) and not value:
        raise InputError(f'the list under "{key}" is empty', fix=f'Leave "{key}" out, or fill it.')
    if key == "video":
        if _is_list(value) and not _is_frames(value):
            return [_clip(item) for item in value]
        return [_clip(value)]
    item = _document if key == "pdf" else _image
    return [item(entry, key) for entry in (value if _is_list(value) else [value])]


def opened(part: Part, *, fetch: Callable[[Source], object] | None = None) -> Part:
    """The part once its files were looked at: each is what its key says, and a bare file is what it is.

    Args:
        part: As `bare_part` or `keyed_parts` gives it; what was opened already is left as it is.
        fetch: Fetches what a URL leads to, which is looked at then; without, URLs are left as they are.

    Raises:
        InputError: A file is not what its key says.
        MediaError: A file is missing or of an unknown format.
        LimitError: What a URL leads to is too large, or takes too long.
    """
    if isinstance(part, Text):
        return part

    def looked_at(content: Any, wanted: str) -> Any:
        if not isinstance(content, Source) or content.key is None or (content.url and fetch is None):
            return content
        kind = _kind_of_file(content, fetch, still=wanted == "image")
        if kind != wanted:
            raise mismatch(content, kind, content.key)
        return replace(content, key=None)

    content = part.content
    if isinstance(content, tuple):
        return replace(cast("Clip", part), content=tuple(looked_at(frame, "image") for frame in content))
    if isinstance(part, Clip) and isinstance(content, Source) and content.key == _BARE:
        _kind_of_file(content, fetch)
        return _of_its_kind(part, replace(content, key=None), content.shown or content.path)
    if isinstance(part, Image):
        return replace(part, content=looked_at(content, "image"))
    if isinstance(part, Clip):
        return replace(part, content=looked_at(content, "video"))
    return replace(part, content=looked_at(content, "pdf"))


def _kind_of_file(source: Source, fetch: Callable[[Source], object] | None, *, still: bool = False) -> str:
    """The kind of a file, or of what a URL leads to."""
    name = (source.shown or str(source.path)) if source.url is None else source.url
    try:
        source.check_exists()
        if source.url is not None and fetch is not None:
            fetch(source)
    except VLM2VecError as error:
        error.source = describe_media(name)
        raise
    return kind_of(source, name, still=still)


def _of_its_kind(clip: Clip, source: Source, value: object) -> Part:
    """The part for what no key names; of the options of a clip, another kind has none."""
    kind = kind_of(source, value)
    if kind == "image":
        return Image(source)
    if kind == "video":
        return replace(clip, content=source)
    return Document(source) if kind == "pdf" else Text(read_text(source))


def _source(value: Any, key: str, wanted: str) -> Source:
    """The source of what stands under a key; what is in memory is looked at now."""
    source = source_of(value, key=key)
    if source.data is None:
        return replace(source, key=key)
    kind = kind_of(source, value, still=wanted == "image")
    if kind != wanted:
        raise mismatch(source, kind, key)
    return source


def _image(value: Any, key: str) -> Image | Document:
    if isinstance(value, PdfPage):
        return _page(value)
    if isinstance(value, Video):
        raise InputError(f'a Video stands under "{key}"', fix='Use the key "video".')
    return Image(_picture(value, key))


def _picture(value: Any, key: str) -> Frame:
    if isinstance(value, PIL.Image.Image):
        return value
    if is_array(value):
        array = to_array(value)
        if array.ndim in (2, 3):
            return array
        raise InputError(
            f'an array under "{key}" has {array.ndim} dimensions, not 2 or 3',
            fix='Pass a picture of shape (H, W, 3) or (H, W), several as a list, frames under "video".',
        )
    return _source(value, key, "image")


def _document(value: Any, key: str) -> Document:
    return _page(value) if isinstance(value, PdfPage) else Document(_source(value, key, "pdf"))


def _page(page: PdfPage) -> Document:
    if page.error is not None:
        raise page.error.copy()
    source = replace(page.source, facts={})  # which another call may have left, of a file that has changed
    return Document(source, pages=page.page, password=page.password, max_pixels=page.max_pixels)


def _clip(value: Any) -> Clip:
    if isinstance(value, Video):
        clip = replace(_clip(value.frames), **value.options)
        check_timeless(clip)
        return clip
    if _is_list(value):
        if not value:
            raise InputError("the video has no frames", fix="Pass at least one frame.")
        return Clip(tuple(_picture(frame, "video") for frame in value))
    if is_array(value):
        array = to_array(value)
        if array.ndim != 4:
            raise InputError(
                f'the array under "video" has {array.ndim} dimensions, not 4',
                fix="Pass frames of shape (T, H, W, 3); of a single frame, array[None].",
            )
        return Clip(array)
    if isinstance(value, PIL.Image.Image):
        raise InputError(
            'a single picture stands under "video"', fix='Use the key "image", or pass a list of frames.'
        )
    return Clip(_source(value, "video", "video"))


def check_timeless(clip: Clip) -> None:
    """Raise if a clip given as frames is to be sampled by times that nobody says."""
    if clip.frame_rate is not None:
        return
    given = [name for name in ("fps", "start", "end") if getattr(clip, name) is not None]
    if given and isinstance(clip.content, (tuple, np.ndarray)):
        raise InputError(
            f"{given[0]} needs the times of the frames, and a list of frames has none",
            fix="Say the frame_rate they were taken at, choose the frames yourself, or use num_frames.",
        )


def _is_frames(values: Sequence[Any]) -> bool:
    """Whether a list under "video" is the frames of one clip rather than a list of clips."""
    clips = [_is_clip(value) for value in values]
    if any(clips) and not all(clips):
        raise InputError(
            'the list under "video" mixes frames and clips',
            fix="Pass the frames of one clip, or a list of Video objects.",
        )
    return not all(clips)


def _is_clip(value: Any) -> bool:
    if isinstance(value, Video) or _is_list(value):
        return True
    return is_array(value) and bool(value.ndim == 4)


def _is_list(value: object) -> bool:
    return isinstance(value, (list, tuple))
