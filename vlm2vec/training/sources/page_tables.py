"""How tables with a column of page pictures become rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlm2vec.training.sources.lazy_rows import LazyRows
from vlm2vec.training.sources.prompt_pair import PromptPair
from vlm2vec.training.sources.table import open_table

__all__ = ["PageTable"]


@dataclass(frozen=True)
class _ToRow:
    columns: tuple[str, ...]
    pair_of: Callable[[Mapping[str, Any]], PromptPair]

    def __call__(self, record: Mapping[str, Any]) -> dict[str, Any]:
        image = record["image"] or {}
        picture = image.get("bytes") or (Path(image["path"]) if image.get("path") else None)
        fields = {name: record[name] for name in self.columns}
        return self.pair_of(record).row(fields, None if picture is None else [picture])


@dataclass(frozen=True)
class PageTable:
    """The layout of a data set of pages: Parquet files with an `image` column and some columns of text.

    Attributes:
        texts: The columns of text.
        pair_of: The prompts for a record.
    """

    texts: tuple[str, ...]
    pair_of: Callable[[Mapping[str, Any]], PromptPair]

    def __call__(self, root: Path, options: Mapping[str, str], limit: int | None) -> LazyRows[dict[str, Any]]:
        """The rows in a data folder."""
        table = open_table(root, options["file"], columns=(*self.texts, "image"), limit=limit)
        return LazyRows(table, _ToRow(self.texts, self.pair_of))
