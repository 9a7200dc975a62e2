"""Shards on the disk: whatever a process that died has left is read as what it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vlm2vec import VLM2Vec
from vlm2vec.errors import InputError, MediaError
from vlm2vec.jobs.part import Part
from vlm2vec.jobs.shards import Row, Shard, VectorShards
from vlm2vec.vectors_identity import VectorsIdentity

VECTORS = np.arange(3 * 224, dtype=np.float32).reshape(3, 224)
ROWS = [
    Row(index, f"caf\N{LATIN SMALL LETTER E WITH ACUTE} {index}", "a\x85b\u2028c", "0") for index in range(3)
]
FAILED = ROWS[1].failed(MediaError("the file is empty", fix="Write into it."))


@pytest.fixture
def shards(embedded: VLM2Vec, tmp_path: Path) -> VectorShards:
    return VectorShards.make(tmp_path, VectorsIdentity.of(embedded), rows_per_shard=3, default=1024)


def names(shards: VectorShards) -> list[str]:
    return sorted(path.name for path in shards.folder.iterdir() if path.name[0] != ".")


def with_failure() -> Shard:
    vectors = VECTORS.copy()
    vectors[1] = np.nan
    return Shard(0, [ROWS[0], FAILED, ROWS[2]], vectors)


def test_a_shard_comes_back_as_it_was(shards: VectorShards) -> None:
    shards.write(Shard(7, ROWS, VECTORS))
    assert shards.numbers() == [7]
    assert shards.read(3) is None
    for mapped in (False, True):
        shard = shards.read(7, mapped=mapped)
        assert shard is not None
        assert shard.rows == ROWS
        assert not shard.torn
        np.testing.assert_array_equal(shard.vectors, VECTORS)


def test_names_that_are_no_text_come_back(shards: VectorShards) -> None:
    row = replace(ROWS[0], source="caf\udce9.png")  # a name of a file in Latin-1
    shards.write(Shard(0, [row], VECTORS[:1]))
    shard = shards.read(0)
    assert shard is not None
    assert shard.rows == [row]


def test_a_shard_without_lines_is_not_there(shards: VectorShards) -> None:
    shards.write(Shard(0, ROWS, VECTORS))
    (shards.folder / "shard-000000.jsonl").unlink()
    assert shards.read(0) is None
    assert shards.numbers() == []


def test_after_a_retry_that_was_cut_off_the_vector_counts(shards: VectorShards) -> None:
    shards.write(with_failure())
    lines = shards.folder / "shard-000000.jsonl"
    old = lines.read_bytes()
    shards.write(Shard(0, ROWS, VECTORS))
    lines.write_bytes(old)
    shard = shards.read(0)
    assert shard is not None
    assert shard.torn
    assert shard.rows == ROWS


def test_after_an_extension_that_was_cut_off_the_lines_count(shards: VectorShards) -> None:
    shards.write(Shard(0, ROWS[:2], VECTORS[:2]))
    lines = shards.folder / "shard-000000.jsonl"
    old = lines.read_bytes()
    shards.write(Shard(0, ROWS, VECTORS))
    lines.write_bytes(old)
    shard = shards.read(0)
    assert shard is not None
    assert shard.torn
    assert shard.rows == ROWS[:2]
    np.testing.assert_array_equal(shard.vectors, VECTORS[:2])


def test_a_row_that_failed_says_why(shards: VectorShards) -> None:
    shards.write(with_failure())
    shard = shards.read(0)
    assert shard is not None
    assert shard.rows[1].error == "the file is empty. Write into it."
    assert shard.rows[1].error_type == "MediaError"
    assert np.isnan(shard.vectors[1]).all()


@pytest.mark.parametrize(("suffix", "left"), [("npy", 0), ("npy", 60), ("npy", 200), ("jsonl", 200)])
def test_a_damaged_shard_is_named(shards: VectorShards, suffix: str, left: int) -> None:
    shards.write(Shard(0, ROWS, VECTORS))
    path = shards.folder / f"shard-000000.{suffix}"
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(
        InputError, match=rf"shard-000000\.{suffix}: it is damaged.* Remove shard-000000\.npy and"
    ):
        shards.read(0)


def test_vectors_of_another_width_are_damage(shards: VectorShards) -> None:
    shards.write(Shard(0, ROWS, VECTORS[:, :64]))
    with pytest.raises(InputError, match="damaged"):
        shards.read(0)


def test_what_a_process_left_unfinished_goes_where_it_is_ones_own(shards: VectorShards) -> None:
    for name in ("shard-000000.npy.12.part", "shard-000001.jsonl.12.part", "shard-000002.npy.12.part"):
        (shards.folder / name).write_bytes(b"half")
    shards.clean(Part(1, 2).shards)
    assert names(shards) == ["manifest.json", "shard-000001.jsonl.12.part"]


def test_a_manifest_that_was_cut_off_is_no_other_file(embedded: VLM2Vec, tmp_path: Path) -> None:
    (tmp_path / "manifest.json.12.part").write_text("{")
    shards = VectorShards.make(tmp_path, VectorsIdentity.of(embedded), rows_per_shard=None, default=8)
    assert shards.manifest.rows_per_shard == 8


def test_the_number_of_rows_is_noted(shards: VectorShards) -> None:
    assert VectorShards.open(shards.folder).manifest.rows is None
    shards.finish(7)
    assert VectorShards.open(shards.folder).manifest == replace(shards.manifest, rows=7)
