"""`EmbeddingStore`: a block whose list of names, or whose vectors, are damaged is as good as none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlm2vec.mmeb.store import EmbeddingStore


def block(folder: Path, names: Any, ends: Any, vectors: np.ndarray) -> EmbeddingStore:
    np.save(folder / "0a.npy", vectors)
    (folder / "0a.json").write_text(json.dumps({"names": names, "ends": ends}), encoding="utf-8")
    return EmbeddingStore(folder)


def test_a_block_that_is_whole_is_read(tmp_path: Path) -> None:
    store = block(tmp_path, ["a", "b"], [1, 3], np.ones((3, 4), np.float32))
    assert [vector.shape for vector in store.vectors(["a", "b"]).values()] == [(1, 4), (2, 4)]


@pytest.mark.parametrize(
    ("names", "ends", "shape"),
    [
        ([["a"], "b"], [], (2, 4)),
        ("ab", [], (2, 4)),
        ({"a": 0, "b": 1}, [], (2, 4)),
        (["a", "b"], [3], (3, 4)),
        (["a", "b"], [3, 1], (1, 4)),
        (["a", "b"], [-1, 3], (3, 4)),
        (["a", "b"], [1.0, 3], (3, 4)),
        (["a", "b"], [], (2,)),
    ],
)
def test_a_damaged_block_is_as_good_as_none(tmp_path: Path, names: Any, ends: Any, shape: Any) -> None:
    assert len(block(tmp_path, names, ends, np.ones(shape, np.float32))) == 0


def test_vectors_of_another_type_are_as_good_as_none(tmp_path: Path) -> None:
    assert len(block(tmp_path, ["a", "b"], [], np.ones((2, 4), np.int64))) == 0


@pytest.mark.parametrize("header", [b"{'descr': '<f4', 'shape': (", b"{'descr'\\", b"{'a'", b"\xff" * 9])
def test_vectors_whose_header_is_damaged_are_as_good_as_none(tmp_path: Path, header: bytes) -> None:
    block(tmp_path, ["a", "b"], [], np.ones((2, 4), np.float32))
    file = tmp_path / "0a.npy"
    data = file.read_bytes()
    file.write_bytes(data[:10] + header.ljust(118)[:117] + b"\n" + data[128:])
    assert len(EmbeddingStore(tmp_path)) == 0
