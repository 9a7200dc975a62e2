"""`pieces_of_shards`: which rows of which blocks each shard is made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

__all__ = ["Piece", "pieces_of_shards"]


class Piece(NamedTuple):
    """Some rows of a block.

    Attributes:
        block: What the block is known by.
        start: The first of them.
        stop: The one after the last.
    """

    block: Any
    start: int
    stop: int


def pieces_of_shards(blocks: Iterable[Piece], size: int) -> Iterator[list[Piece]]:
    """Cut blocks that follow one another into shards, none of which is read for it.

    Args:
        blocks: All of them, each as one piece, in order.
        size: Rows of each shard but the last.

    Yields:
        What a shard is made of, in order.

    Example:
        >>> for shard in pieces_of_shards([Piece("a", 0, 5), Piece("b", 0, 2)], 3):
        ...     print([tuple(piece) for piece in shard])
        [('a', 0, 3)]
        [('a', 3, 5), ('b', 0, 1)]
        [('b', 1, 2)]
    """
    shard: list[Piece] = []
    room = size
    for block, first, stop in blocks:
        start = first
        while start < stop:
            end = min(stop, start + room)
            shard.append(Piece(block, start, end))
            room -= end - start
            start = end
            if not room:
                yield shard
                shard, room = [], size
    if shard:
        yield shard
