"""Embedding what has no vector yet: block by block, shared out among processes, each sample once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from tqdm.auto import tqdm

from vlm2vec.errors import MediaError, VLM2VecError
from vlm2vec.mmeb.embedding_store import EmbeddingStore
from vlm2vec.mmeb.encoders.encoder import Encoder, Role
from vlm2vec.mmeb.samples import Content

__all__ = ["Processes", "embed"]

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
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return cls()
        # Without a GPU accelerate looks for other processes only if it is told to.
        state = PartialState(cpu=not torch.cuda.is_available())
        return cls(state.process_index, state.num_processes)

    def gathered(self, errors: dict[str, VLM2VecError], crash: Exception | None) -> dict[str, VLM2VecError]:
        """Errors of all processes, once all are here.

        Raises:
            Exception: That of this process, or word of another's.
        """
        told = errors, None if crash is None else f"{type(crash).__name__}: {crash}"
        found = [told] if self.count == 1 else gather_object([told])
        if crash is not None:
            raise crash
        for _, other in found:
            if other is not None:
                raise VLM2VecError(f"another process could not go on: {other}")
        return {name: error for part, _ in found for name, error in part.items()}

    def wait(self) -> None:
        """Until all are here."""
        if self.count > 1:
            PartialState().wait_for_everyone()


def embed(
    names: Sequence[str],
    content_of: Callable[[int], Content],
    encoder: Encoder,
    store: EmbeddingStore,
    *,
    role: Role,
    tolerant: bool,
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
        tolerant: Go on after a sample that cannot be embedded.
        processes: Each embeds its share.
        bar: Told of what this process did, as if all were as fast.

    Returns:
        What was wrong with samples that have no vector, of all processes.
    """
    errors: dict[str, VLM2VecError] = {}
    crash: Exception | None = None
    places = {name: place for place, name in reversed(list(enumerate(names)))}
    own = list(places)[
        processes.rank :: processes.count
    ]  # the same shares whatever a process sees of the store
    missing = store.missing(own)
    bar.update(len(names) - len(missing) * processes.count)
    try:
        for block in _blocks(missing):
            rows = encoder.encode([content_of(places[name]) for name in block], role=role)
            checked = {name: _checked(row) for name, row in zip(block, rows, strict=True)}
            good = {name: row for name, row in checked.items() if not isinstance(row, VLM2VecError)}
            errors.update((name, row) for name, row in checked.items() if isinstance(row, VLM2VecError))
            store.add(list(good), list(good.values()))
            bar.update(len(block) * processes.count)
            if errors and not tolerant:
                break
    except Exception as error:  # the other processes wait for this one
        crash = error
    gathered = processes.gathered(errors, crash)
    store.refresh()
    processes.wait()  # none adds more before all have seen what there is
    return gathered


def _checked(row: np.ndarray | VLM2VecError) -> np.ndarray | VLM2VecError:
    if isinstance(row, VLM2VecError) or np.isfinite(row).all():
        return row
    return MediaError("its vector is not finite", fix="Look at the model: its weights, and its type.")


def _blocks(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for begin in range(0, len(names), _BLOCK):
        yield names[begin : begin + _BLOCK]
