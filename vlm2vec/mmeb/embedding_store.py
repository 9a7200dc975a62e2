"""`EmbeddingStore`: vectors on disk by what they are of, written as they are made."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from uuid import uuid4

import numpy as np

from vlm2vec.mmeb.atomic_write import write_text

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
        >>> store.missing(["b", "c"]), store.vectors(["b", "a"])["a"]
        (['c'], array([1., 1., 1.], dtype=float32))
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ends: dict[Path, Sequence[int]] = {}  # by block; where each sample's tokens end, if it has any
        self._places: dict[str, tuple[Path, int]] = {}
        self.refresh()

    def __len__(self) -> int:
        return len(self._places)

    def refresh(self) -> None:
        """Learn of blocks that other processes have added."""
        for path in sorted(self.folder.glob("*.json")):
            if path not in self._ends:
                self._learn(path)

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
        np.save(path.with_suffix(".npy"), np.concatenate(rows))
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
            path, place = self._places[name]
            by_block.setdefault(path, []).append((name, place))
        for path, wanted in by_block.items():
            block, ends = np.load(path.with_suffix(".npy"), mmap_mode="r"), self._ends[path]
            for name, place in wanted:
                if ends:
                    found[name] = np.array(block[ends[place - 1] if place else 0 : ends[place]])
                else:
                    found[name] = np.array(block[place])
        return found

    def _learn(self, path: Path) -> None:
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            names, ends = told["names"], told["ends"]
            whole = len(np.load(path.with_suffix(".npy"), mmap_mode="r")) == (
                ends[-1] if ends else len(names)
            )
        except (FileNotFoundError, ValueError, KeyError, TypeError, EOFError):
            return  # damaged, or a copy that was cut off: its vectors are made again
        if whole:
            self._ends[path] = ends
            self._places.update((name, (path, place)) for place, name in enumerate(names))
