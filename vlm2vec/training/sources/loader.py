"""What one loader is: the layout of a public data set, and how its records become rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from vlm2vec.training.sources.lazy_rows import Records

__all__ = ["Loader", "Open"]

Open: TypeAlias = Callable[[Path, Mapping[str, str], "int | None"], Records[dict[str, Any]]]
"""From a data folder, the loader's options and a greatest number of rows to the rows."""


@dataclass(frozen=True)
class Loader:
    """A loader, by which a mixture's file names the layout of a source.

    Attributes:
        name: What the file calls it.
        summary: What its rows are, in a line.
        open: Opens the data in a folder.
        options: The settings it takes besides those of every source, with their defaults; `None` marks one
            that must be given.
        homepage: Where the data are published.
    """

    name: str
    summary: str
    open: Open
    options: Mapping[str, str | None] = field(default_factory=dict)
    homepage: str = ""
