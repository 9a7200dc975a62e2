"""Embedding what has no vector yet: block by block, shared out among processes, each sample once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from tqdm.auto import tqdm

from vlm2vec.errors import MediaError, NonFiniteError, VLM2VecError
from vlm2vec.mmeb.embedding_store import EmbeddingStore
from vlm2vec.mmeb.encoders.protocol import Encoder
from vlm2vec.mmeb.processes import Processes
from vlm2vec.mmeb.task_samples import Samples

__all__ = ["embed", "vectors_of"]

_BLOCK = 256
"""Samples that a device embeds before they are written: what is lost by a kill."""


def embed(
    samples: Samples,
    encoder: Encoder,
    store: EmbeddingStore,
    *,
    tolerant: bool,
    processes: Processes,
    bar: tqdm,
    devices: int = 1,
) -> list[VLM2VecError | None]:
    """Add the vectors that are missing to the store; when it returns, those of all processes are there.

    Args:
        samples: Equal ones are embedded once.
        encoder: The model.
        store: Of its vectors.
        tolerant: Go on after a sample that cannot be embedded.
        processes: Each embeds its share.
        bar: Told of what this process did, as if all were as fast.
        devices: How many the encoder has.

    Returns:
        What is wrong with each sample that has no vector.

    Raises:
        VLM2VecError: A sample cannot be embedded, and `tolerant` is false, or another process cannot go on.
    """
    places: dict[str, int] = {}
    for place, name in enumerate(_names(samples)):
        if name is not None:
            places.setdefault(name, place)
    # The same shares whatever a process sees of the store.
    missing = store.missing(list(places)[processes.rank :: processes.count])
    bar.update(len(samples.digests) - len(missing) * processes.count)

    def share() -> dict[str, VLM2VecError]:
        errors: dict[str, VLM2VecError] = {}
        for block in _blocks(missing, _BLOCK * devices):
            contents = [samples.content_of(places[name]) for name in block]
            rows = dict(zip(block, map(_checked, encoder.encode(contents, role=samples.role)), strict=True))
            good = {name: row for name, row in rows.items() if not isinstance(row, VLM2VecError)}
            store.add(list(good), list(good.values()))
            for name, row in rows.items():
                if isinstance(row, VLM2VecError):
                    if not tolerant:
                        raise _named(row, samples.named(places[name]))
                    errors[name] = row
            bar.update(len(block) * processes.count)
        return errors

    found = {name: error for part in processes.gather(share) for name, error in part.items()}
    processes.gather(store.refresh)  # none adds more before all have seen what there is
    return [
        digest if isinstance(digest, MediaError) else found.get(str(name))
        for name, digest in zip(_names(samples), samples.digests, strict=True)
    ]


def vectors_of(
    samples: Samples, errors: Sequence[VLM2VecError | None], store: EmbeddingStore
) -> list[np.ndarray | None]:
    """The vectors of samples, in order; `None` where there is an error instead."""
    names = [name if error is None else None for name, error in zip(_names(samples), errors, strict=True)]
    vectors = store.vectors(dict.fromkeys(name for name in names if name is not None))
    return [None if name is None else vectors[name] for name in names]


def _names(samples: Samples) -> Iterator[str | None]:
    """What samples are kept under; `None` for those that cannot be read."""
    for digest in samples.digests:
        yield None if isinstance(digest, MediaError) else f"{samples.role} {digest}"


def _named(error: VLM2VecError, name: str) -> VLM2VecError:
    error.source = ", ".join(filter(None, (name, error.source)))
    return error


def _checked(row: np.ndarray | VLM2VecError) -> np.ndarray | VLM2VecError:
    if isinstance(row, VLM2VecError):
        return row.copy()  # its number is that of a block
    if np.isfinite(row).all():
        return row
    return NonFiniteError("its vector is not finite", fix="Look at the model: its weights, and its type.")


def _blocks(names: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for begin in range(0, len(names), size):
        yield names[begin : begin + size]
