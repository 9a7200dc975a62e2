"""What is known of the published checkpoints of a family."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from vlm2vec.profiles.profile import Profile

__all__ = ["Checked", "KnownModel", "PublishedModel"]

Checked: TypeAlias = Literal["original", "stock", "no"]
"""What the vectors of a family were compared with, on tiny random weights: the original's own code, plain
transformers with the original's prompt and pixels written out, or nothing."""


@dataclass(frozen=True)
class PublishedModel:
    """One checkpoint on the hub.

    Attributes:
        repository: On the hub.
        parameters: About how many, as its name or card has them.
        dimensions: Components of a vector.
        min_dimensions: Fewest components that a vector may be cut to, as it was trained for that
            (Matryoshka); `None` where that is not known.
        scores: What `vlm2vec.mmeb.published_means` calls it; `None` where it knows no scores of it.
        licence: Of the weights.
    """

    repository: str
    parameters: str
    dimensions: int
    min_dimensions: int | None = None
    scores: str | None = None
    licence: str = "see its card"


@dataclass(frozen=True)
class KnownModel:
    """A published checkpoint, its family, and how far that was checked.

    Attributes:
        model: The checkpoint.
        profile: Of its family.
        checked: "original", "stock", or "no" where vectors were not compared with anything.
    """

    model: PublishedModel
    profile: Profile
    checked: Checked
