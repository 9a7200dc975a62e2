"""`Roots`: the folders that an index follows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from vlm2vec.errors import InputError
from vlm2vec.index.search import below

__all__ = ["Roots"]


class Roots:
    """The folders that an index follows, by number.

    Args:
        store: The folder of the index.
        noted: The folders as `noted_as` gave them.
    """

    def __init__(self, store: Path, noted: Mapping[int, str]) -> None:
        self._store = store.resolve()
        self.folders = {number: (self._store / path).resolve() for number, path in noted.items()}

    def noted_as(self, folder: Path) -> str:
        """A folder as it is noted: seen from a store that lies in it, so that both can move."""
        folder = folder.resolve()
        if folder in self._store.parents:
            return "/".join([".."] * (self._store.parents.index(folder) + 1))
        return str(folder)

    def number_of(self, folder: Path) -> int | None:
        """The number of a folder; `None` for one that is not followed."""
        wanted = folder.resolve()
        return next((number for number, path in self.folders.items() if path == wanted), None)

    def check_apart(self, folder: Path) -> None:
        """Refuse a folder whose files are followed already, or that holds one that is.

        Raises:
            InputError: It is such a folder.
        """
        wanted = folder.resolve()
        for root in self.folders.values():
            if wanted in root.parents or root in wanted.parents:
                raise InputError(
                    f"{root} is followed, and one of the two lies in the other",
                    fix="Sync that one, index.forget(it) first, or make an index of its own.",
                    source=str(folder),
                )

    def condition(self, folder: Path) -> str:
        """The condition in SQL for files below a folder, named in full or as seen from one that is followed.

        Raises:
            InputError: No folder that is followed holds it.
        """
        wanted = [folder.expanduser().resolve()]
        if not folder.is_absolute():
            wanted += [root / folder for root in self.folders.values()]
        conditions = [
            below("" if path == root else path.relative_to(root).as_posix(), number)
            for path in wanted
            for number, root in self.folders.items()
            if path == root or root in path.parents
        ]
        conditions += [
            f"root = {number}" for number, root in self.folders.items() if wanted[0] in root.parents
        ]
        if not conditions:
            raise InputError(f"no folder that is followed holds {folder}", fix=f"There are {self}.")
        return f"({' OR '.join(conditions)})"

    def __str__(self) -> str:
        return ", ".join(map(str, self.folders.values())) or "none"
