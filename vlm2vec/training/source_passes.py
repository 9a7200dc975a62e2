"""The rows of one source, pass after pass, each pass in its own shuffled order.

A batch that ends one pass and starts the next must not meet the same row on both sides. So the rows that
it already has are moved back, after the others, in the new pass. Only the first `count` rows of the new
order can change, where `count` is what the batch takes from the source.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["SourcePasses"]

Rows = npt.NDArray[np.integer]

_STREAM = 1  # the second number of the seed; the draws of the sources have 0


class SourcePasses:
    """Draws the rows of one source without repeating any before all have been drawn.

    The order of a pass follows from the seed, the source's number and the pass's number. At most one order
    is in memory, and none before the first `take`.

    Args:
        size: Number of rows of the source.
        source_index: Number of the source: two sources of one sampler differ in order.
        seed: Seed of the sampler.
        max_count: Maximum number of rows that one batch may take from the source.
        shuffle: Whether each pass has an order of its own; otherwise it is that of the rows.

    Example:
        >>> rows = SourcePasses(6, source_index=0, seed=0, max_count=4)
        >>> first, second, third = rows.take(4), rows.take(4), rows.take(4)
        >>> sorted([*first.tolist(), *second[:2].tolist()])  # the first pass
        [0, 1, 2, 3, 4, 5]
        >>> len(set(second.tolist()))  # the batch between two passes
        4
    """

    def __init__(
        self, size: int, *, source_index: int, seed: int, max_count: int, shuffle: bool = True
    ) -> None:
        self._size = size
        self._source_index = source_index
        self._seed = seed
        self._shuffle = shuffle
        # From twice the batch on, the changed start of a pass never reaches its end. Each order then depends
        # on no pass but the one before it, and a jump needs no rows.
        self._long = size >= 2 * max_count
        self._pass = 0
        self._next = 0  # the index in the order of the row that comes next
        self._order: Rows | None = None
        self._tail, self._count = 0, 0  # the rows before the seam, and all rows, of the batch at the seam

    def take(self, count: int) -> Rows:
        """The next rows, for one batch.

        No row comes twice while the source has `count` rows. In a smaller source the rows come round in
        turn, so that their numbers in the batch differ by one at most.

        Args:
            count: How many rows the batch takes; never more than `max_count`.

        Returns:
            Row numbers, `(count,)`.
        """
        order = self._current()
        taken = order[self._next : self._next + count]
        self._next += taken.size
        while taken.size < count:
            taken = taken.copy()  # a view would keep the old order in memory
            del order
            self._order = None
            self._pass += 1
            order = self._order = _deferred(self._shuffled(self._pass), taken, count)
            self._next = min(self._size, count - taken.size)
            taken = np.concatenate([taken, order[: self._next]])
        return taken

    def skip(self, count: int) -> None:
        """Pass over what `take(count)` would return; for a long source without making any order."""
        if not self._long:
            self.take(count)
            return
        left = self._size - self._next
        if count <= left:
            self._next += count
            return
        self._pass += 1
        self._next = count - left
        self._order = None
        self._tail, self._count = left, count

    def _current(self) -> Rows:
        if self._order is None:
            # None after the start, or after a seam that was skipped: then the source is a long one, and the
            # end of the pass before is as it was shuffled.
            drawn = self._shuffled(self._pass - 1)[-self._tail :].copy() if self._tail else _NO_ROWS
            self._order = _deferred(self._shuffled(self._pass), drawn, self._count)
        return self._order

    def _shuffled(self, number: int) -> Rows:
        # Four bytes a row where they are enough: sources have millions of rows.
        kind: type[np.integer] = np.int32 if self._size <= 2**31 else np.int64
        rows = np.arange(self._size, dtype=kind)
        if self._shuffle:
            np.random.default_rng([self._seed, _STREAM, self._source_index, number]).shuffle(rows)
        return rows


_NO_ROWS: Rows = np.empty(0, dtype=np.int32)


def _deferred(order: Rows, drawn: Rows, count: int) -> Rows:
    """The order of a pass in which a batch's `drawn` rows come after the others, longest ago first.

    Among the first `count` rows at most `len(drawn)` are drawn rows, so enough others are there to
    complete the batch; what comes after them stays in place. `order` is changed.
    """
    if drawn.size:
        window = order[:count]
        recent = drawn[-order.size :]  # rows that come round in turn: the last of them are all different
        order[:count] = np.concatenate(
            [window[np.isin(window, recent, invert=True)], recent[np.isin(recent, window)]]
        )
    return order
