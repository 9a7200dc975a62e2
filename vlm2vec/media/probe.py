"""What a source is, by its first bytes and its header. Each is read once and kept with the source."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO

from vlm2vec.errors import LimitError, MediaError
from vlm2vec.media.deadline import Deadline
from vlm2vec.media.image import (
    check_area,
    check_bytes,
    decoding_errors,
    has_late_exif,
    moves,
    open_image,
    picture_in,
    picture_size,
    single_picture,
    upright_size,
)
from vlm2vec.media.limits import Limits
from vlm2vec.media.signature import HEAD_BYTES, Kind
from vlm2vec.media.source import Source

__all__ = ["image_size", "kind"]

_LOOK_SECONDS = 1.0
# Pillow reads a file of these formats as a whole when it opens it.
_OPENED_WHOLE = ("WebP", "AVIF")
_ANIMATION = 2  # a bit of a WebP's flags
_TEXT_SUFFIXES = {".txt", ".md"}
_READABLE = "Images (JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF), videos, PDFs and .txt or .md files can be read."


@dataclass(frozen=True)
class _Header:
    """What an image file with one picture says of itself.

    Attributes:
        bytes: Its encoded size.
        width: As it is stored, in pixels.
        height: The same.
        upright: (height, width) once it is turned upright.
    """

    bytes: int
    width: int
    height: int
    upright: tuple[int, int]


def kind(source: Source) -> Kind:
    """What a source is, from its first bytes; a GIF, PNG, WebP or AVIF that moves is a video.

    Of a WebP or AVIF file larger than the default of `Limits.max_image_bytes` the header alone is read.

    Raises:
        MediaError: It is empty, or of no kind that can be embedded.

    Example:
        >>> kind(Source.from_bytes(b"%PDF-1.7 ..."))
        'pdf'
    """
    if "kind" not in source.facts:
        source.facts["kind"] = _kind(source)
    known: Kind = source.facts["kind"]
    return known


def image_size(image: Source | Any, *, limits: Limits | None = None) -> tuple[int, int]:
    """Size of an image as (height, width), upright, without decoding it.

    Args:
        image: A `Source`, a PIL image or an array, as for `load_image`.
        limits: Upper limits.

    Raises:
        InputError: An array or PIL image has a form that is no image.
        MediaError: The file is no image.
        LimitError: It is larger than a limit.
    """
    limits = limits or Limits()
    if not isinstance(image, Source):
        return picture_size(image, limits=limits)
    header: _Header | None = image.facts.get("header")
    if header is not None:
        check_bytes(header.bytes, limits)
        check_area(header.width, header.height, limits)
        return header.upright
    deadline = Deadline(limits.decode_seconds, "reading the image")
    with open_image(image, limits=limits, deadline=deadline) as opened:
        picture = single_picture(opened, limits, deadline)
        if has_late_exif(picture):
            picture.load()  # the orientation comes after the pixels
        return upright_size(picture)


def _kind(source: Source) -> Kind:
    if source.is_folder:
        return "video"
    if source.path is not None and source.path.suffix.lower() in _TEXT_SUFFIXES:
        return "text"
    with source.open() as file:
        signature = source.signature_of(file)
        if signature is None or signature.kind is None:
            what = "is not a known format" if signature is None else f"is {_article(signature.label)} file"
            raise MediaError(f"the content {what}", fix=_READABLE, source=source.name)
        if signature.kind != "image":
            return signature.kind
        if signature.label in _OPENED_WHOLE and file.seek(0, 2) > Limits.max_image_bytes:
            return "video" if _says_it_moves(file) else "image"
        deadline = Deadline(_LOOK_SECONDS, "looking at the image")
        # What takes longer than any sound header is no animation, and meets the caller's limits later.
        with (
            suppress(LimitError),
            picture_in(file, signature, limits=None, deadline=deadline) as (picture, _),
        ):
            if moves(picture):
                return "video"
            # Of these, the size is known only once limits have been checked: it takes more than the header.
            if picture.format != "TIFF" and not has_late_exif(picture):
                _keep_header(source, file, picture)
    return "image"


def _says_it_moves(file: BinaryIO) -> bool:
    """Whether the header of a WebP or AVIF file calls it an animation.

    Sources: the flags of VP8X (RFC 9649, section 2.7), and the brands of an AVIF (AVIF 1.1, section 6).
    """
    file.seek(0)
    head = file.read(HEAD_BYTES)
    if head[12:16] == b"VP8X":
        return bool(head[20] & _ANIMATION)
    return b"avis" in head[8 : int.from_bytes(head[:4], "big")]


def _keep_header(source: Source, file: BinaryIO, picture: Any) -> None:
    with suppress(MediaError), decoding_errors():  # a broken orientation is an error of `image_size`
        upright = upright_size(picture)
        source.facts["header"] = _Header(file.seek(0, 2), picture.width, picture.height, upright)


def _article(label: str) -> str:
    return f"an {label}" if label[0] in "AEFHILMNORSX" and label[:2].isupper() else f"a {label}"
