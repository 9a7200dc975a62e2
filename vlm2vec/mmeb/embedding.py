"""Embedding what has no vector yet: block by block, shared out among processes, each sample once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from accelerate import PartialState
from accelerate.utils import gather_object
from tqdm.auto import tqdm

from vlm2vec.errors import VLM2VecError
from vlm2vec.mmeb.embedding_store import EmbeddingStore
from vlm2vec.mmeb.encoders.encoder import Encoder, Role
from vlm2vec.mmeb.samples import Content

__all__ = ["Processes", "embed"]

T = TypeVar("T")

_BLOCK = 256
"""Samples that are embedded and written at a time: what is lost by a kill."""


@dataclass(frozen=True)
class Processes:
    """The processes of a run, as a launcher started them.

    Attributes:
        rank: Of this one.
        count: How many.
    """

    rank: int = 0
    count: int = 1

    @classmethod
    def here(cls) -> Processes:
        """Those that `accelerate launch` or `torchrun` started; one if none did."""
        state = PartialState()
        return cls(state.process_index, state.num_processes)

    def gathered(self, found: dict[str, T]) -> dict[str, T]:
        """What all processes found, once all are here."""
        return {name: one for part in gather_object([found]) for name, one in part.items()}


def embed(
    names: Sequence[str],
    content_of: Callable[[int], Content],
    encoder: Encoder,
    store: EmbeddingStore,
    *,
    role: Role,
    processes: Processes,
    bar: tqdm,
) -> dict[str, VLM2VecError]:
    """Add the vectors that are missing to the store; when it returns, those of all processes are there.

    Args:
        names: Of samples, in the store; equal ones are embedded once.
        content_of: The sample at a place, asked for when its turn has come.
        encoder: The model.
        store: Of its vectors.
        role: What the samples are.
        processes: Each embeds its share.
        bar: Told of every sample of this process.

    Returns:
        What was wrong with samples that have no vector, of all processes.
    """
    errors: dict[str, VLM2VecError] = {}
    places = {name: place for place, name in reversed(list(enumerate(names)))}
    missing = store.missing(names)
    bar.update(len(names) - len(missing))
    for block in _blocks(missing[processes.rank :: processes.count]):
        rows = encoder.encode([content_of(places[name]) for name in block], role=role)
        good = []
        for name, row in zip(block, rows, strict=True):
            if isinstance(row, VLM2VecError):
                errors[name] = row
            else:
                good.append((name, row))
        store.add([name for name, _ in good], [row for _, row in good])
        bar.update(len(block))
    gathered = processes.gathered(errors)
    store.refresh()
    return gathered


def _blocks(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for begin in range(0, len(names), _BLOCK):
        yield names[begin : begin + _BLOCK]
