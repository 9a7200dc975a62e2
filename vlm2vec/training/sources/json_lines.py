"""A file of JSON lines, read line by line at random: only where each line starts is kept in memory."""

from __future__ import annotations

import operator
from array import array
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from vlm2vec.errors import InputError
from vlm2vec.json_file import parse_json

__all__ = ["JsonLines"]


class JsonLines:
    r"""The objects of a `.jsonl` file by position; blank lines do not count.

    The file is opened for each line that is read, so that the object can be sent to worker processes.

    Args:
        path: The file.
        limit: Read no further than this many lines.

    Raises:
        InputError: The file does not exist.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "rows.jsonl")
        ...     _ = path.write_text('{"query": "a"}\n\n{"query": "b"}\n')
        ...     lines = JsonLines(path)
        ...     len(lines), lines[1]
        (2, {'query': 'b'})
    """

    def __init__(self, path: Path, *, limit: int | None = None) -> None:
        found = False
        with suppress(OSError):  # a name that is too long for the system
            found = path.is_file()
        if not found:
            raise InputError(
                f"the file {path} does not exist", fix="Check the file's name and the data folder."
            )
        self.path = path
        self._starts = array("q")
        start = 0
        with path.open("rb") as file:
            for line in file:
                if limit is not None and len(self._starts) >= limit:
                    break
                if not line.isspace():
                    self._starts.append(start)
                start += len(line)

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: int) -> dict[str, Any]:
        start = self._starts[operator.index(index)]
        with self.path.open("rb") as file:
            file.seek(start)
            line = file.readline()
        try:
            record = parse_json(line)
        except ValueError as error:  # also of bytes that are not UTF-8
            raise InputError(
                f"the line at byte {start:,} is no JSON ({error})",
                fix="Write the file again.",
                source=self.path.name,
            ) from error
        if not isinstance(record, dict):
            raise InputError(
                f"the line at byte {start:,} is no JSON object",
                fix='Write one object a line: {"...": ...}.',
                source=self.path.name,
            )
        return record

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[index] for index in range(len(self)))
