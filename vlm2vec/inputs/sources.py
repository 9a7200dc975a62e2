"""From paths, strings and bytes to sources, with errors that say where they stood."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlm2vec.describe import describe_media, describe_value
from vlm2vec.errors import InputError, LimitError, MediaError, VLM2VecError
from vlm2vec.inputs.text import check_text
from vlm2vec.media import probe
from vlm2vec.media.source import Source, is_url

__all__ = ["BYTES", "is_arrow_media", "source_of", "kind_of", "mismatch", "read_text"]

BYTES = (bytes, bytearray, memoryview)

_MAX_TEXT_BYTES = 64 * 2**20
_MAX_PATH, _MAX_NAME = 4096, 255  # what common file systems allow, in characters
_NAMES = {"image": "an image", "video": "a video", "pdf": "a PDF", "text": "a text file"}
_KINDS = {"image": "image", "images": "image", "video": "video", "pdf": "pdf"}
_FORMS = {
    "image": "Pass a path, a data-URI, a PIL image, an array or bytes.",
    "video": "Pass a path, a list of frames, an array of shape (T, H, W, 3), a Video or bytes.",
    "pdf": "Pass a path, a data-URI or bytes.",
}


def is_arrow_media(value: object) -> bool:
    """Whether this is how tables of Arrow and the `datasets` library hold a medium: its bytes and its path.

    Example:
        >>> is_arrow_media({"bytes": b"GIF89a", "path": None})
        True
    """
    return isinstance(value, Mapping) and len(value) == 2 and "bytes" in value and "path" in value


def source_of(value: Any, *, key: str = "image") -> Source:
    """The source of a path, a string or bytes. No file is looked up, and no URL fetched.

    Args:
        value: What the caller passed; it may also be bytes and path as Arrow holds them.
        key: The media key it stands under.

    Raises:
        InputError: It is none of those.
    """
    if is_arrow_media(value):
        if value["bytes"] is None and value["path"] is None:
            raise InputError("it has neither bytes nor a path", fix="Leave it out, or fill it.")
        # Beside bytes the path is a name alone: the file may be gone.
        return source_of(value["path"] if value["bytes"] is None else value["bytes"], key=key)
    try:
        if isinstance(value, str):
            _check_length(value)
            text = str.__str__(value)
            return Source.from_url(text) if is_url(text) else Source.from_string(text)
        if isinstance(value, os.PathLike):
            path = os.fsdecode(value)
            _check_length(path)
            return Source(path=Path(path))
        if isinstance(value, BYTES):
            return Source.from_bytes(value)
    except VLM2VecError as error:
        error.source = describe_media(value)
        raise
    fix = f'Leave "{key}" out.' if value is None else _FORMS[_KINDS[key]]
    raise InputError(f'"{key}" is {describe_value(value)}', fix=fix)


def kind_of(source: Source, value: object, *, still: bool = False) -> str:
    """The kind of a source by its first bytes: "image", "video", "pdf" or "text".

    Args:
        source: A source.
        value: What the caller passed, for the error.
        still: An image file is meant as a picture, so whether it moves (a video then) is not looked up.

    Raises:
        InputError: It is bytes of text.
        MediaError: It is of no kind that can be embedded.
    """
    try:
        return "image" if still and _is_picture(source) else probe.kind(source)
    except MediaError as error:
        if source.path is None and source.signature is None and _is_text(source.read()):
            raise InputError(
                "the bytes are text", fix="Decode them first: data.decode('utf-8').", source=source.describe()
            ) from None
        error.source = describe_media(value)
        raise


def mismatch(source: Source, kind: str, key: str) -> InputError:
    """The error for a source of one kind under the key of another."""
    wanted = _KINDS[key]
    if key == "video" and kind == "video":
        return InputError(
            "a video stands among the frames",
            fix="Pass several clips as a list of Video objects.",
            source=source.describe(),
        )
    return InputError(
        f'{_NAMES[kind]} stands under "{key}", which takes {_NAMES[wanted]}',
        fix=f'Use the key "{kind}".' if kind != "text" else "Read it: path.read_text(encoding='utf-8').",
        source=source.describe(),
    )


def read_text(source: Source) -> str:
    """The text of a file in UTF-8, to the letter; only a byte-order mark is not part of it.

    Raises:
        InputError: It is empty, or in another encoding.
        LimitError: It has more than 64 MiB.
        MediaError: It cannot be read.
    """
    with source.open() as file:
        size = file.seek(0, os.SEEK_END)
    if size > _MAX_TEXT_BYTES:
        raise LimitError(
            f"the text file has {size:,} bytes, more than {_MAX_TEXT_BYTES:,}",
            fix="No context holds so much: pass parts of it, each as an input of its own.",
            source=source.describe(),
        )
    data = source.read()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"the text file is not UTF-8: byte 0x{data[error.start]:02x} at position {error.start}",
            fix="Read it with its own encoding: path.read_text(encoding=...).",
            source=source.describe(),
        ) from None
    if not text:
        raise InputError("the text file is empty", fix="Leave it out.", source=source.describe())
    return check_text(text)


def _check_length(path: str) -> None:
    """A string too long for a path is the data itself, and would be repeated in the system's error."""
    if path[:5].lower() == "data:" or "://" in path[:32]:
        return
    if len(path) > _MAX_PATH or any(len(name) > _MAX_NAME for name in re.split(r"[/\\]", path)):
        raise InputError(
            f"a string of {len(path):,} characters is too long for a path",
            fix="Pass base64 data as a data-URI, data:image/png;base64,..., or decode it and pass the bytes.",
        )


def _is_picture(source: Source) -> bool:
    signature = None if source.is_folder else source.signature
    return signature is not None and signature.kind == "image"


def _is_text(data: bytes) -> bool:
    try:
        return "\0" not in data.decode("utf-8")
    except UnicodeDecodeError:
        return False
