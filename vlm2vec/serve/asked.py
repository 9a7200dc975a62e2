"""`Asked` and `Embedded`: what a request asks for and what it gets, whatever the form it came in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vlm2vec.inputs.parts import Role

__all__ = ["Asked", "Embedded"]


@dataclass(frozen=True)
class Asked:
    """What one request asks for.

    Attributes:
        inputs: In the forms of `encode`. A string under a media key is a data-URI or a URL; a path among them
            is refused when they are parsed, so that no client opens files of the server.
        instruction: For all inputs that bring none; `None` is the model's own for the role.
        role: "query" or "document", where the request says so.
        dimensions: Components that are kept of each vector, which is of unit length again then.
        truncate: Shorten texts that do not fit the context.
    """

    inputs: list[Any]
    instruction: str | None = None
    role: Role | None = None
    dimensions: int | None = None
    truncate: bool = False


@dataclass(frozen=True)
class Embedded:
    """What it gets.

    Attributes:
        vectors: `(n, dim)`, of unit length, in the order of the inputs.
        tokens: Of each input, media included.
    """

    vectors: npt.NDArray[np.float32]
    tokens: list[int]
