"""`Encoder`: what the benchmark asks of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np

from vlm2vec.errors import VLM2VecError
from vlm2vec.mmeb.samples import Content
from vlm2vec.mmeb.tasks.task import Task

__all__ = ["Described", "Encoder", "Role", "Row", "deciding"]

Role: TypeAlias = Literal["query", "document"]
Row: TypeAlias = "np.ndarray | VLM2VecError"


@runtime_checkable
class Encoder(Protocol):
    """A model as the benchmark uses it.

    Attributes:
        name: Of the model, for tables and files.
        late_interaction: Whether a sample has a vector for each token.
    """

    name: str
    late_interaction: bool

    def identity(self) -> Mapping[str, Any]:
        """All that vectors depend on besides the sample, as plain values: weights, prompts, pixels, type.

        Vectors that were kept are used again only if it is equal.
        """

    def encode(self, contents: Sequence[Content], *, role: Role) -> list[Row]:
        """A row for each sample, in order: `(dim,)`, with late interaction `(tokens, dim)`, or what is wrong.

        Rows are of unit length, for the benchmark compares cosines.
        """


@runtime_checkable
class Described(Protocol):
    """An encoder that runs a family of models as its published scores were made, and says how."""

    def changes(self, task: Task) -> Mapping[str, Any]:
        """What `Task.changed` takes to make it the task that the model is to be scored on; {} for nothing."""

    def described(self) -> Mapping[str, str]:
        """How the model is run, in words, by name: "prompts", "frames" and the like."""


_WITHOUT_EFFECT = ("batch_size", "max_tokens_per_batch", "device", "pool", "chunk_size")


def deciding(settings: Mapping[str, Any]) -> dict[str, str]:
    """Settings of `encode` that vectors depend on, as texts.

    Example:
        >>> deciding({"batch_size": 4, "truncate_dim": 64})
        {'truncate_dim': '64'}
    """
    return {name: repr(value) for name, value in settings.items() if name not in _WITHOUT_EFFECT}
