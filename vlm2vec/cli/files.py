"""Files and folders that a user names -> items: one per image, video, text or PDF page."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlm2vec.cli.limits import as_options
from vlm2vec.errors import VLM2VecError
from vlm2vec.media.limits import Limits

__all__ = ["Collection", "Item", "collect", "fix_of", "items_of", "kept_reason", "printable", "reason"]


_ENCRYPTED = "the PDF is encrypted"
_OPENED_IN_PYTHON = "The command line cannot open it; in Python, pdf_pages(path, password=...) does."


@dataclass(frozen=True)
class Item:
    """What becomes one vector.

    Attributes:
        name: The file as the user knows it, with forward slashes.
        path: The file; `None` for what an index has of no file.
        kind: "image", "video", "text" or "pdf".
        content: What `encode` takes.
        page: The page of a PDF, the first being 1; `None` for a whole file.
        start: Of a moment in a video, in seconds; `None` for a whole file.
        end: The same.
        text: Of a passage; `None` for a whole file.
    """

    name: str
    path: Path | None
    kind: str
    content: Any = field(repr=False)
    page: int | None = None
    start: float | None = None
    end: float | None = None
    text: str | None = None

    @property
    def label(self) -> str:
        """The kind, or which page; of a video, the moment too."""
        if self.start is not None and self.end is not None:
            from vlm2vec.index.segments import clock

            return f"{self.kind} {clock(self.start)}-{clock(self.end)}"
        return self.kind if self.page is None else f"page {self.page}"

    @property
    def full_name(self) -> str:
        """The name, followed by the page."""
        return self.name if self.page is None else f"{self.name}#page={self.page}"


@dataclass
class Collection:
    """What a folder holds.

    Attributes:
        items: What can be embedded, by path and page.
        broken: What claims to be media and cannot be read: name -> reason.
        unknown: How many files of other kinds there are, by suffix.
    """

    items: list[Item] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)
    unknown: Counter[str] = field(default_factory=Counter)


def collect(folder: Path, limits: Limits | None = None) -> Collection:
    """Everything in a folder and below it; names that start with a dot are left out."""
    from vlm2vec.index.segments import MEDIA_SUFFIXES

    found = Collection()

    def unreadable(error: OSError) -> None:
        found.broken[printable(Path(error.filename).relative_to(folder))] = f"{error.strerror}."

    for path in _walk(folder, unreadable):
        name = printable(path.relative_to(folder))
        try:
            found.items += items_of(path, name, limits=limits)
        except VLM2VecError as error:
            if path.suffix.lower() in MEDIA_SUFFIXES:
                found.broken[name] = reason(error)
            else:
                found.unknown[path.suffix.lower() or "no suffix"] += 1
    return found


def items_of(path: Path, name: str, *, pages: bool = True, limits: Limits | None = None) -> list[Item]:
    """One item for a file; for a PDF one per page, unless `pages` is false.

    Raises:
        MediaError: The file is missing, empty, broken or of no known kind.
        LimitError: A PDF has too many pages.
    """
    from vlm2vec.inputs.pdf import counted_pages
    from vlm2vec.media import probe
    from vlm2vec.media.source import Source

    kind = probe.kind(Source.from_path(path))
    if kind != "pdf" or not pages:
        return [Item(name, path, kind, path)]
    return [Item(name, path, kind, page, page=page.page) for page in counted_pages(path, limits)]


def reason(error: VLM2VecError) -> str:
    """Cause and fix, without the place, which is said beside it."""
    fix = fix_of(error)
    return f"{error.cause}. {fix}" if fix else f"{error.cause}."


def kept_reason(text: str) -> str:
    """The same of a reason that an index has kept."""
    return f"{_ENCRYPTED}. {_OPENED_IN_PYTHON}" if text.startswith(_ENCRYPTED) else as_options(text)


def fix_of(error: VLM2VecError) -> str:
    """What to change; where the error's own words are for Python, those for the command line."""
    if error.cause == _ENCRYPTED:
        return _OPENED_IN_PYTHON
    return as_options(error.fix.replace("pass root=.", "pass --root."))


def printable(path: Path) -> str:
    """The path with forward slashes; bytes that are not text, which some file systems allow, become marks."""
    return os.fsencode(path.as_posix()).decode("utf-8", "replace")


def _walk(folder: Path, unreadable: Callable[[OSError], None]) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent, name) for name in sorted(names) if not name.startswith("."))
