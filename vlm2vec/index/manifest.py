"""`Manifest`: what an index knows of its files, and which version of its rows is whole.

It is the truth of the index. Rows are written first, which gives the table a new version; then one
transaction here notes the files that they are of, and that version. A process that dies in between leaves a
version that nobody reads, and the next writer goes back to the one that is noted.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlm2vec.errors import IndexStoreError

__all__ = ["Failure", "FileRecord", "Manifest"]

_NAME = "manifest.sqlite"
_SECONDS = 60.0  # that a reader waits for a transaction, which takes milliseconds
_SCHEMA = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE roots (id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, patterns TEXT NOT NULL);
CREATE TABLE files (
    id INTEGER PRIMARY KEY AUTOINCREMENT, root INTEGER NOT NULL, path TEXT NOT NULL, size INTEGER NOT NULL,
    modified INTEGER NOT NULL, seen INTEGER NOT NULL, content TEXT, kind TEXT NOT NULL, rows INTEGER NOT NULL,
    UNIQUE (root, path)
);
CREATE TABLE failures (file INTEGER, root INTEGER, path TEXT NOT NULL, part TEXT NOT NULL, reason TEXT NOT
NULL); CREATE INDEX failures_by_file ON failures (file);
"""


@dataclass(frozen=True)
class FileRecord:
    """A file as it was when its rows were made.

    Attributes:
        id: What its rows carry.
        root: Which folder it is below.
        path: Below that, with forward slashes.
        size: In bytes.
        modified: Time of its last change, in nanoseconds since 1970.
        seen: When it was looked at.
        content: Digest of its bytes; `None` where they could not be read.
        kind: "image", "video", "pdf", "text"; "broken" for what failed, "other" for what is no such file.
        rows: How many it has.
    """

    id: int
    root: int
    path: str
    size: int
    modified: int
    seen: int
    content: str | None
    kind: str
    rows: int


@dataclass(frozen=True)
class Failure:
    """A file, or a part of one, that could not be embedded.

    Attributes:
        path: Of the file, below the folder that was indexed; of an input that was added, its id.
        part: Which part of it, such as "page 3"; empty for the whole.
        reason: What was wrong, and what to do.
    """

    path: str
    part: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}{', ' if self.part else ''}{self.part}: {self.reason}"


class Manifest:
    """The manifest of a generation of an index.

    Args:
        folder: The generation.
        writable: Whether this process is the one that writes.
        create: Whether it is made anew.

    Raises:
        IndexStoreError: It is not there, or damaged.
    """

    def __init__(self, folder: Path, *, writable: bool = False, create: bool = False) -> None:
        self.folder = folder
        path = folder / _NAME
        self._lock = threading.RLock()
        # Whoever opens it after a writer was killed has to undo what that one began, which takes writing.
        # Where the file cannot be written, SQLite opens it for reading all the same.
        mode = "rwc" if create else "rw"
        try:
            self._db = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode={mode}",
                uri=True,
                timeout=_SECONDS,
                isolation_level=None,
                check_same_thread=False,
            )
            if create:
                self._db.executescript(f"BEGIN; {_SCHEMA} COMMIT;")
            if not (writable or create):
                self._db.execute("PRAGMA query_only = ON")
            self._db.execute("SELECT count(*) FROM roots").fetchone()
        except sqlite3.Error as error:
            raise self._damaged(error) from error

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written in here, or nothing."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                if self._db.in_transaction:  # a full disk ends it by itself
                    self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def fact(self, name: str, default: Any = None) -> Any:
        """A plain value that was noted under a name."""
        found = self._rows("SELECT value FROM facts WHERE name = ?", (name,))
        return json.loads(found[0][0]) if found else default

    def note(self, name: str, value: Any) -> None:
        """Note a plain value under a name."""
        self._write("INSERT OR REPLACE INTO facts VALUES (?, ?)", [(name, json.dumps(value))])

    def roots(self) -> dict[int, str]:
        """The folders that are indexed, as they were noted."""
        return dict(self._rows("SELECT id, path FROM roots ORDER BY id"))

    def patterns(self, root: int) -> dict[str, Any]:
        """Which files of a folder are taken."""
        ((said,),) = self._rows("SELECT patterns FROM roots WHERE id = ?", (root,))
        found: dict[str, Any] = json.loads(said)
        return found

    def add_root(self, path: str, patterns: dict[str, Any]) -> int:
        """The number of a folder, which is noted with what is taken of it."""
        self._write(
            "INSERT INTO roots (path, patterns) VALUES (?, ?) "
            "ON CONFLICT (path) DO UPDATE SET patterns = excluded.patterns",
            [(path, json.dumps(patterns))],
        )
        ((number,),) = self._rows("SELECT id FROM roots WHERE path = ?", (path,))
        return int(number)

    def drop_root(self, root: int) -> None:
        """Forget a folder, whose files are forgotten."""
        self._write("DELETE FROM failures WHERE root = ?", [(root,)])
        self._write("DELETE FROM roots WHERE id = ?", [(root,)])

    def files(self, root: int | None = None) -> dict[str, FileRecord]:
        """The files of a folder by path; of all, where none is said, by root and path."""
        columns = "id, root, path, size, modified, seen, content, kind, rows"
        if root is None:
            rows = self._rows(f"SELECT {columns} FROM files ORDER BY root, path")  # noqa: S608
            return {f"{row[1]}:{row[2]}": FileRecord(*row) for row in rows}
        rows = self._rows(f"SELECT {columns} FROM files WHERE root = ? ORDER BY path", (root,))  # noqa: S608
        return {row[2]: FileRecord(*row) for row in rows}

    def next_id(self) -> int:
        """A number that no file has had."""
        found = self._rows("SELECT seq FROM sqlite_sequence WHERE name = 'files'")
        return (int(found[0][0]) if found else 0) + 1

    def put(self, record: FileRecord, failures: Iterable[Failure] = ()) -> None:
        """Note a file, in the place of what was noted of it, and what of it failed."""
        self.drop([record.id])
        self._write(
            "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    *(record.id, record.root, record.path, record.size, record.modified, record.seen),
                    *(record.content, record.kind, record.rows),
                )
            ],
        )
        self.add_failures(failures, file=record.id, root=record.root)

    def touch(self, record: FileRecord) -> None:
        """A file has another time, and is otherwise as it was."""
        self._write(
            "UPDATE files SET modified = ?, seen = ? WHERE id = ?",
            [(record.modified, record.seen, record.id)],
        )

    def drop(self, files: Iterable[int]) -> None:
        """Forget files, and what of them failed."""
        ids = [(number,) for number in files]
        self._write("DELETE FROM failures WHERE file = ?", ids)
        self._write("DELETE FROM files WHERE id = ?", ids)

    def add_failures(self, failures: Iterable[Failure], *, file: int | None = None, root: int = 0) -> None:
        """Note what failed."""
        rows = [(file, root, failure.path, failure.part, failure.reason) for failure in failures]
        self._write("INSERT INTO failures VALUES (?, ?, ?, ?, ?)", rows)

    def drop_failures(self, paths: Sequence[str] | None = None, *, root: int = 0) -> None:
        """Forget failures without a file below a root: those of these names, or all."""
        if paths is None:
            self._write("DELETE FROM failures WHERE file IS NULL AND root = ?", [(root,)])
        else:
            self._write(
                "DELETE FROM failures WHERE file IS NULL AND root = ? AND path = ?",
                [(root, path) for path in paths],
            )

    def failures(self, root: int | None = None) -> list[Failure]:
        """What failed, by path."""
        where, values = ("", ()) if root is None else ("WHERE root = ?", (root,))
        rows = self._rows(
            f"SELECT path, part, reason FROM failures {where} ORDER BY root, path, rowid",  # noqa: S608
            values,
        )
        return [Failure(*row) for row in rows]

    def failures_of(self, file: int) -> list[Failure]:
        """What of a file failed."""
        rows = self._rows("SELECT path, part, reason FROM failures WHERE file = ? ORDER BY rowid", (file,))
        return [Failure(*row) for row in rows]

    def failing(self, root: int) -> frozenset[int]:
        """Files of a folder of which something failed."""
        rows = self._rows("SELECT DISTINCT file FROM failures WHERE root = ? AND file IS NOT NULL", (root,))
        return frozenset(row[0] for row in rows)

    def kinds(self) -> dict[str, int]:
        """How many files there are of each kind."""
        return dict(self._rows("SELECT kind, count(*) FROM files GROUP BY kind ORDER BY kind"))

    def subfolders(self) -> dict[tuple[int, str], int]:
        """How many files with rows there are in each folder of a root, and below it; `""` is the root."""
        rows = self._rows(
            "SELECT root, substr(path, 1, max(instr(path, '/') - 1, 0)) AS folder, count(*) FROM files "
            "WHERE rows > 0 GROUP BY root, folder ORDER BY root, folder"
        )
        return {(root, folder): count for root, folder, count in rows}

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._lock:
            try:
                return self._db.execute(query, values).fetchall()
            except sqlite3.Error as error:
                raise self._damaged(error) from error

    def _write(self, query: str, rows: Sequence[Sequence[Any]]) -> None:
        with self._lock:
            self._db.executemany(query, rows)

    def _damaged(self, error: sqlite3.Error) -> IndexStoreError:
        return IndexStoreError(
            f"the manifest cannot be read ({error})",
            fix="Is it a whole copy of the folder? If not, remove it, and index again.",
            source=str(self.folder),
        )
