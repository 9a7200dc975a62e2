"""Rows of your own: a file of JSON lines, each a training row.

A string is text; a file stands under a media key, as in {"image": "cats/1.jpg"}, relative to the data folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlm2vec.inputs.media import MEDIA_KEYS
from vlm2vec.training.sources.json_lines import JsonLines
from vlm2vec.training.sources.lazy_rows import LazyRows
from vlm2vec.training.sources.loader import Loader

__all__ = ["LOADERS"]


@dataclass(frozen=True)
class _ToRow:
    """Puts the data folder before relative paths."""

    folder: Path

    def __call__(self, record: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self._placed(value, under_media=False) for name, value in record.items()}

    def _placed(self, value: Any, *, under_media: bool) -> Any:
        if isinstance(value, dict):
            return {name: self._placed(item, under_media=name in MEDIA_KEYS) for name, item in value.items()}
        if isinstance(value, list):
            return [self._placed(item, under_media=under_media) for item in value]
        is_path = under_media and isinstance(value, str) and value.strip()
        if not is_path or value[:5].lower() == "data:" or "://" in value[:32]:
            return value
        return str(self.folder / value)


def _open(root: Path, options: Mapping[str, str], limit: int | None) -> LazyRows[dict[str, Any]]:
    return LazyRows(JsonLines(root / options["file"], limit=limit), _ToRow(root))


LOADERS = (
    Loader(
        name="rows",
        summary="JSON lines, each a training row, with paths relative to the data folder",
        open=_open,
        options={"file": None},
    ),
)
