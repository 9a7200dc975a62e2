"""Tables of pandas and Arrow as training rows, read one row at a time."""

from __future__ import annotations

import operator
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from vlm2vec.describe import describe_value
from vlm2vec.errors import InputError
from vlm2vec.training.sources.lazy_rows import Records

__all__ = ["records_of"]


def records_of(rows: Any) -> Records[Any]:
    """Rows that can be read by position, each a dict where the rows are a table.

    Neither pandas nor pyarrow is imported for rows of another kind.

    Args:
        rows: A pandas `DataFrame` or `Series`; a pyarrow `Table`, `RecordBatch` or array, or what gives
            itself as one (`__arrow_c_stream__`, as a polars `DataFrame`); anything else comes back as it is.

    Raises:
        InputError: A column's name is there twice, or is no text.

    Example:
        >>> import pyarrow
        >>> rows = records_of(pyarrow.table({"query": ["a cat"], "document": ["a photo"]}))
        >>> len(rows), rows[0]
        (1, {'query': 'a cat', 'document': 'a photo'})
    """
    pandas = sys.modules.get("pandas")  # whoever has a table of pandas has imported it
    if pandas is not None and isinstance(rows, pandas.DataFrame):
        return _Table({_checked(name): rows.iloc[:, place] for place, name in _names(rows.columns)})
    if pandas is not None and isinstance(rows, pandas.Series):
        return _Column(rows)
    if not hasattr(rows, "__arrow_c_stream__") and not hasattr(rows, "__arrow_c_array__"):
        return rows  # type: ignore[no-any-return]  # checked where it is used
    import pyarrow

    if isinstance(rows, pyarrow.Array | pyarrow.ChunkedArray):
        return _Column(rows)
    table = pyarrow.table(rows)
    return _Table({_checked(name): table.column(place) for place, name in _names(table.column_names)})


class _Column:
    """A column of pandas or Arrow; a struct of Arrow is a row by itself."""

    def __init__(self, values: Any) -> None:
        self._values = values.array if hasattr(values, "iloc") else values

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index: int) -> Any:
        value = self._values[operator.index(index)]
        return _plain(value.as_py() if hasattr(value, "as_py") else value)

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))


class _Table:
    """Columns of one length. Cells that are missing are left out of a row."""

    def __init__(self, columns: Mapping[str, Any]) -> None:
        self._columns = {name: _Column(values) for name, values in columns.items()}

    def __len__(self) -> int:
        return max(map(len, self._columns.values()), default=0)

    def __getitem__(self, index: int) -> dict[str, Any]:
        cells = {name: column[index] for name, column in self._columns.items()}
        return {name: cell for name, cell in cells.items() if not _is_missing(cell)}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[index] for index in range(len(self)))


def _names(names: Any) -> Iterator[tuple[int, Any]]:
    listed = list(names)
    twice = [name for name in listed if listed.count(name) > 1]
    if twice:
        raise InputError(f"two columns are named {describe_value(twice[0])}", fix="Rename one of them.")
    return enumerate(listed)


def _checked(name: Any) -> str:
    if not isinstance(name, str):
        raise InputError(
            f"a column's name is {describe_value(name)}, not a string",
            fix='Name the columns "query", "document", ...',
        )
    return name


def _plain(value: Any) -> Any:
    """A cell as rows have it: tables hold a list as an array of objects, also within dicts."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "OUT":
        return [_plain(item) for item in value.tolist()]
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return str(value) if isinstance(value, np.str_) else value


def _is_missing(cell: Any) -> bool:
    """Whether a cell says that there is nothing: None, NaN, and pandas' own marks."""
    if cell is None or (isinstance(cell, (float, np.floating)) and np.isnan(cell)):
        return True
    return type(cell).__name__ in ("NAType", "NaTType")
