"""Files that are whole or not there, whenever a process dies."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from typing import BinaryIO

from vlm2vec.arguments import possible_path
from vlm2vec.errors import CheckpointError, VLM2VecError

__all__ = ["FULL", "Stream", "full_disk_named", "naming", "replacing", "replacing_in", "write_text"]


FULL = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))  # not all systems have quotas
"""What the system says when there is no room: of a disk, of a quota, for a file of that size."""

# How safetensors, LanceDB, torch and SQLite, whose errors have no number, say that a file was not written.
_NOT_WRITTEN = re.compile(
    rf"\(os error ({'|'.join(map(str, FULL))})\)|PytorchStreamWriter failed|iostream error"
    "|database or disk is full"
)


@contextmanager
def full_disk_named(folder: Path, fix: str, *, error: type[VLM2VecError] = CheckpointError) -> Iterator[None]:
    """A disk without room is an error of ours, whichever library was writing.

    Args:
        folder: Where it writes.
        fix: What to do.
        error: Of which type the error is.

    Raises:
        VLM2VecError: There is no room.

    Example:
        >>> with full_disk_named(Path("model"), "Free some space."):
        ...     raise OSError(28, "No space left on device")
        Traceback (most recent call last):
        vlm2vec.errors.CheckpointError: model: the disk has no room for it (No space left on device). ...
    """
    try:
        yield
    except VLM2VecError:
        raise
    except Exception as cause:
        number = cause.errno if isinstance(cause, OSError) else None
        if number not in FULL and not _NOT_WRITTEN.search(str(cause)):
            raise
        reason = os.strerror(number) if number is not None else str(cause).partition("\n")[0]
        raise error(f"the disk has no room for it ({reason})", fix=fix, source=str(folder)) from cause


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """The system's errors name the file; those of writing, as of a full disk, do not by themselves.

    Example:
        >>> with naming(Path("vectors.npz")):
        ...     raise OSError(28, "No space left on device")
        Traceback (most recent call last):
        OSError: [Errno 28] No space left on device: 'vectors.npz'
    """
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


class Stream:
    """A file for `numpy.save`, which writes into an open file by itself and then cannot say what went wrong.

    Args:
        file: A binary file, open for writing.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        """Write, as the file does."""
        return self._file.write(data)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside a file, to write to: it takes the file's place at the end, and goes if there is an error.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     with replacing(Path(folder, "note.txt")) as unfinished:
        ...         _ = unfinished.write_text("whole")
        ...     [path.name for path in Path(folder).iterdir()]
        ['note.txt']
    """
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with naming(path):
            yield unfinished
            unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def replacing_in(folder: Path) -> Iterator[Path]:
    """A folder inside another, to write to: its files take their places in that one once all are there.

    If there is an error, what the outer folder held is as it was. The inner one is not beside it, since there
    may be another disk. Files get the permissions of any new file there: those that safetensors writes
    are for their owner alone.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     with replacing_in(Path(folder)) as unfinished:
        ...         _ = (unfinished / "note.txt").write_text("whole")
        ...     [path.name for path in Path(folder).iterdir()]
        ['note.txt']
    """
    is_new = not possible_path(folder).exists()
    unfinished = folder / f"{os.getpid()}.part"
    unfinished.mkdir(parents=True, exist_ok=True)
    try:
        yield unfinished
        mode = _mode_of_new_files(unfinished)
        for path in sorted(path for path in unfinished.rglob("*") if not path.is_dir()):
            place = folder / path.relative_to(unfinished)
            place.parent.mkdir(parents=True, exist_ok=True)
            with suppress(OSError):  # some file systems have no permissions to set
                path.chmod(mode)
            path.replace(place)
    finally:
        rmtree(unfinished, ignore_errors=True)
        if is_new:
            with suppress(OSError):  # it is not empty: all went well
                folder.rmdir()


def _mode_of_new_files(folder: Path) -> int:
    """The process's mask cannot be read without being set for all its threads, so a new file tells it."""
    new = folder / ".new"
    new.touch()
    mode = new.stat().st_mode & 0o777
    new.unlink()
    return mode


def write_text(path: Path, text: str) -> None:
    """Write a file in one go; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
