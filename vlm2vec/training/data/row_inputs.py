"""One input of a training row: is it usable, which files does it need, is it the same as another.

Nothing is decoded. By default no file is opened either: a path is looked up, and its content taken to be what
the key says. That costs microseconds, so that millions of rows can be checked before training.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import PIL.Image

from vlm2vec import profiles
from vlm2vec.encoding.prompt import lay_out
from vlm2vec.errors import MediaError
from vlm2vec.inputs.arrays import is_array, to_array
from vlm2vec.inputs.describe import describe_media
from vlm2vec.inputs.media import MEDIA_KEYS
from vlm2vec.inputs.parse import parse_input
from vlm2vec.inputs.pdf import PdfPage
from vlm2vec.inputs.video import Video

__all__ = ["check_input", "identity"]

# First bytes of a file of each kind: they stand in for files that are not to be opened.
_PICTURE, _CLIP, _PDF = b"\xff\xd8\xff", b"FLV\x01", b"%PDF-1.7"
_STAND_INS: dict[str | None, bytes] = {
    None: _PDF,
    "image": _PICTURE,
    "images": _PICTURE,
    "video": _CLIP,
    "pdf": _PDF,
}
_SAID = "_vlm2vec_identity"
_PROFILE = profiles.get("vlm2vec-v2")  # placeholders in a prompt are matched alike under every profile


def check_input(
    value: Any, *, instruction: str | None = None, open_files: bool = False, allow_urls: bool = False
) -> None:
    """Raise unless `value` can be embedded, as far as that shows without decoding it.

    Args:
        value: Anything that `encode` takes.
        instruction: The instruction it will be given.
        open_files: Also read the first bytes of each file, which finds those of the wrong kind.
        allow_urls: Whether a string under a media key may be a URL. It is not fetched.

    Raises:
        InputError: It has a form that cannot be embedded, or a prompt and its media do not match.
        MediaError: A file or folder does not exist, or a folder of frames is empty.

    Example:
        >>> check_input({"prompt": "<|image_pad|> What is this?", "image": b"GIF89a"})
        >>> check_input("a cat")
    """
    found: list[Path] = []

    def stand_in(given: str | os.PathLike[str], key: str | None) -> Any:
        if isinstance(given, str):
            if given[:5].lower() == "data:" or not given.strip():
                return given  # read, or refused, as it is
            if "://" in given[:32]:
                return _STAND_INS[key] if allow_urls else given
        found.append(Path(given))
        return given if open_files else _STAND_INS[key]

    replaced = _with_stand_ins(value, stand_in)
    for path in found:
        _check_exists(path)
    item = parse_input(replaced, instruction=instruction)
    if item.prompt is not None:
        lay_out(item, _PROFILE)


def identity(value: Any) -> Hashable:
    """What two inputs have in common when they are surely the same; nothing is read or decoded.

    An instruction is no part of it. What is known by nothing but its address, such as a picture that is
    still to be decoded, is equal to itself alone.

    Example:
        >>> identity("a cat") == identity({"text": "a cat"})
        True
        >>> identity(Path("cat.jpg")) == identity({"image": "cat.jpg"}) != identity("cat.jpg")
        True
    """
    return _identity(value, None)


def _with_stand_ins(
    value: Any, stand_in: Callable[[str | os.PathLike[str], str | None], Any], key: str | None = None
) -> Any:
    """The value with each path replaced; `key` is the media key it stands under."""
    if isinstance(value, os.PathLike) or (isinstance(value, str) and key is not None):
        return stand_in(value, key)
    if isinstance(value, Video):
        # Under "image" the stand-in keeps the clip a clip, so that the mistake is found.
        inside = "image" if isinstance(value.frames, (list, tuple)) else "video"
        return replace(value, frames=_with_stand_ins(value.frames, stand_in, inside))
    if isinstance(value, PdfPage) and value.path is not None:
        stand_in(value.path, "pdf")
        return value
    if isinstance(value, Mapping) and "role" not in value and "type" not in value:
        return {
            name: _with_stand_ins(item, stand_in, name) if name in MEDIA_KEYS else item
            for name, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        inside_key = "image" if key == "video" else key  # a list of paths under "video" is frames
        return [_with_stand_ins(item, stand_in, inside_key) for item in value]
    return value


def _check_exists(path: Path) -> None:
    try:
        if path.is_dir():
            with os.scandir(path) as entries:
                if next(entries, None) is None:
                    raise MediaError(
                        "the folder of frames is empty",
                        fix="Extract its frames.",
                        source=describe_media(str(path)),
                    )
        elif not path.exists():
            raise MediaError(
                "the file does not exist",
                fix="Check the path and the data folder.",
                source=describe_media(str(path)),
            )
    except OSError as error:
        raise MediaError(f"the file cannot be reached ({error})", source=describe_media(str(path))) from error


def _identity(value: Any, key: str | None) -> Hashable:
    if isinstance(value, os.PathLike):
        return "file", os.fspath(value)
    if isinstance(value, str):
        return ("text", value) if key is None else ("file", value)
    if isinstance(value, Mapping):
        content = {name: item for name, item in value.items() if name != "instruction"}
        if len(content) == 1:
            name, item = next(iter(content.items()))
            if name in ("text", *MEDIA_KEYS):
                return _identity(item, None if name == "text" else name)
        return "dict", tuple(
            (name, _identity(item, name if name in MEDIA_KEYS else None)) for name, item in content.items()
        )
    if isinstance(value, (list, tuple)):
        if len(value) == 1:
            return _identity(value[0], key)
        return "list", tuple(_identity(item, key) for item in value)
    if is_array(value):
        array = np.ascontiguousarray(to_array(value))
        return "array", array.shape, array.dtype.str, array.tobytes()
    if value is None or isinstance(value, (bool, int, float, bytes)):
        return "value", value
    if isinstance(value, PIL.Image.Image):
        return _identity_of_picture(value)
    if is_dataclass(value):  # a Video, a page of a PDF
        inside = "video" if isinstance(value, Video) else None
        parts = tuple(_identity(getattr(value, each.name), inside) for each in fields(value))
        return type(value).__name__, *parts
    return "object", os.getpid(), id(value)


def _identity_of_picture(picture: PIL.Image.Image) -> Hashable:
    known: Hashable = getattr(picture, _SAID, None)
    if known is None and getattr(picture, "fp", None) is not None:
        # Not decoded yet, and not to be decoded for this. Remembered, to be the same once it is.
        path = getattr(picture, "filename", None)
        known = ("file", path) if path else ("object", uuid4().hex)
        setattr(picture, _SAID, known)
    if known is not None:
        return known
    palette = picture.getpalette() if picture.mode == "P" else None
    return "picture", picture.mode, picture.size, picture.tobytes(), palette and tuple(palette)
