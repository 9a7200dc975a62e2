"""`EmbeddingStore`: vectors on disk by what they are of; and embedding what has none yet."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tokenize import TokenError
from typing import Any
from uuid import uuid4

import numpy as np
from tqdm.auto import tqdm

from vlm2vec.atomic_write import Stream, replacing, write_text
from vlm2vec.errors import MediaError, NonFiniteError, VLM2VecError
from vlm2vec.json_file import read_json
from vlm2vec.mmeb.encoders.protocol import Encoder
from vlm2vec.mmeb.processes import Processes
from vlm2vec.mmeb.task_samples import Samples

__all__ = ["EmbeddingStore", "embed", "vectors_of"]


_OF_HEADERS = (SyntaxError, TokenError)  # numpy's header is a text of Python


class EmbeddingStore:
    """Vectors of one model, in blocks of files; several processes may add to it at a time.

    A block is there when its list of names is, which is written last and in one go. What was being computed
    when a process died is computed again.

    Args:
        folder: Where its blocks lie.

    Example:
        >>> from tempfile import mkdtemp
        >>> store = EmbeddingStore(Path(mkdtemp()))
        >>> store.add(["a", "b"], [np.ones(3, np.float32), np.zeros(3, np.float32)])
        >>> store.missing(["b", "c"]), store.vectors(["b", "a"])["a"]
        (['c'], array([1., 1., 1.], dtype=float32))
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ends: dict[Path, Sequence[int]] = {}  # by block; where each sample's tokens end, if it has any
        self._entries: dict[str, tuple[Path, int]] = {}
        self.refresh()

    def __len__(self) -> int:
        return len(self._entries)

    def refresh(self) -> None:
        """Learn of blocks that other processes have added."""
        for path in sorted(self.folder.glob("*.json")):
            if path not in self._ends:
                self._learn(path)

    def missing(self, names: Iterable[str]) -> list[str]:
        """Those of the names that have no vector yet, each once, in order."""
        return [name for name in dict.fromkeys(names) if name not in self._entries]

    def add(self, names: Sequence[str], vectors: Sequence[np.ndarray]) -> None:
        """Write a block.

        Args:
            names: Of the vectors.
            vectors: `(dim,)` or, of late interaction, `(tokens, dim)` each; kept as float32.
        """
        if not names:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        rows = [np.atleast_2d(np.asarray(vector, dtype=np.float32)) for vector in vectors]
        ends = [] if vectors[0].ndim == 1 else np.cumsum([len(row) for row in rows]).tolist()
        path = self.folder / f"{uuid4().hex}.json"
        with replacing(path.with_suffix(".npy")) as unfinished, unfinished.open("wb") as file:
            np.save(Stream(file), np.concatenate(rows))  # type: ignore[arg-type]  # all that it needs
        write_text(path, json.dumps({"names": list(names), "ends": ends}))
        self._learn(path)

    def vectors(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        """Vectors `(dim,)`, or `(tokens, dim)` of late interaction, by name.

        Raises:
            KeyError: There is none of that name.
        """
        found: dict[str, np.ndarray] = {}
        by_block: dict[Path, list[tuple[str, int]]] = {}
        for name in names:
            path, index = self._entries[name]
            by_block.setdefault(path, []).append((name, index))
        for path, wanted in by_block.items():
            block, ends = np.load(path.with_suffix(".npy"), mmap_mode="r"), self._ends[path]
            for name, index in wanted:
                if ends:
                    found[name] = np.array(block[ends[index - 1] if index else 0 : ends[index]])
                else:
                    found[name] = np.array(block[index])
        return found

    def _learn(self, path: Path) -> None:
        try:
            written = read_json(path)
            names, ends = written["names"], written["ends"]
            block = np.load(path.with_suffix(".npy"), mmap_mode="r")
            whole = _is_block(names, ends, block)
        except (FileNotFoundError, ValueError, KeyError, TypeError, EOFError, OverflowError, *_OF_HEADERS):
            return  # damaged, or a copy that was cut off: its vectors are made again
        if whole:
            self._ends[path] = ends
            self._entries.update((name, (path, index)) for index, name in enumerate(names))


def _is_block(names: Any, ends: Any, block: np.ndarray) -> bool:
    """Whether these are the names of all vectors in a block, and the places where the tokens of each end."""
    if not (
        isinstance(names, list) and isinstance(ends, list) and all(isinstance(name, str) for name in names)
    ):
        return False
    if block.ndim != 2 or block.dtype != np.float32:
        return False
    if not ends:
        return len(block) == len(names)
    in_order = all(type(end) is int for end in ends) and ends == sorted(ends) and ends[0] >= 0
    return in_order and len(ends) == len(names) and ends[-1] == len(block)


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
        bar: Counts what this process did, as if all were as fast.
        devices: How many the encoder has.

    Returns:
        What is wrong with each sample that has no vector.

    Raises:
        VLM2VecError: A sample cannot be embedded, and `tolerant` is false, or another process cannot go on.
    """
    indices: dict[str, int] = {}
    for index, name in enumerate(_names(samples)):
        if name is not None:
            indices.setdefault(name, index)
    # The same shares whatever a process has read of the store.
    missing = store.missing(list(indices)[processes.rank :: processes.count])
    bar.update(len(samples.digests) - len(missing) * processes.count)

    def share() -> dict[str, VLM2VecError]:
        errors: dict[str, VLM2VecError] = {}
        for block in _blocks(missing, _BLOCK * devices):
            contents = [samples.content_of(indices[name]) for name in block]
            rows = dict(zip(block, map(_checked, encoder.encode(contents, role=samples.role)), strict=True))
            good = {name: row for name, row in rows.items() if not isinstance(row, VLM2VecError)}
            store.add(list(good), list(good.values()))
            for name, row in rows.items():
                if isinstance(row, VLM2VecError):
                    if not tolerant:
                        raise _named(row, samples.named(indices[name]))
                    errors[name] = row
            bar.update(len(block) * processes.count)
        return errors

    found = {name: error for part in processes.gather(share) for name, error in part.items()}
    processes.gather(store.refresh)  # none adds more before all have read what there is
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
    for start in range(0, len(names), size):
        yield names[start : start + size]
