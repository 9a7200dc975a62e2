"""Filters of a search as the condition that an index takes: a fixed set, so that no client writes SQL."""

from __future__ import annotations

import math
from collections.abc import Mapping

from vlm2vec.arguments import did_you_mean
from vlm2vec.describe import quote
from vlm2vec.index.rows import quoted
from vlm2vec.serve.folders import FolderNames
from vlm2vec.serve.shapes.search import SearchAsked
from vlm2vec.serve.shapes.shape import Place

__all__ = ["condition"]

_SMALLEST, _GREATEST = -(2**63), 2**63 - 1


def condition(asked: SearchAsked, folders: FolderNames, columns: Mapping[str, type]) -> str | None:
    """The condition in SQL for the rows that may be found; `None` for all.

    Args:
        asked: The search.
        folders: Of the index.
        columns: Its metadata, by name, with the types of their values.

    Raises:
        ShapeError: There is no such folder or metadata, or a value is of another type.

    Example:
        >>> from vlm2vec.serve.shapes.search import read
        >>> asked = read({"query": "a", "kind": ["pdf"], "metadata": {"by": "O'Hara"}})
        >>> condition(asked, FolderNames({}), {"by": str})
        "kind IN ('pdf') AND `by` = 'O''Hara'"
    """
    conditions = []
    if asked.kinds:
        conditions.append(f"kind IN ({', '.join(map(quoted, asked.kinds))})")
    if asked.under is not None:
        conditions.append(folders.condition(asked.under))
    for name, value in asked.metadata.items():
        place = Place("metadata").key(name[:40])
        if name not in columns:
            known = f"There is {', '.join(columns)}." if columns else "The index has no metadata."
            raise place.error(
                f"the index has no metadata {quote(name)}", did_you_mean(name, columns, otherwise=known)
            )
        literal = _literal(value, columns[name])
        if literal is None:
            raise place.error(
                f"metadata {quote(name)} is of the type {columns[name].__name__}",
                "Send a value of that type.",
            )
        conditions.append(f"`{name}` = {literal}")
    return " AND ".join(conditions) or None


def _literal(value: str | int | float | bool, kind: type) -> str | None:
    """A value as SQL writes it; `None` where no row of this type could have it."""
    if kind is bool or isinstance(value, bool):
        return ("TRUE" if value else "FALSE") if kind is bool and isinstance(value, bool) else None
    if kind is str or isinstance(value, str):
        return quoted(value) if kind is str and isinstance(value, str) and "\0" not in value else None
    if kind is int:
        # In this order: whole numbers of over 308 digits are no floats.
        return str(int(value)) if _SMALLEST <= value <= _GREATEST and float(value).is_integer() else None
    return repr(float(value)) if abs(value) <= 1e300 and math.isfinite(value) else None
