"""`EmbeddingStore`: vectors on disk by what they are of, written as they are made."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from uuid import uuid4

import numpy as np

__all__ = ["EmbeddingStore"]


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
        >>> store.missing(["b", "c"]), store.vectors(["b", "a"])[1]
        (['c'], array([1., 1., 1.], dtype=float32))
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._blocks: dict[Path, tuple[np.ndarray, Sequence[int]]] = {}
        self._places: dict[str, tuple[Path, int]] = {}
        self.refresh()

    def __len__(self) -> int:
        return len(self._places)

    def refresh(self) -> None:
        """Learn of blocks that other processes have added."""
        for path in sorted(self.folder.glob("*.json")):
            if path not in self._blocks:
                self._read(path)

    def missing(self, names: Iterable[str]) -> list[str]:
        """Those of the names that have no vector yet, each once, in order."""
        return [name for name in dict.fromkeys(names) if name not in self._places]

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
        with path.with_suffix(".npy").open("wb") as file:
            np.save(file, np.concatenate(rows))
            file.flush()
            os.fsync(file.fileno())
        fresh = path.with_suffix(".tmp")
        fresh.write_text(json.dumps({"names": list(names), "ends": ends}), encoding="utf-8")
        fresh.replace(path)
        self._read(path)

    def vectors(self, names: Iterable[str]) -> list[np.ndarray]:
        """Vectors `(dim,)`, or `(tokens, dim)` of late interaction, by name.

        Raises:
            KeyError: There is none of that name.
        """
        return [self._vector(*self._places[name]) for name in names]

    def _vector(self, path: Path, place: int) -> np.ndarray:
        vectors, ends = self._blocks[path]
        if not ends:
            row: np.ndarray = vectors[place]
            return row
        return vectors[ends[place - 1] if place else 0 : ends[place]]

    def _read(self, path: Path) -> None:
        try:
            block = json.loads(path.read_text(encoding="utf-8"))
            vectors = np.load(path.with_suffix(".npy"), mmap_mode="r", allow_pickle=False)
            names, ends = block["names"], block["ends"]
        except (OSError, ValueError, KeyError, TypeError):
            return  # a copy that was cut off: its vectors are made again
        if len(vectors) != (ends[-1] if ends else len(names)):
            return
        self._blocks[path] = vectors, ends
        self._places.update((name, (path, place)) for place, name in enumerate(names))
