"""Short names for inputs, for error messages: what it is, never what is in its bytes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import islice
from typing import Any

import numpy as np
import PIL.Image

from vlm2vec.arrays import is_tensor

__all__ = ["MAX_LENGTH", "shorten", "quote", "describe_value", "describe_media"]

MAX_LENGTH = 60


def shorten(text: str, limit: int = MAX_LENGTH) -> str:
    r"""One printable line of at most `limit` characters.

    Example:
        >>> shorten("a cat\n and " + "a dog " * 100, limit=20)
        'a cat and a dog a...'
    """
    head = text[: 4 * limit]
    line = " ".join("".join(c if c.isprintable() else " " for c in head).split())
    if len(line) <= limit and len(head) == len(text):
        return line
    return line[: limit - 3].rstrip() + "..."


def quote(text: str, limit: int = 40) -> str:
    """The start of a text, in quotes."""
    return f'"{shorten(text, limit)}"'


def describe_value(value: object) -> str:
    """What a caller passed, in at most 60 characters.

    Example:
        >>> describe_value(b"...")
        '3 bytes'
        >>> describe_value({"text": "a", "image": None})
        'dict with text, image'
    """
    return shorten(_describe(value))


def describe_media(value: object) -> str:
    """What a caller passed where a string is a path or a data-URI.

    Example:
        >>> describe_media("photos/cat.jpg")
        'photos/cat.jpg'
        >>> describe_media("data:image/png;base64,iVBORw0KGgo=")
        'data-URI of 34 characters'
    """
    if not isinstance(value, str):
        return describe_value(value)
    if value[:5].lower() == "data:":
        return f"data-URI of {len(value):,} characters"
    path = value.partition("?")[0] if "://" in value[:32] else value
    return shorten(_tail(path)) or "an empty path"


def _describe(value: Any) -> str:
    if isinstance(value, str):
        return f"text {quote(value)}"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"{memoryview(value).nbytes:,} bytes"
    if isinstance(value, os.PathLike):
        return _tail(os.fsdecode(value))
    if isinstance(value, PIL.Image.Image):
        return f"PIL image {value.width}x{value.height}"
    if isinstance(value, np.ndarray):
        return f"array {value.shape} {value.dtype}"
    if is_tensor(value):
        return f"tensor {tuple(value.shape)} {value.dtype}"
    if isinstance(value, Mapping):
        keys = [key if isinstance(key, str) else type(key).__name__ for key in islice(value, 9)]
        return f"dict with {', '.join(shorten(key, 20) for key in keys)}" if keys else "empty dict"
    if isinstance(value, (list, tuple, set, frozenset)):
        return f"{type(value).__name__} of {len(value)}"
    if value is None or isinstance(value, bool):
        return repr(value)
    if _is_small_number(value):
        return f"{type(value).__name__} {value}"
    if type(value).__module__.startswith("vlm2vec."):
        return repr(value)
    return type(value).__qualname__


def _tail(path: str) -> str:
    """The end of a path, where the file's name is."""
    return path if len(path) <= MAX_LENGTH else f"...{path[3 - MAX_LENGTH :]}"


def _is_small_number(value: object) -> bool:
    # str() of an int with thousands of digits raises.
    return isinstance(value, (float, complex, np.number)) or (isinstance(value, int) and abs(value) < 10**18)
