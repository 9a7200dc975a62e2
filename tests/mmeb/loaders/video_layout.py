"""Small copies of public layouts for tests: folders of tiny frames, and rows given by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image


@dataclass
class Rows:
    """Stands for the access to a data folder: rows as given, media below the first root that exists."""

    folder: Path
    given: Sequence[Mapping[str, Any]]

    def rows(
        self, task: Any, table: str | None = None, *, columns: Sequence[str] | None = None
    ) -> list[Mapping[str, Any]]:
        """Those of a table where rows have one, with the columns that were asked for and no others."""
        rows = [row for row in self.given if table in (task.subset, row.get("table"))]
        return [row if columns is None else {name: row[name] for name in columns} for row in rows]

    def media_root(self, task: Any) -> Path:
        return next(self.folder / root for root in task.roots if (self.folder / root).is_dir())


def draw_frames(folder: Path, count: int, start: int = 1) -> Path:
    """Frames as the archives name them: without leading zeros, so that sorting by name goes wrong."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(start, start + count):
        Image.new("RGB", (4, 4), (10 * i % 256, 0, 0)).save(folder / f"frame_{i}.png")
    return folder


def names(frames: Sequence[Path]) -> list[str]:
    return [frame.name for frame in frames]
