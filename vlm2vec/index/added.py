"""Inputs that are added to an index and are in no file: what their rows say of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vlm2vec.describe import describe_value
from vlm2vec.errors import InputError, VLM2VecError
from vlm2vec.index.rows import Row
from vlm2vec.inputs.parse import parse_input
from vlm2vec.inputs.parts import Clip, Document, Image, Input, Text

__all__ = ["added_row", "check_beside", "listed", "parsed"]


def parsed(item: Any, index: int) -> Any:
    """The input, or what is wrong with it, which `encode_stream` would say too."""
    try:
        return parse_input(item, index=index)
    except VLM2VecError:
        return item


def listed(metadata: Any) -> list[Mapping[str, Any]]:
    """Metadata of each input; of a single one, its dict alone will do."""
    return [metadata] if isinstance(metadata, Mapping) else [*metadata]


def check_beside(items: Sequence[Any], names: Sequence[str], metadata: Sequence[Mapping[str, Any]]) -> None:
    """Refuse ids and metadata that do not fit the inputs.

    Raises:
        InputError: Their numbers differ, or one is of another type.
    """
    if not len(items) == len(names) == len(metadata):
        raise InputError(
            f"there are {len(items):,} inputs, {len(names):,} ids and {len(metadata):,} metadata",
            fix="Pass one for each input, or leave them out.",
        )
    for name in names:
        if not isinstance(name, str) or not name:
            raise InputError(f"an id is {describe_value(name)}", fix="Pass strings.")
    if len(set(names)) < len(names):
        raise InputError("two inputs have one id", fix="Pass ids that are all different.")
    for values in metadata:
        if not isinstance(values, Mapping):
            raise InputError(f"metadata is {describe_value(values)}", fix="Pass a dict for each input.")


def added_row(name: str, item: Any, metadata: Mapping[str, Any]) -> Row:
    """The row of an input.

    Args:
        name: Its id.
        item: The input as it was parsed.
        metadata: What the caller knows of it.
    """
    kinds = {Text: "text", Image: "image", Clip: "video", Document: "pdf"}
    parts = item.parts if isinstance(item, Input) else ()
    found = {kinds[type(part)] for part in parts}
    text = "\n".join(part.text for part in parts if isinstance(part, Text)) or None
    pages = {part.pages for part in parts if isinstance(part, Document)}
    single = pages.pop() if len(pages) == 1 else None
    return Row(
        id=name,
        file=0,
        root=0,
        path=None,
        kind=next(iter(found)) if len(found) == 1 else "mixed",
        page=single if isinstance(single, int) else None,
        text=text,
        metadata=metadata,
    )
