"""Digests: what tells whether a sample, a task's data or a model's weights are still what they were."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlm2vec.mmeb.atomic_write import write_text
from vlm2vec.mmeb.samples import Content, Key, Query, TaskData

__all__ = ["Digests", "TaskDigests", "digest_of", "weights_digest"]

_BLOCK = 2**20


def digest_of(value: Any) -> str:
    """Digest of plain values: numbers, texts, and lists and dicts of them.

    Example:
        >>> digest_of({"a": 1, "b": [2]}) == digest_of({"b": [2], "a": 1})
        True
    """
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return _hash([text.encode()])


def weights_digest(tensors: Mapping[str, Any]) -> str:
    """Digest of a `state_dict`: names, types and every element."""
    import torch

    parts = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        parts.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        parts.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return parts.hexdigest()


@dataclass(frozen=True)
class TaskDigests:
    """What tells whether a task's data are still what they were.

    Attributes:
        queries: Of each query's content.
        candidates: Of each candidate, in the order of the pool.
        whole: Of these, labels, grades and pools.
    """

    queries: list[str]
    candidates: list[str]
    whole: str


class Digests:
    """Digests of samples, each file read once while it stays as it is.

    Args:
        file: Where digests of files are remembered between runs, by path, size and time of change.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._known: dict[str, str] = {}
        self._new = False
        if file is not None and file.is_file():
            try:
                self._known = json.loads(file.read_text(encoding="utf-8"))
            except ValueError:
                self._known = {}  # cut off while it was written; files are read once more

    def content(self, content: Content) -> str:
        """Digest of all that a model could be given of a sample.

        Raises:
            OSError: A file cannot be read.
        """
        media: list[str] = []
        if isinstance(content.image, bytes):
            media.append(_hash([content.image]))
        elif content.image is not None:
            media.append(self._of_file(content.image))
        media += [self._of_file(frame) for frame in content.frames]
        return digest_of([content.prompt, content.text, content.instruction, media, bool(content.frames)])

    def task(self, data: TaskData) -> TaskDigests:
        """Digests of a task's samples, one at a time: pages of a corpus need not fit in memory together."""
        queries = [self.content(query.content) for query in data.queries]
        candidates = [self.content(data.candidates[key]) for key in data.candidates]
        places = {key: place for place, key in enumerate(data.candidates)}
        asked = [[name, *_told(query, places)] for name, query in zip(queries, data.queries, strict=True)]
        keys = [str(key) for key in data.candidates]
        return TaskDigests(queries, candidates, digest_of([keys, candidates, asked]))

    def save(self) -> None:
        """Remember the digests of files."""
        if self._file is not None and self._new:
            write_text(self._file, json.dumps(self._known))
            self._new = False

    def _of_file(self, path: Path) -> str:
        state = path.stat()
        name = f"{path.resolve()} {state.st_size} {state.st_mtime_ns}"
        known = self._known.get(name)
        if known is None:
            with path.open("rb") as file:
                known = _hash(iter(lambda: file.read(_BLOCK), b""))
            self._known[name] = known
            self._new = True
        return known


def _told(query: Query, places: Mapping[Key, int]) -> tuple[Any, ...]:
    """Labels, grades and pool of a query, as plain values."""
    pool = None if query.candidates is None else [places[key] for key in query.candidates]
    return [str(label) for label in query.labels], list(query.grades), pool


def _hash(blocks: Iterable[bytes]) -> str:
    found = hashlib.blake2b(digest_size=16)
    for block in blocks:
        found.update(block)
    return found.hexdigest()
