"""JSON as others wrote it: whatever is wrong with it is a `ValueError`, however deep it is nested."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["parse_json", "read_json"]


def parse_json(text: str | bytes) -> Any:
    """The value that a JSON text holds.

    Raises:
        ValueError: It is no JSON, or lists and objects in it stand within one another more often than Python
            can follow.

    Example:
        >>> parse_json('{"a": [1]}')
        {'a': [1]}
        >>> parse_json("[" * 100_000)
        Traceback (most recent call last):
        ValueError: lists or objects are nested too deeply
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("lists or objects are nested too deeply") from None


def read_json(path: Path) -> Any:
    """The value in a JSON file in UTF-8.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no JSON.
    """
    return parse_json(path.read_text(encoding="utf-8"))
