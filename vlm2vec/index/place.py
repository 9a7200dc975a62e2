"""Where an index lies on disk: a folder with a small file that names the generation in use, and a lock.

store/
  vlm2vec-index.json      {"format": 1, "generation": 2}: replaced in one go
  writer.lock             held by the one process that writes
  2/manifest.sqlite       which files there are, and which version of the rows is whole
  2/rows.lance/           the rows, a table of LanceDB
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from vlm2vec.arguments import possible_path
from vlm2vec.atomic_write import full_disk_named, write_text
from vlm2vec.errors import IndexStoreError
from vlm2vec.folder_lock import locked
from vlm2vec.json_file import read_json

__all__ = ["DEFAULT_NAME", "Place", "find_store", "is_store", "store_for"]

DEFAULT_NAME = ".vlm2vec"
"""Of the store of a folder, in that folder."""

_POINTER = "vlm2vec-index.json"
_LOCK = "writer.lock"
_FORMAT = 1
_PATIENCE = 0.2  # seconds: a writer that ends right now is waited for


def is_store(folder: Path) -> bool:
    """Whether a folder is an index."""
    return (folder / _POINTER).is_file()


def find_store(path: Path) -> Path | None:
    """The index that a user means who names it, or the folder that it is of; `None` where there is none."""
    possible_path(path)
    return next((place for place in (path, path / DEFAULT_NAME) if is_store(place)), None)


def store_for(path: Path) -> Path:
    """The index that is there, or where one is to be made: in a folder of files, as `.vlm2vec`.

    Example:
        >>> store_for(Path("photos.index")).as_posix()
        'photos.index'
    """
    found = find_store(path)
    if found is not None:
        return found
    # A lock alone is of an index that was to be made before, and came to hold nothing.
    if path.is_dir() and any(path.iterdir()) and not (path / _LOCK).is_file():
        return path / DEFAULT_NAME
    return path


class Place:
    """The folder of an index.

    Args:
        folder: Where it is, or is to be.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def generation(self) -> Path | None:
        """The folder of the generation in use; `None` where there is no index yet.

        Raises:
            IndexStoreError: It was written by a newer version of this package, or is damaged.
        """
        pointer = self.folder / _POINTER
        try:
            said = read_json(pointer)
            number, layout = int(said["generation"]), int(said["format"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise IndexStoreError(
                f"{_POINTER} cannot be read ({error})",
                fix="Remove the folder, and index again.",
                source=self.name,
            ) from error
        if layout > _FORMAT:
            raise IndexStoreError(
                f"the index has the format {layout}, and this version knows {_FORMAT}",
                fix="Use the version of vlm2vec that wrote it, or a newer one.",
                source=self.name,
            )
        return self.folder / str(number)

    def next_generation(self) -> Path:
        """The folder of the generation that may come to be in use next."""
        current = self.generation()
        return self.folder / str(1 if current is None else int(current.name) + 1)

    def use(self, generation: Path) -> None:
        """From here on that generation is in use, and others go.

        Raises:
            IndexStoreError: The disk is full.
        """
        with self.writing_errors():
            said: dict[str, Any] = {"format": _FORMAT, "generation": int(generation.name)}
            write_text(self.folder / _POINTER, json.dumps(said) + "\n")
        for other in self.folder.iterdir():
            if other.name.isdecimal() and other != generation:
                shutil.rmtree(other, ignore_errors=True)

    @property
    def name(self) -> str:
        """What errors call it."""
        return str(self.folder)

    @contextmanager
    def writer(self) -> Iterator[None]:
        """Nobody else writes meanwhile.

        Raises:
            IndexStoreError: Another process does, or nothing can be written here.
        """
        refusal = IndexStoreError(
            "another process is writing into it",
            fix="Wait until it has ended; searching goes on meanwhile.",
            source=self.name,
        )
        with ExitStack() as stack:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(locked(self.folder / _LOCK, refusal, seconds=_PATIENCE))
            except OSError as error:
                self.refuse(error)
            with self.writing_errors():
                yield

    def refuse(self, error: OSError) -> Any:
        """Raises what is to be said where the folder cannot be written."""
        if error.errno is None or not os.access(self._there(), os.W_OK):
            raise IndexStoreError(
                f"nothing can be written there ({error.strerror or error})",
                fix='Keep the index elsewhere: Index("photos.index"), or --store DIR.',
                source=self.name,
            ) from error
        raise error

    @contextmanager
    def writing_errors(self) -> Iterator[None]:
        """A disk without room is an error that says what remains."""
        fix = "What was indexed before is whole; free some space, and do it again."
        with full_disk_named(self.folder, fix, error=IndexStoreError):
            yield

    def _there(self) -> Path:
        return next(folder for folder in (self.folder, *self.folder.absolute().parents) if folder.exists())
