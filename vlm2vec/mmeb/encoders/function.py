"""A plain function in the benchmark."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vlm2vec.errors import InputError
from vlm2vec.mmeb.encoders.protocol import Role, Row
from vlm2vec.mmeb.samples import Content

__all__ = ["FunctionEncoder", "unit_length"]


@dataclass
class FunctionEncoder:
    """Encodes samples with a function.

    Attributes:
        function: Of `(contents, role)`; gives `(n, dim)`. Rows are brought to unit length here.
        name: What its vectors are kept under: a function that has changed needs another name.
    """

    function: Callable[[Sequence[Content], Role], Any]
    name: str = ""
    late_interaction: bool = False

    def __post_init__(self) -> None:
        if not self.name:
            raise InputError(
                "a function has no name that results could be kept under",
                fix='Pass name="..."; another one whenever the function changes.',
            )

    def identity(self) -> Mapping[str, Any]:
        """Its name."""
        return {"function": self.name}

    def encode(self, contents: Sequence[Content], *, role: Role) -> list[Row]:
        """A row for each sample."""
        vectors = np.asarray(self.function(contents, role), dtype=np.float32)
        if vectors.ndim != 2 or len(vectors) != len(contents):
            raise InputError(
                f"the function gave an array of shape {vectors.shape} for {len(contents)} samples",
                fix="Give a row for each sample, (n, dim).",
            )
        return list(unit_length(vectors))


def unit_length(vectors: np.ndarray) -> np.ndarray:
    """Rows `(n, dim)` of unit length; a row of zeros stays one.

    Example:
        >>> unit_length(np.array([[3.0, 4.0], [0.0, 0.0]]))
        array([[0.6, 0.8],
               [0. , 0. ]])
    """
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: np.ndarray = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths != 0)
    return scaled
