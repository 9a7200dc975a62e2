"""Which pages are right for which query, and how right."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from vlm2vec.mmeb.samples import Key

__all__ = ["Qrels", "read_qrels"]

Qrels: TypeAlias = dict[Key, dict[Key, float]]
"""Grades by query and page, both in the order of the table."""


def read_qrels(rows: Iterable[Mapping[str, Any]]) -> Qrels:
    """Grades above 0; of several for one pair the highest.

    Example:
        >>> rows = [(1, "a", 1), (1, "b", 0), (1, "a", 2)]
        >>> read_qrels({"query-id": q, "corpus-id": c, "score": s} for q, c, s in rows)
        {1: {'a': 2.0}}
    """
    qrels: Qrels = {}
    for row in rows:
        grade = float(row["score"])
        if grade > 0:
            grades = qrels.setdefault(row["query-id"], {})
            page = row["corpus-id"]
            grades[page] = max(grade, grades.get(page, 0.0))
    return qrels
