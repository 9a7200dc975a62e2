"""Lists of numbers, one for each key, in one piece of memory."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["NumberLists", "Numbers"]

Numbers = npt.NDArray[np.integer]


class _Joined(NamedTuple):
    places: Numbers  # which of the asked keys a value belongs to
    values: Numbers


class NumberLists:
    """A list of numbers for each key from 0 on.

    Args:
        keys: `(n,)` the key that each value belongs to.
        values: `(n,)` the values; each list has its own in this order.
        size: Number of keys.

    Example:
        >>> lists = NumberLists(np.array([2, 0, 2]), np.array([7, 8, 9]), size=3)
        >>> [lists[key].tolist() for key in range(3)]
        [[8], [], [7, 9]]
    """

    def __init__(self, keys: Numbers, values: Numbers, *, size: int) -> None:
        self.values = values[np.argsort(keys, kind="stable")]
        self.starts = np.concatenate([[0], np.cumsum(np.bincount(keys, minlength=size))])

    def __getitem__(self, key: int) -> Numbers:
        return self.values[self.starts[key] : self.starts[key + 1]]

    def of(self, keys: Numbers) -> _Joined:
        """The lists of some keys, one after the other, and which of the keys each value comes from."""
        counts = self.starts[keys + 1] - self.starts[keys]
        ends = np.cumsum(counts)
        inside = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)
        return _Joined(
            np.repeat(np.arange(len(keys)), counts),
            self.values[inside + np.repeat(self.starts[keys], counts)],
        )
