"""How training told equal inputs before: from what the caller passed."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any
from uuid import uuid4

import numpy as np
import PIL.Image

from vlm2vec.inputs.arrays import is_array, to_array
from vlm2vec.inputs.media import MEDIA_KEYS
from vlm2vec.inputs.video import Video
from vlm2vec.media.source import Source

_SAID = "_vlm2vec_identity"


def identity(value: Any) -> Hashable:
    return _identity(value, None)


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
        names = [each.name for each in fields(value)]
        if isinstance(value, Source):
            names = ["path", "data"]  # as there were
        parts = tuple(_identity(getattr(value, name), inside) for name in names)
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
