"""Which of the documents that were ranked for a query become its hard negatives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from vlm2vec.errors import InputError
from vlm2vec.training.mining.block_search import Nearest

__all__ = ["NegativeChoice"]


@dataclass(frozen=True)
class NegativeChoice:
    """Which of the ranked documents become negatives; `mine_hard_negatives` says what the settings mean.

    Raises:
        InputError: A setting is out of range.

    Example:
        >>> choice = NegativeChoice(num_negatives=2, absolute_margin=0.1, relative_margin=0.05)
        >>> choice.limits(np.array([0.5, 4.0])).round(2).tolist()
        [0.4, 3.8]
    """

    num_negatives: int
    absolute_margin: float | None = None
    relative_margin: float | None = None
    range_min: int = 0
    range_max: int | None = None
    sampling_strategy: Literal["top", "random"] = "top"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("num_negatives", 1), ("range_min", 0), ("range_max", 1), ("seed", 0)):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
                raise InputError(f"{name} is {value!r}", fix=f"Pass a whole number of at least {least}.")
        if self.range_max is not None and self.range_max <= self.range_min:
            raise InputError(
                f"range_max, {self.range_max}, is not above range_min, {self.range_min}",
                fix="Raise range_max.",
            )
        for name in ("absolute_margin", "relative_margin"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, (int, float)) and 0 <= value <= 1):
                raise InputError(f"{name} is {value!r}", fix="Pass a number from 0 to 1, or None.")
        if self.sampling_strategy not in ("top", "random"):
            raise InputError(
                f"sampling_strategy is {self.sampling_strategy!r}", fix='Pass "top" or "random".'
            )

    @property
    def pool(self) -> int:
        """From how many documents negatives are drawn, if `range_max` does not say."""
        return self.num_negatives * (10 if self.sampling_strategy == "random" else 1)

    @property
    def depth(self) -> int:
        """How many documents have to be found."""
        deepest = self.range_min + self.pool
        if self.range_max is None:
            return deepest
        return self.range_max if self.sampling_strategy == "random" else min(self.range_max, deepest)

    def limits(self, positives: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """`(n,)` greatest similarity of a negative, from the similarities `(n,)` of the positives.

        These are TopK-MarginPos and TopK-PercPos of NV-Retriever (arXiv:2407.15831).
        """
        limits = np.full_like(positives, np.inf)
        if self.absolute_margin is not None:
            limits = np.minimum(limits, positives - self.absolute_margin)
        if self.relative_margin is not None:
            limits = np.minimum(limits, positives - self.relative_margin * np.abs(positives))
        return limits

    def chosen(self, found: Nearest, row: int, number: int) -> npt.NDArray[np.int64]:
        """The positions to take of what was found for a row.

        Args:
            found: What was found.
            row: The row's position in it.
            number: The row's number in its source, which its random draw depends on.
        """
        # Whatever lies above the limit is nearer than all that was found, and takes the first ranks.
        above = int(found.above[row])
        there = int(np.isfinite(found.scores[row]).sum())
        stop = there if self.range_max is None else min(there, self.range_max - above)
        left = np.arange(max(0, self.range_min - above), stop)
        if self.range_max is None:
            left = left[: self.pool]
        if self.sampling_strategy == "random" and len(left) > self.num_negatives:
            rng = np.random.default_rng([self.seed, number])  # of the row alone, whatever stands around it
            left = np.sort(rng.choice(left, self.num_negatives, replace=False))
        return left[: self.num_negatives]
