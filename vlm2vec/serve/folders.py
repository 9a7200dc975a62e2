"""`FolderNames`: what clients call the folders of an index, whose places they are not told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from vlm2vec.describe import shorten
from vlm2vec.errors import InputError
from vlm2vec.index.search import Hit, below

__all__ = ["FolderNames"]


class FolderNames:
    """Names of the folders that an index follows, each another.

    Args:
        folders: The folders by number.

    Example:
        >>> FolderNames({1: Path("/a/photos"), 2: Path("/b/photos")}).names
        {1: 'photos', 2: 'photos (2)'}
    """

    def __init__(self, folders: Mapping[int, Path]) -> None:
        self._folders = dict(folders)
        self.names: dict[int, str] = {}
        for number, folder in self._folders.items():
            name = folder.name or "files"
            taken = self.names.values()
            while name in taken:
                name = f"{name} ({number})"
            self.names[number] = name

    def of(self, hit: Hit) -> str | None:
        """The name of the folder that a hit's file is indexed with; `None` for a hit without a file."""
        if hit.path is None:
            return None
        return next(
            (self.names[number] for number, folder in self._folders.items() if folder / hit.name == hit.path),
            None,
        )

    def condition(self, under: str) -> str:
        """The condition for files in a folder and below it, by its name and those of folders in it.

        Example:
            >>> FolderNames({1: Path("/a/photos")}).condition("photos/2024")
            "root = 1 AND starts_with(path, '2024/')"

        Raises:
            InputError: No folder of the index is called so.
        """
        name, _, inner = under.strip("/").partition("/")
        for number, known in self.names.items():
            if name == known:
                return below(inner, number)
        raise InputError(
            f'no folder of the index is called "{shorten(name, 60)}"',
            fix=f"There are {', '.join(self.names.values()) or 'none'}.",
        )
