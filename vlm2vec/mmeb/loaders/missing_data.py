"""What is said when data of a task are not there."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from vlm2vec.errors import MediaError, VLM2VecError

__all__ = ["MissingDataError", "require_files"]


class MissingDataError(VLM2VecError):
    """Annotations of a task, or the folder of its media, are nowhere that was looked at."""


def require_files(task: str, files: Iterable[tuple[str, Path]]) -> None:
    """Check that media exist, all of them before anything is said.

    Args:
        task: Name of the task.
        files: What a file belongs to, such as "row 3", and the file.

    Raises:
        MediaError: Names the first that is missing, and how many more are.

    Example:
        >>> require_files("MSCOCO", [("row 3", Path("no.png")), ("row 4", Path("none.png"))])
        Traceback (most recent call last):
        ...
        vlm2vec.errors.MediaError: MSCOCO, row 3: the file no.png is missing, and 1 more of this task. ...
    """
    missing = [(owner, path) for owner, path in files if not path.is_file()]
    if missing:
        owner, path = missing[0]
        more = f", and {len(missing) - 1:,} more of this task" if len(missing) > 1 else ""
        raise MediaError(
            f"the file {path} is missing{more}",
            fix="Unpack the task's archive completely.",
            source=f"{task}, {owner}",
        )
