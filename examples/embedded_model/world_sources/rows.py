"""`WorldRows`: training rows that are drawn when they are asked for."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from vlm2vec.world.ink import with_ink

__all__ = ["Draw", "WorldRows"]

Draw: TypeAlias = Callable[[np.random.Generator], dict[str, Any]]
"""Makes a row: what a training row holds, with scenes, clips and pages that are not drawn yet."""


@dataclass(frozen=True)
class WorldRows:
    """Rows of one task; row `i` follows from the seed and `i` alone, and none is kept.

    Attributes:
        draw: Makes a row.
        seed: One or more numbers, not below 0.
        size: How many rows.

    Example:
        >>> rows = WorldRows(lambda rng: {"query": str(rng.integers(10)), "document": "a number"}, (0,), 3)
        >>> len(rows), rows[-1] == rows[2]
        (3, True)
    """

    draw: Draw
    seed: tuple[int, ...]
    size: int

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> dict[str, Any]:
        place = range(self.size)[operator.index(index)]
        rng = np.random.default_rng([*self.seed, place])
        row: dict[str, Any] = with_ink(self.draw(rng), rng)
        return row
