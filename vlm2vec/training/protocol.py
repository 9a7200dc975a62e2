"""What training asks of what it is given: an embedding model, and a sampler of batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["BatchSampler", "EmbeddingModel"]


class EmbeddingModel(Protocol):
    """What training uses of a `VLM2Vec`, which calls training and so is not imported by it."""

    prompts: dict[str, str | None]
    """Default instructions, by role."""

    @property
    def device(self) -> torch.device:
        """Where the model is."""

    def __getitem__(self, index: int) -> Any:
        """A module; the first one reads inputs and holds the network."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """All weights."""

    def eval(self) -> Any:
        """End training."""

    def encode_query(self, inputs: Any, **settings: Any) -> Any:
        """Vectors of queries."""

    def encode_document(self, inputs: Any, **settings: Any) -> Any:
        """Vectors of documents."""


@runtime_checkable
class BatchSampler(Protocol):
    """Which rows make a batch: an endless iterator for one rank, such as `SubBatchSampler`."""

    @property
    def step(self) -> int:
        """Batches drawn so far."""

    def __next__(self) -> list[tuple[int, int]]:
        """This rank's part of the next global batch, as `(source index, row index)`."""

    def state_dict(self) -> dict[str, Any]:
        """Where it is, as plain numbers that JSON can hold; `step` is one of them."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to where a `state_dict()` was taken, whose `step` may have been set back."""
