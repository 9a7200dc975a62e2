"""`TrainingSource`: rows of one kind, and how they enter a mixture."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vlm2vec.arguments import is_finite, is_whole
from vlm2vec.describe import describe_value
from vlm2vec.errors import InputError
from vlm2vec.inputs.parts import Input
from vlm2vec.inputs.replace import with_num_frames
from vlm2vec.training.sources.data_frames import records_of
from vlm2vec.training.sources.lazy_rows import KeptRows, Records
from vlm2vec.training.sources.row_sides import with_each_input

__all__ = ["TrainingSource"]


@dataclass(frozen=True, eq=False)
class TrainingSource:
    """Rows of one kind, and how they enter a mixture.

    Attributes:
        name: What plans and errors call it.
        rows: Training rows: a list, a `datasets.Dataset`, a table of pandas or pyarrow, or anything with a
            length and positions.
        weight: How often it is drawn from, relative to the others.
        cap: Use its first `cap` rows alone.
        query_instruction: For rows that have none of their own.
        document_instruction: The same for documents and negatives.
        num_frames: Frames of each clip that does not say how many.
        negatives: Whether the rows' hard negatives are used.
        homepage: Where the data are published, for the model's card; a data set of the hub is named in its
            metadata too.

    Raises:
        InputError: A setting has the wrong type or lies outside its range.

    Example:
        >>> pairs = [{"query": "a cat", "document": "a photo"}] * 3
        >>> source = TrainingSource("pets", pairs, cap=2, query_instruction="Find the picture.")
        >>> len(source), source[0]["query_instruction"]
        (2, 'Find the picture.')
    """

    name: str
    rows: Records[Any] = field(repr=False)
    weight: float = 1.0
    cap: int | None = None
    query_instruction: str | None = None
    document_instruction: str | None = None
    num_frames: int | None = None
    negatives: bool = True
    homepage: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", records_of(self.rows))
        if not isinstance(self.name, str) or not self.name:
            raise InputError(f"a source's name is {describe_value(self.name)}", fix="Give it a name.")
        if (
            not hasattr(self.rows, "__len__")
            or not hasattr(self.rows, "__getitem__")
            or isinstance(self.rows, (str, bytes, Mapping))
        ):
            raise self._wrong("rows", "Pass a list of rows, or anything with a length and positions.")
        if not (is_finite(self.weight) and self.weight > 0):
            raise self._wrong("weight", "Pass a number above 0, or leave the source out.")
        for name in ("cap", "num_frames"):
            value = getattr(self, name)
            if value is not None and not is_whole(value, minimum=1):
                raise self._wrong(name, "Pass a whole number of at least 1, or leave it out.")
        for name in ("query_instruction", "document_instruction"):
            if not isinstance(getattr(self, name), (str, type(None))):
                raise self._wrong(name, "Pass a string, or leave it out.")
        if not isinstance(self.homepage, str):
            raise self._wrong("homepage", 'Pass a URL, "https://huggingface.co/datasets/OWNER/NAME".')
        if not isinstance(self.negatives, bool):
            raise self._wrong("negatives", "Pass true or false.")

    def __len__(self) -> int:
        return len(self.rows) if self.cap is None else min(self.cap, len(self.rows))

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The row at a position, with what the source adds to it; the row itself is left as it is.

        Where the source has a number of frames, inputs other than texts are parsed.
        """
        position, size = operator.index(index), len(self)
        if not -size <= position < size:
            raise IndexError(f'source "{self.name}" has {size:,} rows, and none at {position:,}')
        row = self.rows[position % size]
        if not isinstance(row, Mapping):
            return row  # type: ignore[no-any-return]  # refused by the check of rows
        row = dict(row)
        for name in ("query_instruction", "document_instruction"):
            if row.get(name) is None and (instruction := getattr(self, name)) is not None:
                row[name] = instruction
        if not self.negatives:
            row.pop("negatives", None)
        return row if self.num_frames is None else with_each_input(row, self._with_num_frames)

    def _with_num_frames(self, item: Input) -> Input:
        return item if self.num_frames is None else with_num_frames(item, self.num_frames)

    def number(self, index: int) -> int:
        """Which record of the data the row at a position is, where bad ones were left out."""
        return self.rows.chosen[index] if isinstance(self.rows, KeptRows) else index

    def _wrong(self, name: str, fix: str) -> InputError:
        value = describe_value(getattr(self, name))
        return InputError(f'"{name}" is {value}', fix=fix, source=f'source "{self.name}"')
