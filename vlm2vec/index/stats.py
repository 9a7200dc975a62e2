"""`IndexStats`: what an index holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["IndexStats"]


@dataclass(frozen=True)
class IndexStats:
    """What an index holds.

    Attributes:
        rows: Vectors.
        files: Files with rows, by kind.
        failures: Files and parts that could not be embedded.
        dimensions: Components of a vector.
        storage: Their type.
        bytes: On disk, with all versions that are kept.
        model: Of the vectors.
        profile: The same.
        folders: That are followed.
        ann: Whether there is an ANN index.
    """

    rows: int
    files: Mapping[str, int]
    failures: int
    dimensions: int
    storage: str
    bytes: int
    model: str
    profile: str
    folders: tuple[str, ...]
    ann: bool
