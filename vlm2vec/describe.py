"""Short names for inputs, for error messages: what it is, never what is in its bytes.

numpy and Pillow are imported when something is described: all of the package imports this file, and the help
of the command line waits for neither.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from itertools import islice
from typing import Any

__all__ = ["MAX_LENGTH", "without_base64", "shorten", "quote", "describe_value", "describe_media", "literal"]

MAX_LENGTH = 60

_MOST_SHOWN = 10**18  # an int; of one with thousands of digits Python refuses to write any
_DIGITS_A_BIT = math.log10(2)

_RUN = re.compile(r"[A-Za-z0-9+/]{40,}={0,2}")
_REPEATED = re.compile(r"(.)\1+")
# Of a name in a path the first letter does not count, which may be a capital.
_CHANGE = re.compile(r"(?<=[A-Za-z0-9+])(?=[A-Z][a-z0-9]|[a-z][A-Z0-9]|[0-9][A-Za-z])")


def without_base64(text: str) -> str:
    """The text with dots in place of what looks like base64 data, whatever it was taken for.

    In such data about every second letter is of another class than the one before it: upper case, lower case,
    a digit. In names of folders it is every seventh or so; hexadecimal digits have two classes alone. A name
    with a full stop is left alone, for it ends in the suffix of a file.

    Example:
        >>> without_base64("iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAF0lEQVR4nGOIazx449wrp")
        '...'
        >>> without_base64("/Users/Someone1/Documents/Projects/Research/Datasets/frames/Clip1")
        '/Users/Someone1/Documents/Projects/Research/Datasets/frames/Clip1'
    """
    return text if "." in text else _RUN.sub(lambda run: "..." if _is_data(run[0]) else run[0], text)


def _is_data(run: str) -> bool:
    zeros = "AAA" in run  # as in the headers of bitmaps and TIFFs
    run = _REPEATED.sub(r"\1", run)
    classes = (
        any(c.isupper() for c in run),
        any(c.islower() for c in run),
        zeros or any(c.isdigit() for c in run),
    )
    return all(classes) and len(_CHANGE.findall(run)) > len(run) / 4


def shorten(text: str, limit: int = MAX_LENGTH) -> str:
    r"""One printable line of at most `limit` characters.

    Example:
        >>> shorten("a cat\n and " + "a dog " * 100, limit=20)
        'a cat and a dog a...'
    """
    head = text[: max(4 * limit, 160)]
    line = without_base64(" ".join("".join(c if c.isprintable() else " " for c in head).split()))
    if len(line) <= limit and (len(head) == len(text) or line.endswith("...")):
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


def literal(value: object) -> str:
    """What a caller passed as it is written in code, in at most 60 characters.

    Example:
        >>> literal("gpu")
        "'gpu'"
    """
    try:
        return shorten(repr(value))
    except ValueError:  # an int of thousands of digits
        return describe_value(value)


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
    import numpy as np
    import PIL.Image

    from vlm2vec.arrays import is_tensor

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
    if isinstance(value, int) and abs(value) >= _MOST_SHOWN:
        return f"{type(value).__name__} of about {int(value.bit_length() * _DIGITS_A_BIT) + 1} digits"
    if isinstance(value, (int, float, complex, np.number)):
        return f"{type(value).__name__} {value}"
    if type(value).__module__.startswith("vlm2vec.") and not hasattr(value, "named_modules"):
        return repr(value)  # not of a network, which lists its layers
    return type(value).__qualname__


def _tail(path: str) -> str:
    """The end of a path, where the file's name is."""
    path = without_base64(path)
    return path if len(path) <= MAX_LENGTH else f"...{path[3 - MAX_LENGTH :]}"
