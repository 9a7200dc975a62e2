"""The files of a folder and below it, each with its size and time."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from vlm2vec.index.place import is_store

__all__ = ["Found", "Patterns", "Walk", "walk"]


@dataclass(frozen=True)
class Patterns:
    """Which files are taken, by shell patterns; upper and lower case are the same.

    A pattern without a slash is compared with the name of the file and of each folder above it, one with a
    slash with the path below the folder.

    Attributes:
        include: A file is taken if one of these fits; all are, if there are none.
        exclude: And if none of these does.
        follow_links: Whether links to folders are followed; each folder is walked once.

    Example:
        >>> patterns = Patterns(exclude=("drafts", "*.tmp.png", "2019/*/raw"))
        >>> [patterns.excludes(path) for path in ("drafts/a.png", "a.tmp.PNG", "2019/may/raw", "a.png")]
        [True, True, True, False]
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    follow_links: bool = False

    def includes(self, path: str) -> bool:
        """Whether a file is asked for."""
        return not self.include or _fits(path, self.include)

    def excludes(self, path: str) -> bool:
        """Whether a file or a folder is left out."""
        return _fits(path, self.exclude)


@dataclass(frozen=True)
class Found:
    """A file as it is now.

    Attributes:
        path: Below the folder, with forward slashes.
        size: In bytes.
        modified: Time of its last change, in nanoseconds since 1970.
    """

    path: str
    size: int
    modified: int


@dataclass
class Walk:
    """What a folder holds.

    Attributes:
        files: By path below the folder, in order.
        unreadable: Folders, links and names that cannot be read, each with the reason.
    """

    files: dict[str, Found] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)

    def hides(self, path: str) -> bool:
        """Whether a file may be there still, in a folder that could not be read."""
        return any(path == name or path.startswith(f"{name}/") for name in self.unreadable)


def walk(folder: Path, patterns: Patterns, *, store: Path | None = None) -> Walk:
    """All files that are asked for, sorted by path; names that start with a dot and stores are left out.

    Args:
        folder: Where to begin.
        patterns: Which files.
        store: The index that is being written, which need not look like one yet.
    """
    found = Walk()
    seen = {_identity(place.stat()) for place in (folder, store) if place is not None and place.is_dir()}
    folders = [(folder, "")]
    while folders:
        parent, below = folders.pop()
        inside = []
        for entry in _entries(parent, below, found):
            path = f"{below}{entry.name}"
            if entry.name.startswith(".") or patterns.excludes(path):
                continue
            if not _is_text(path):
                found.unreadable[_printable(path)] = "Its name is no UTF-8: rename it."
                continue
            try:
                status = entry.stat()
            except OSError as error:
                found.unreadable[path] = f"{error.strerror or error}."
                continue
            if stat.S_ISDIR(status.st_mode):
                if entry.is_symlink() and not patterns.follow_links:
                    continue
                if (identity := _identity(status)) not in seen and not is_store(Path(entry.path)):
                    seen.add(identity)
                    inside.append((Path(entry.path), f"{path}/"))
            elif stat.S_ISREG(status.st_mode) and patterns.includes(path):
                found.files[path] = Found(path, status.st_size, status.st_mtime_ns)
        folders += reversed(inside)
    found.files = dict(sorted(found.files.items()))
    return found


def _entries(folder: Path, below: str, found: Walk) -> Sequence[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        found.unreadable[below.rstrip("/") or "."] = f"{error.strerror or error}."
        return []


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _fits(path: str, patterns: Sequence[str]) -> bool:
    lower = path.lower()
    return any(
        fnmatchcase(lower, pattern.lower().rstrip("/"))
        if "/" in pattern.rstrip("/")
        else any(fnmatchcase(name, pattern.lower().rstrip("/")) for name in lower.split("/"))
        for pattern in patterns
    )


def _is_text(path: str) -> bool:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _printable(path: str) -> str:
    return os.fsencode(path).decode("utf-8", "replace")
