"""Records of a data set, each turned into a training row when it is asked for."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, Protocol, TypeVar

__all__ = ["KeptRows", "LazyRows", "Records"]

Item_co = TypeVar("Item_co", covariant=True)


class Records(Protocol[Item_co]):
    """What a source needs to have: a length, and items by position."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Item_co: ...


class LazyRows(Generic[Item_co]):
    """A view of records that converts one when it is asked for, and keeps none.

    Args:
        records: The records, or whatever else has a length and positions.
        convert: Makes a row of a record.
        chosen: Positions to show, in order; all by default.

    Example:
        >>> rows = LazyRows(["a", "b", "c"], lambda record: {"query": record}, chosen=[2, 0])
        >>> len(rows), rows[0], rows[-1]
        (2, {'query': 'c'}, {'query': 'a'})
    """

    def __init__(
        self,
        records: Records[Any],
        convert: Callable[[Any], Item_co],
        *,
        chosen: Sequence[int] | None = None,
    ) -> None:
        self.records = records
        self.convert = convert
        self.chosen = range(len(records)) if chosen is None else chosen

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, index: int) -> Item_co:
        position = self.chosen[operator.index(index)]
        return self.convert(self.records[position])

    def __iter__(self) -> Iterator[Item_co]:
        return (self[index] for index in range(len(self)))


class KeptRows(LazyRows[Any]):
    """The usable ones of some rows, which know their numbers among all.

    Example:
        >>> rows = KeptRows(["a", "b", "c"], [0, 2])
        >>> rows[1], rows.chosen[1]
        ('c', 2)
    """

    def __init__(self, records: Records[Any], kept: Sequence[int]) -> None:
        super().__init__(records, _itself, chosen=kept)


def _itself(record: Any) -> Any:
    return record
