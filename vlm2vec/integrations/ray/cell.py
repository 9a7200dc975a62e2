"""`input_of_cell`: the input that a cell of a column is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vlm2vec.inputs.sources import is_arrow_media

__all__ = ["input_of_cell"]


def input_of_cell(value: Any, *, paths: bool) -> Any:
    """An input as `encode` takes it.

    All rows of an Arrow column have the same keys, and null for one that a row does without. Such keys are
    left out, at each depth.

    Args:
        value: What `pyarrow` makes of the cell in Python.
        paths: Whether strings, alone or in a list, are paths of files. By default they are text.

    Example:
        >>> input_of_cell("a red circle", paths=False)
        'a red circle'
        >>> input_of_cell("scan.pdf", paths=True).name
        'scan.pdf'
        >>> input_of_cell({"text": None, "pdf": "scan.pdf", "page": 3}, paths=False)
        {'pdf': 'scan.pdf', 'page': 3}
    """
    if paths and isinstance(value, str):
        return Path(value) if value else value  # Path("") is the current folder
    if isinstance(value, list):
        return [input_of_cell(part, paths=paths) for part in value]
    if isinstance(value, dict) and not is_arrow_media(value):
        return {key: input_of_cell(part, paths=False) for key, part in value.items() if part is not None}
    return value
