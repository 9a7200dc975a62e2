"""`Pages`: pages as candidates, each read when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from vlm2vec.encoding.prompt import IMAGE_TOKEN
from vlm2vec.mmeb.loaders.annotation_rows import Rows
from vlm2vec.mmeb.samples import Content, Key

__all__ = ["Pages"]


@dataclass(frozen=True)
class Pages(Mapping[Key, Content]):
    """Pages by key, as files or as pictures in a table, of which there may be more than memory holds.

    Attributes:
        files: Of each page where its file is, or would be.
        rows: Of each page without a file its row in the table.
        table: Rows with the column "image"; empty if all pages should be files.
        instruction: What is asked of a page.
    """

    files: Mapping[Key, Path]
    rows: Mapping[Key, int]
    table: Rows
    instruction: str

    def __getitem__(self, key: Key) -> Content:
        prompt = f"{IMAGE_TOKEN} {self.instruction}"
        image = self._stored(key) or self.files[key]
        return Content(prompt, instruction=self.instruction, image=image)

    def __iter__(self) -> Iterator[Key]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)

    def _stored(self, key: Key) -> bytes | None:
        """The picture in the table, if there is one."""
        if key not in self.rows or not self.table:
            return None
        cell = self.table[self.rows[key]]["image"]
        picture = cell.get("bytes") if isinstance(cell, Mapping) else cell
        return picture if isinstance(picture, bytes) else None
