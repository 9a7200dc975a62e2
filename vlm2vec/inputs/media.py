"""What a caller may pass as an image, a video or a PDF, and the part it becomes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import PIL.Image

from vlm2vec.errors import InputError
from vlm2vec.inputs.arrays import is_array, to_array
from vlm2vec.inputs.parts import Clip, Document, Frame, Image, Part, Text
from vlm2vec.inputs.pdf import PdfPage
from vlm2vec.inputs.sources import BYTES, kind_of, mismatch, read_text, source_of
from vlm2vec.inputs.video import Video

__all__ = ["MEDIA_KEYS", "is_media", "bare_part", "keyed_parts", "check_timeless"]

MEDIA_KEYS = ("image", "images", "video", "pdf")


def is_media(value: object) -> bool:
    """Whether `value` is media by its type alone, wherever it stands. A string never is."""
    return is_array(value) or isinstance(value, (os.PathLike, PIL.Image.Image, Video, PdfPage, *BYTES))


def bare_part(value: Any, *, allow_urls: bool = False) -> Part:
    """The part for media that no key names: its kind is read from its first bytes or its shape.

    Raises:
        InputError: It has no kind that can be embedded.
        MediaError: The file is missing or of an unknown format.
    """
    if isinstance(value, PdfPage):
        return _page(value)
    if isinstance(value, Video):
        return _clip(value, allow_urls=allow_urls)
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
    kind = kind_of(source, value)
    if kind == "image":
        return Image(source)
    if kind == "video":
        return Clip(source)
    return Document(source) if kind == "pdf" else Text(read_text(source))


def keyed_parts(key: str, value: Any, *, allow_urls: bool) -> list[Part]:
    """The parts for the value under a media key of a dict.

    Args:
        key: One of `MEDIA_KEYS`.
        value: One item, or a list of items. Under "video" a list of pictures is one clip.
        allow_urls: Whether strings may be URLs.

    Raises:
        InputError: The value, or one of the list, is not what the key says, or there is none.
        MediaError: A file is missing or of an unknown format.
    """
    if isinstance(value, (list, tuple)) and not value:
        raise InputError(f'the list under "{key}" is empty', fix=f'Leave "{key}" out, or fill it.')
    if key == "video":
        if _is_list(value) and not _is_frames(value):
            return [_clip(item, allow_urls=allow_urls) for item in value]
        return [_clip(value, allow_urls=allow_urls)]
    item = _document if key == "pdf" else _image
    return [item(entry, key, allow_urls) for entry in (value if _is_list(value) else [value])]


def _image(value: Any, key: str, allow_urls: bool) -> Image | Document:
    if isinstance(value, PdfPage):
        return _page(value)
    if isinstance(value, Video):
        raise InputError(f'a Video stands under "{key}"', fix='Use the key "video".')
    return Image(_picture(value, key, allow_urls))


def _picture(value: Any, key: str, allow_urls: bool) -> Frame:
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
    source = source_of(value, allow_urls=allow_urls, key=key)
    kind = kind_of(source, value, still=True)
    if kind != "image":
        raise mismatch(source, kind, key)
    return source


def _document(value: Any, key: str, allow_urls: bool) -> Document:
    if isinstance(value, PdfPage):
        return _page(value)
    source = source_of(value, allow_urls=allow_urls, key=key)
    kind = kind_of(source, value)
    if kind != "pdf":
        raise mismatch(source, kind, key)
    return Document(source)


def _page(page: PdfPage) -> Document:
    return Document(page.source, pages=page.page, password=page.password, max_pixels=page.max_pixels)


def _clip(value: Any, *, allow_urls: bool) -> Clip:
    if isinstance(value, Video):
        clip = replace(_clip(value.frames, allow_urls=allow_urls), **value.options)
        check_timeless(clip)
        return clip
    if _is_list(value):
        if not value:
            raise InputError("the video has no frames", fix="Pass at least one frame.")
        return Clip(tuple(_picture(frame, "video", allow_urls) for frame in value))
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
    source = source_of(value, allow_urls=allow_urls, key="video")
    kind = kind_of(source, value)
    if kind != "video":
        raise mismatch(source, kind, "video")
    return Clip(source)


def check_timeless(clip: Clip) -> None:
    """Raise if a clip given as frames, which have no times, is to be sampled by time."""
    given = [name for name in ("fps", "start", "end") if getattr(clip, name) is not None]
    if given and isinstance(clip.content, (tuple, np.ndarray)):
        raise InputError(
            f"{given[0]} needs the times of the frames, and a list of frames has none",
            fix="Choose the frames yourself, as in frames[10:20], or use num_frames.",
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
