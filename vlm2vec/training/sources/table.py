"""Parquet files as records, read from disk at random; pictures stay encoded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vlm2vec.errors import InputError
from vlm2vec.training.sources.lazy_rows import Records

__all__ = ["open_table"]


def open_table(
    folder: Path,
    pattern: str,
    *,
    columns: Sequence[str],
    optional: Sequence[str] = (),
    limit: int | None = None,
) -> Records[dict[str, Any]]:
    """The rows of the Parquet files that match, in the order of the files' names.

    The `datasets` library converts them once into its cache, from where rows are memory-mapped: memory does
    not grow with their number, but the disk needs room for a second copy.

    Args:
        folder: The data folder.
        pattern: Which files in it, as in "data/train-*.parquet".
        columns: The columns that are read.
        optional: Columns that are read if they are there.
        limit: Take no more rows than this.

    Raises:
        InputError: No file matches, or a column is missing.
    """
    import datasets

    files = sorted(folder.glob(pattern))
    if not files:
        raise InputError(
            f"no file matches {pattern} in {folder}",
            fix='Download the data set there, or set "root" or "file" to where its Parquet files are.',
        )
    table = datasets.Dataset.from_parquet([str(file) for file in files])
    if missing := [name for name in columns if name not in table.column_names]:
        raise InputError(
            f"{files[0].name} has no column {missing[0]}, but {', '.join(table.column_names)}",
            fix="Check that this loader is meant for these files.",
        )
    table = table.select_columns([*columns, *(name for name in optional if name in table.column_names)])
    for name, feature in table.features.items():
        if isinstance(feature, datasets.Image):
            table = table.cast_column(name, datasets.Image(decode=False))
    if limit is not None and limit < len(table):
        table = table.select(range(limit))
    rows: Records[dict[str, Any]] = table
    return rows
