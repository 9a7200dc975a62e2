"""`Writer`: changes of an index, each whole or not there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vlm2vec.index.manifest import Failure, FileRecord, Manifest
from vlm2vec.index.rows import Row, Rows

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Writer"]

# Pieces that the table is left in before they are joined: each batch that is written makes one.
_PIECES = 50


class Writer:
    """What the one process that writes does.

    Rows come first. They are a new version of the table, which nobody reads until the manifest names it.

    Args:
        folder: The generation of the index.
        manifest: Of it.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.manifest = manifest
        self._folder = folder
        self._rows: Rows | None = None
        self._next = manifest.next_id()

    @property
    def rows(self) -> Rows:
        """The table as the manifest says that it is whole; what a stopped process left beyond is undone."""
        if self._rows is None:
            self._rows = Rows(self._folder)
            self._rows.go_back(int(self.manifest.fact("version")))
        return self._rows

    def new_file(self) -> int:
        """A number for a file."""
        self._next += 1
        return self._next - 1

    def write(
        self,
        records: Sequence[tuple[FileRecord, Sequence[Failure]]],
        rows: Sequence[Row],
        vectors: npt.NDArray[np.float32],
        *,
        replaced: Sequence[int] = (),
    ) -> None:
        """Note files with their rows.

        Args:
            records: The files, each with what of it failed.
            rows: What their vectors are of.
            vectors: `(n, dim)`.
            replaced: Those of the files that had rows before.
        """
        self.rows.delete_files(replaced)
        self.rows.append(rows, vectors)
        with self.manifest.transaction():
            for record, failures in records:
                self.manifest.put(record, failures)
            self._note_version()

    def move(
        self,
        settled: Sequence[tuple[FileRecord, FileRecord]],
        copied: Sequence[tuple[FileRecord, FileRecord]],
        gone: Sequence[FileRecord],
    ) -> None:
        """Files that have another time or name, and files that are gone.

        Args:
            settled: Files as they were, and as they are: of the same content, with another time.
            copied: Files as they were, and others of the same content.
            gone: Files that are no more.
        """
        if not (settled or copied or gone):
            return
        changes = [(old, new) for old, new in settled if old.rows and old.modified != new.modified]
        changes += [(old, new) for old, new in copied if old.rows]
        tables = self._rewritten(changes)
        leave = {old.id for old in gone if old.rows} | {old.id for old, new in changes if old.id == new.id}
        if leave or tables:
            self.rows.delete_files(sorted(leave))
            for table in tables:
                self.rows.append_table(table)
        with self.manifest.transaction():
            failures = {new.id: self._failures_of(old, new) for old, new in copied}
            self.manifest.drop(old.id for old in gone)
            for _, new in settled:
                self.manifest.touch(new)
            for _, new in copied:
                self.manifest.put(new, failures[new.id])
            if self._rows is not None:
                self._note_version()

    def note_unreadable(self, root: int, failures: Iterable[Failure]) -> None:
        """What of a folder cannot be read, in the place of what was noted of that."""
        with self.manifest.transaction():
            self.manifest.drop_failures(root=root)
            self.manifest.add_failures(failures, root=root)

    def add(self, rows: Sequence[Row], vectors: npt.NDArray[np.float32], failures: Sequence[Failure]) -> None:
        """Rows of inputs that are in no file, in the place of those with the same ids."""
        if rows:
            self.rows.ensure_columns(row.metadata or {} for row in rows)
            there = self.rows.ids_among([row.id for row in rows])
            self.rows.delete_ids(sorted(there))
            self.rows.append(rows, vectors)
        with self.manifest.transaction():
            self.manifest.drop_failures([*(row.id for row in rows), *(failure.path for failure in failures)])
            self.manifest.add_failures(failures)
            self.manifest.note("added", True)
            self._note_version()

    def add_tables(self, tables: Iterable[pa.Table]) -> int:
        """Rows that are in no file, all of them or none, in the place of those with the same ids."""
        count = 0
        for table in tables:
            self.rows.delete_ids(sorted(self.rows.ids_among(table.column("id").to_pylist())))
            self.rows.append_table(table)
            count += len(table)
        with self.manifest.transaction():
            self.manifest.note("added", True)
            self._note_version()
        return count

    def remove(self, ids: Sequence[str]) -> int:
        """Remove rows, and say how many there were."""
        before = len(self.rows)
        self.rows.delete_ids(ids)
        with self.manifest.transaction():
            self.manifest.drop_failures(ids)
            self._note_version()
        return before - len(self.rows)

    def forget(self, root: int) -> None:
        """Remove a folder, its files and their rows."""
        files = self.manifest.files(root).values()
        self.rows.delete_files(old.id for old in files if old.rows)
        with self.manifest.transaction():
            self.manifest.drop(old.id for old in files)
            self.manifest.drop_root(root)
            self._note_version()

    def tidy(self, *, now: bool = False) -> None:
        """Join pieces and let go of old versions, where there are many, or now."""
        if not now and (self._rows is None or int(self.manifest.fact("pieces", 0)) < _PIECES):
            return
        self.rows.compact()
        with self.manifest.transaction():
            self._note_version()
            self.manifest.note("pieces", 0)
        self.rows.clean()
        if self.rows.version != self.manifest.fact("version"):
            with self.manifest.transaction():
                self._note_version()

    def note_version(self) -> None:
        """The table is whole as it is now."""
        with self.manifest.transaction():
            self._note_version()

    def _note_version(self) -> None:
        self.manifest.note("version", self.rows.version)
        self.manifest.note("rows", len(self.rows))
        self.manifest.note("pieces", int(self.manifest.fact("pieces", 0)) + 1)

    def _failures_of(self, old: FileRecord, new: FileRecord) -> list[Failure]:
        return [
            Failure(new.path, failure.part, failure.reason) for failure in self.manifest.failures_of(old.id)
        ]

    def _rewritten(self, changes: Sequence[tuple[FileRecord, FileRecord]]) -> list[pa.Table]:
        """The rows of files with the names and times of others: their vectors are as they were."""
        if not changes:
            return []
        table = self.rows.of_files({old.id for old, _ in changes})
        by_file: dict[int, list[int]] = {}
        for place, file in enumerate(table.column("file").to_pylist()):
            by_file.setdefault(file, []).append(place)
        return [_renamed(table.take(by_file[old.id]), old, new) for old, new in changes if old.id in by_file]


def _renamed(table: pa.Table, old: FileRecord, new: FileRecord) -> pa.Table:
    import pyarrow as pa

    values: Mapping[str, Sequence[Any]] = {
        "id": [_other_name(name, old, new) for name in table.column("id").to_pylist()],
        "file": [new.id] * len(table),
        "root": [new.root] * len(table),
        "path": [new.path] * len(table),
        "modified": [new.modified // 1000] * len(table),
    }
    for name, column in values.items():
        place = table.schema.get_field_index(name)
        field = table.schema.field(place)
        kind = pa.int64() if name == "modified" else field.type
        table = table.set_column(place, field, pa.array(column, kind).cast(field.type))
    return table


def _other_name(name: str, old: FileRecord, new: FileRecord) -> str:
    own, other = (("" if file.root == 1 else f"{file.root}:") + file.path for file in (old, new))
    return other + name.removeprefix(own)
