"""Rows of an index as tables of Arrow and files of Parquet, for other programs and other indexes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlm2vec.atomic_write import replacing
from vlm2vec.errors import IndexMismatchError, InputError
from vlm2vec.index.rows import COLUMNS, Rows, columns_of
from vlm2vec.vectors_identity import VectorsIdentity

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["read_parquet", "to_arrow", "write_parquet"]

_KEY = b"vlm2vec"
_BATCH = 4096


def to_arrow(rows: Rows, roots: Mapping[int, Path], where: str | None = None) -> pa.Table:
    """All rows, or those of a condition, with the paths of their files in full."""
    import pyarrow as pa

    return pa.Table.from_batches(list(_batches(rows, roots, where)), schema=_schema(rows))


def write_parquet(
    path: Path, rows: Rows, roots: Mapping[int, Path], identity: Mapping[str, Any], where: str | None = None
) -> int:
    """Write rows into a file of Parquet, with what their vectors depend on beside them; says how many.

    A file that is there is replaced in one go.
    """
    import pyarrow.parquet as pq

    schema = _schema(rows).with_metadata({_KEY: json.dumps(dict(identity)).encode()})
    count = 0
    with replacing(path) as unfinished, pq.ParquetWriter(unfinished, schema) as file:
        for batch in _batches(rows, roots, where):
            file.write_batch(batch.cast(schema))
            count += len(batch)
    return count


def read_parquet(path: Path, rows: Rows, identity: VectorsIdentity) -> Iterator[pa.Table]:
    """Tables of the index's own schema from a file of Parquet; columns that it lacks are empty.

    Args:
        path: The file: `id` and `vector`, and what else `write_parquet` writes; other columns are metadata.
        rows: Of the index; it gets columns for metadata that it has none for.
        identity: Of the index.

    Raises:
        IndexMismatchError: The file says that its vectors are of another model or of other settings.
        InputError: It has no ids or vectors, or vectors of another length.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    given = file.schema_arrow
    if missing := [name for name in ("id", "vector") if name not in given.names]:
        raise InputError(f"there is no column {' or '.join(missing)}", fix="Name them so.", source=str(path))
    said = (given.metadata or {}).get(_KEY)
    if said is not None:
        there = VectorsIdentity.from_dict(json.loads(said))
        there.check(
            identity,
            source=str(path),
            fix="Encode its inputs again with this model.",
            error=IndexMismatchError,
        )
    rows.ensure_types({name: str(given.field(name).type) for name in given.names if name not in COLUMNS})
    schema = rows.schema
    dimensions = schema.field("vector").type.list_size
    for batch in file.iter_batches(_BATCH):
        lengths = set(pc.list_value_length(batch.column("vector")).to_pylist())
        if lengths - {dimensions}:
            raise InputError(
                f"a vector has {(lengths - {dimensions}).pop() or 0} components, and those of the index have "
                f"{dimensions}",
                fix="Export it from an index of the same model.",
                source=str(path),
            )
        there_are: dict[str, Any] = {
            name: batch.column(name).to_pylist() for name in batch.schema.names if name != "vector"
        }
        there_are |= {"file": [0] * len(batch), "root": [0] * len(batch)}
        there_are["vector"] = batch.column("vector").flatten().to_numpy(zero_copy_only=False)
        kinds = there_are.get("kind") or ["mixed"] * len(batch)
        there_are["kind"] = [kind or "mixed" for kind in kinds]
        columns = {name: there_are.get(name, [None] * len(batch)) for name in schema.names}
        yield pa.table(columns_of(columns, schema), schema=schema)


def _batches(rows: Rows, roots: Mapping[int, Path], where: str | None) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    schema = _schema(rows)
    search = rows.table.search()
    search = (search.where(where) if where else search).limit(None)
    for batch in search.to_batches(_BATCH):
        numbers, paths = batch.column("root").to_pylist(), batch.column("path").to_pylist()
        full = [
            path if path is None or number not in roots else str(roots[number] / path)
            for number, path in zip(numbers, paths, strict=True)
        ]
        columns = [
            pa.array(full, pa.string()) if name == "path" else batch.column(name) for name in schema.names
        ]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _schema(rows: Rows) -> pa.Schema:
    import pyarrow as pa

    return pa.schema([field for field in rows.schema if field.name not in ("file", "root")])
