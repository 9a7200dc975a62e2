"""`Pages`: pages as candidates, each read when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from vlm2vec.encoding.prompt import IMAGE_TOKEN
from vlm2vec.errors import MediaError
from vlm2vec.mmeb.loaders.annotation_rows import Rows
from vlm2vec.mmeb.samples import Content, Key

__all__ = ["Pages"]


@dataclass(frozen=True)
class Pages(Mapping[Key, Content]):
    """Pages by key, as files or as pictures in a table, of which there may be more than memory holds.

    Attributes:
        places: Of each page its file, or its row in the table.
        table: Rows with the column "image"; empty if all pages are files.
        instruction: What is asked of a page.
        task: Name of the task, for errors.
    """

    places: Mapping[Key, Path | int]
    table: Rows
    instruction: str
    task: str

    def __getitem__(self, key: Key) -> Content:
        place = self.places[key]
        image = place if isinstance(place, Path) else self._picture(place, key)
        prompt = f"{IMAGE_TOKEN} {self.instruction}"
        return Content(prompt, instruction=self.instruction, image=image)

    def __iter__(self) -> Iterator[Key]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)

    def _picture(self, row: int, key: Key) -> bytes:
        stored = self.table[row]["image"]
        picture = stored.get("bytes") if isinstance(stored, Mapping) else stored
        if not isinstance(picture, bytes):
            raise MediaError(
                f"the page {key!r} has no picture in the corpus, and no file",
                fix="Download the task's annotations again, or unpack its archive of images.",
                source=f"{self.task}, corpus, row {row}",
            )
        return picture
