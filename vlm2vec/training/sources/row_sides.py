"""The inputs of a training row, parsed, with something about each of them replaced."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from vlm2vec.errors import VLM2VecError
from vlm2vec.inputs.parse import parse_input
from vlm2vec.inputs.parts import Input

__all__ = ["with_each_input"]


def with_each_input(row: Mapping[str, Any], change: Callable[[Input], Input]) -> dict[str, Any]:
    """The row with what `change` makes of its query, its document and its negatives.

    They are parsed for it, once: what follows takes a parsed input as it is. No file is opened. A text stays
    a text, and what is no input stays as it is: it is refused where rows are checked.

    Example:
        >>> from vlm2vec.inputs.replace import with_num_frames
        >>> row = {"query": "a cat", "document": {"video": "a.mp4"}}
        >>> changed = with_each_input(row, lambda item: with_num_frames(item, 4))
        >>> changed["query"], changed["document"].parts[0].num_frames
        ('a cat', 4)
    """
    changed = dict(row)
    for name in ("query", "document"):
        if name in changed:
            changed[name] = _changed(changed[name], change)
    if isinstance(changed.get("negatives"), (list, tuple)):
        changed["negatives"] = [_changed(value, change) for value in changed["negatives"]]
    return changed


def _changed(value: Any, change: Callable[[Input], Input]) -> Any:
    if isinstance(value, str):
        return value
    try:
        item = value if isinstance(value, Input) else parse_input(value, allow_urls=True, open_files=False)
    except VLM2VecError:
        return value
    return change(item)
