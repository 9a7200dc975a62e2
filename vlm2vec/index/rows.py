"""`Rows`: vectors and what they are of, in a table of LanceDB."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vlm2vec.errors import IndexStoreError, InputError
from vlm2vec.extra import how_to_install

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["COLUMNS", "Row", "Rows", "columns_of", "quoted", "require_lancedb"]

_TABLE = "rows"
_NEVER = timedelta(days=36_500)
# A reader holds a version for the length of a search.
_KEPT = timedelta(minutes=10)
_LITERALS = 1_000  # in one condition

COLUMNS = ("id", "file", "root", "path", "kind", "part", "page", "start", "end", "modified", "text", "vector")
"""Columns that every index has; others are metadata."""


@dataclass(frozen=True)
class Row:
    """One row, without its vector.

    Attributes:
        id: Different for each row.
        file: Number of the file in the manifest; 0 for what was added without one.
        root: Number of the folder that the file is below; 0 for none.
        path: Of the file, below that folder; `None` for none.
        kind: "image", "video", "pdf" or "text"; "mixed" for an input of several.
        part: Number of the row within the file, the first being 1.
        page: Of a PDF.
        start: Of a piece of a video, in seconds.
        end: The same.
        modified: Time of the file's last change, in nanoseconds since 1970.
        text: Of a passage, or of a text that was added.
        metadata: What the caller knows of it.
    """

    id: str
    file: int
    root: int
    path: str | None
    kind: str
    part: int = 1
    page: int | None = None
    start: float | None = None
    end: float | None = None
    modified: int | None = None
    text: str | None = None
    metadata: Mapping[str, Any] | None = None


def require_lancedb() -> Any:
    """LanceDB, or an error that says how to get it.

    Raises:
        IndexStoreError: It is not installed.
    """
    try:
        return import_module("lancedb")
    except ImportError as error:
        raise IndexStoreError(
            "an index needs LanceDB, which is not installed", fix=how_to_install("index")
        ) from error


class Rows:
    """The table of a generation, at a version that is whole.

    Args:
        folder: The generation.
        version: Of the table; `None` for the newest there is.

    Raises:
        IndexStoreError: The table is not there, or damaged.
    """

    def __init__(self, folder: Path, version: int | None = None) -> None:
        self._folder = folder
        lancedb = require_lancedb()
        try:
            self.table = lancedb.connect(str(folder)).open_table(_TABLE)
            if version is not None and version != self.table.version:
                self.table.checkout(version)
        except (ValueError, RuntimeError, OSError) as error:
            raise IndexStoreError(
                f"its rows cannot be read ({_first_line(error)})",
                fix="Is it a whole copy of the folder? If not, remove it, and index again.",
                source=str(folder),
            ) from error

    @classmethod
    def create(cls, folder: Path, *, dimensions: int, half: bool) -> Rows:
        """A table without rows, in the place of one that was left unfinished."""
        lancedb = require_lancedb()
        lancedb.connect(str(folder)).create_table(_TABLE, schema=_schema(dimensions, half=half))
        return cls(folder)

    @property
    def version(self) -> int:
        """Of the table; each change makes another."""
        return int(self.table.version)

    @property
    def schema(self) -> pa.Schema:
        """Columns and their types."""
        return self.table.schema

    @property
    def metadata_columns(self) -> list[str]:
        """Columns that are the callers' own."""
        return [name for name in self.schema.names if name not in COLUMNS]

    @property
    def metadata_types(self) -> dict[str, type]:
        """The same with the types of their values."""
        return {name: _PYTHON[str(self.schema.field(name).type)] for name in self.metadata_columns}

    def __len__(self) -> int:
        return int(self.table.count_rows())

    def go_back(self, version: int) -> None:
        """Make the newest version what an older one was."""
        if self.table.version != version or self._newest() != version:
            self.table.restore(version)

    def _newest(self) -> int:
        self.table.checkout_latest()
        return int(self.table.version)

    def append(self, rows: Sequence[Row], vectors: npt.NDArray[np.float32]) -> None:
        """Add rows.

        Args:
            rows: What they are of.
            vectors: `(n, dim)`.
        """
        if rows:
            self.append_table(self._arrow(rows, vectors))

    def append_table(self, table: pa.Table) -> None:
        """Add rows of the table's own schema."""
        self.table.add(table)

    def delete_files(self, files: Iterable[int]) -> None:
        """Remove the rows of these files."""
        for condition in _conditions("file", [str(number) for number in files]):
            self.table.delete(condition)

    def delete_ids(self, ids: Iterable[str]) -> None:
        """Remove these rows."""
        for condition in _conditions("id", [quoted(name) for name in ids]):
            self.table.delete(condition)

    def of_files(self, files: Iterable[int]) -> pa.Table:
        """All rows of these files, with their vectors."""
        import pyarrow as pa

        conditions = _conditions("file", [str(number) for number in files])
        tables = [self.table.search().where(condition).limit(None).to_arrow() for condition in conditions]
        return pa.concat_tables(tables) if tables else self.schema.empty_table()

    def ids_among(self, ids: Sequence[str]) -> set[str]:
        """Those of the ids that there are rows of."""
        found: set[str] = set()
        for condition in _conditions("id", [quoted(name) for name in ids]):
            rows = self.table.search().where(condition).select(["id"]).limit(None).to_arrow()
            found |= set(rows.column("id").to_pylist())
        return found

    def ensure_columns(self, metadata: Iterable[Mapping[str, Any]]) -> None:
        """Columns for metadata that there are none of yet.

        Raises:
            InputError: A name is one that every index has, or values are of no plain type or of several.
        """
        types: dict[str, str] = {}
        for values in metadata:
            for name, value in values.items():
                if value is None:
                    continue
                kind = next((sql for python, sql in _TYPES if type(value) is python), None)
                if name in COLUMNS or name.startswith("_") or not name.isidentifier():
                    raise InputError(
                        f'metadata has the name "{name}"',
                        fix=f"Use a name of letters, digits and _, other than {', '.join(COLUMNS)}.",
                    )
                if kind is None:
                    raise InputError(
                        f'metadata "{name}" is of the type {type(value).__name__}',
                        fix="Pass a string, an int, a float or a bool; json.dumps makes a string of others.",
                    )
                known = types.setdefault(name, kind)
                if known != kind and {known, kind} == {"bigint", "double"}:
                    types[name] = "double"
                elif known != kind:
                    raise InputError(f'metadata "{name}" is of several types', fix="Pass values of one type.")
        self.ensure_types(types)

    def ensure_types(self, types: Mapping[str, str]) -> None:
        """The same for columns of these types, which are named as SQL or Arrow does.

        Raises:
            InputError: A column is there with another type, or its type is no plain one.
        """
        there = {field.name: str(field.type) for field in self.schema}
        new = {}
        for name, given in types.items():
            kind = _SQL.get(given)
            if kind is None:
                raise InputError(
                    f'the column "{name}" is of the type {given}',
                    fix="Leave it out, or make it one of strings, whole numbers, numbers or bools.",
                )
            if name not in there:
                new[name] = f"cast(NULL as {kind})"
            elif there[name] not in _ARROW[kind]:
                raise InputError(
                    f'metadata "{name}" is {kind}, and the column is {there[name]}',
                    fix="Pass values of the column's type, or use another name.",
                )
        if new:
            self.table.add_columns(new)

    def compact(self) -> None:
        """Join small pieces, and bring an ANN index up to date; older versions stay."""
        self.table.optimize(cleanup_older_than=_NEVER)

    def clean(self, kept: timedelta = _KEPT) -> None:
        """Let go of versions that nobody reads any more."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            self.table.optimize(cleanup_older_than=kept)

    def _arrow(self, rows: Sequence[Row], vectors: npt.NDArray[np.float32]) -> pa.Table:
        import pyarrow as pa

        schema = self.schema
        columns: dict[str, Any] = {
            name: [getattr(row, name) for row in rows] for name in COLUMNS if name != "vector"
        }
        columns["modified"] = [None if row.modified is None else row.modified // 1000 for row in rows]
        columns["vector"] = vectors
        for name in self.metadata_columns:
            columns[name] = [(row.metadata or {}).get(name) for row in rows]
        return pa.table(columns_of(columns, schema), schema=schema)


def columns_of(columns: Mapping[str, Any], schema: pa.Schema) -> dict[str, Any]:
    """Columns of a schema from plain values; vectors are an array of `n * dim` numbers."""
    import pyarrow as pa

    field = schema.field("vector").type
    flat = np.asarray(columns["vector"], dtype=field.value_type.to_pandas_dtype()).ravel()
    stamps = [int(at.timestamp() * 1e6) if hasattr(at, "timestamp") else at for at in columns["modified"]]
    return {
        **{
            name: pa.array(columns[name], schema.field(name).type)
            for name in schema.names
            if name not in ("vector", "modified")
        },
        "modified": pa.array(stamps, pa.int64()).cast(schema.field("modified").type),
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(flat), field.list_size),
    }


_SQL = {
    **dict.fromkeys(("string", "large_string"), "string"),
    **dict.fromkeys(("boolean", "bool"), "boolean"),
    **dict.fromkeys(("bigint", "int64", "int32", "int16", "int8"), "bigint"),
    **dict.fromkeys(("double", "float"), "double"),
}
_TYPES = ((str, "string"), (bool, "boolean"), (int, "bigint"), (float, "double"))
_ARROW = {
    "string": ("string", "large_string"),
    "boolean": ("bool",),
    "bigint": ("int64", "double"),
    "double": ("double",),
}

_PYTHON = {"string": str, "large_string": str, "bool": bool, "int64": int, "double": float}


def quoted(text: str) -> str:
    """A string as SQL writes it.

    Example:
        >>> quoted("it's")
        "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def _conditions(column: str, literals: Sequence[str]) -> list[str]:
    return [
        f"{column} IN ({', '.join(literals[first : first + _LITERALS])})"
        for first in range(0, len(literals), _LITERALS)
    ]


def _schema(dimensions: int, *, half: bool) -> pa.Schema:
    import pyarrow as pa

    return pa.schema(
        [
            ("id", pa.string()),
            ("file", pa.int64()),
            ("root", pa.int32()),
            ("path", pa.string()),
            ("kind", pa.string()),
            ("part", pa.int32()),
            ("page", pa.int32()),
            ("start", pa.float64()),
            ("end", pa.float64()),
            ("modified", pa.timestamp("us", tz="UTC")),
            ("text", pa.string()),
            ("vector", pa.list_(pa.float16() if half else pa.float32(), dimensions)),
        ]
    )


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0][:300]
