"""Tables of annotations as rows; pictures in them stay encoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from vlm2vec.errors import InputError
from vlm2vec.json_file import parse_json

__all__ = ["Rows", "read_rows", "check_columns", "encoded"]

Rows: TypeAlias = Sequence[Mapping[str, Any]]
"""Rows by position."""


def read_rows(files: Sequence[Path], columns: Sequence[str] | None, *, source: str) -> Rows:
    """The rows of some files.

    Args:
        files: Of one table, all Parquet, all JSON lines or all JSON.
        columns: Those to read; all with `None`. Columns that are not read cost nothing with Parquet.
        source: What to call the table in errors.

    Raises:
        InputError: A file cannot be read, or a column is missing.
    """
    if files[0].suffix == ".parquet":
        return _parquet(files, columns, source)
    rows = [row for file in files for row in _json(file)]
    for number, row in enumerate(rows):
        check_columns(list(row), columns or (), source=f"{source}, row {number}")
    return rows


def check_columns(present: Sequence[str], columns: Sequence[str], *, source: str) -> None:
    """Check that columns are there.

    Raises:
        InputError: One is not.

    Example:
        >>> check_columns(["query"], ["query", "query-id"], source="queries")
        Traceback (most recent call last):
        ...
        vlm2vec.errors.InputError: queries: there is no column "query-id", but "query". Check ...
    """
    for name in columns:
        if name not in present:
            raise InputError(
                f'there is no column "{name}", but {", ".join(f"{one!r}" for one in present)}'.replace(
                    "'", '"'
                ),
                fix="Check that these are the annotations of this task, in the revision that it names.",
                source=source,
            )


def encoded(rows: Any) -> Rows:
    """A `datasets.Dataset` whose pictures are not decoded: dicts with "bytes" and "path"."""
    import datasets

    for name, feature in rows.features.items():
        if isinstance(feature, datasets.Image):
            rows = rows.cast_column(name, datasets.Image(decode=False))
    table: Rows = rows
    return table


def _parquet(files: Sequence[Path], columns: Sequence[str] | None, source: str) -> Rows:
    import datasets
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if columns is not None:
            check_columns(pq.read_schema(files[0]).names, columns, source=source)
        names = None if columns is None else list(columns)
        table = pq.read_table([str(file) for file in files], columns=names, partitioning=None)
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"the table cannot be read ({error})", fix=f"Download {files[0].parent} again.", source=source
        ) from error
    # Without what `datasets` wrote beside the table, columns are what they are stored as: nothing is decoded.
    rows: Rows = datasets.Dataset(table.replace_schema_metadata(None))
    return rows


def _json(file: Path) -> list[dict[str, Any]]:
    try:
        text = file.read_text(encoding="utf-8")
        if file.suffix == ".jsonl":
            rows = [parse_json(line) for line in text.split("\n") if line.strip()]
        else:
            rows = parse_json(text)
    except ValueError as error:
        raise InputError(f"this is no JSON ({error})", fix="Download it again.", source=str(file)) from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError("this is no list of rows", fix="Download it again.", source=str(file))
    return rows
