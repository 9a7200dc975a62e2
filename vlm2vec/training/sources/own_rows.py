"""Rows of your own: a file of JSON lines, each a training row.

A string is text; a file stands under a media key, as in {"image": "cats/1.jpg"}, relative to the data folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlm2vec.inputs.replace import in_folder
from vlm2vec.training.sources.json_lines import JsonLines
from vlm2vec.training.sources.lazy_rows import LazyRows
from vlm2vec.training.sources.loader import Loader
from vlm2vec.training.sources.row_sides import with_each_input

__all__ = ["LOADERS"]


@dataclass(frozen=True)
class _ToRow:
    """Puts the data folder before relative paths."""

    folder: Path

    def __call__(self, record: Any) -> Any:
        return with_each_input(record, lambda item: in_folder(item, self.folder))


def _open(root: Path, options: Mapping[str, str], limit: int | None) -> LazyRows[Any]:
    return LazyRows(JsonLines(root / options["file"], limit=limit), _ToRow(root))


LOADERS = (
    Loader(
        name="rows",
        summary="JSON lines, each a training row, with paths relative to the data folder",
        open=_open,
        options={"file": None},
    ),
)
