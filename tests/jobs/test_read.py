"""`read_vectors` and `stream_vectors`: whole jobs, of one folder or several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlm2vec import VLM2Vec, encode_to, read_vectors, stream_vectors
from vlm2vec.errors import InputError, VectorsMismatchError

WORDS = [f"a {colour} {shape}" for colour in ("red", "blue") for shape in ("circle", "square", "star")]


def encoded(folder: Path, model: VLM2Vec, inputs: list[Any] = WORDS, **settings: Any) -> Path:
    return encode_to(folder, inputs, model=model, **{"rows_per_shard": 2, **settings}).path


def test_a_stream_has_a_shard_at_a_time_mapped_from_the_disk(embedded: VLM2Vec, tmp_path: Path) -> None:
    folder = encoded(tmp_path / "v", embedded)
    parts = list(stream_vectors(folder))
    assert [(len(vectors), len(rows)) for vectors, rows in parts] == [(2, 2)] * 3
    assert all(isinstance(vectors.base, np.memmap) for vectors, _ in parts)
    np.testing.assert_array_equal(np.concatenate([vectors for vectors, _ in parts]), read_vectors(folder)[0])


def test_a_folder_may_be_a_string(embedded: VLM2Vec, tmp_path: Path) -> None:
    assert len(read_vectors(str(encoded(tmp_path / "v", embedded)))[1]) == 6


def test_a_job_that_has_not_ended_is_refused_unless_asked(embedded: VLM2Vec, tmp_path: Path) -> None:
    def inputs() -> Any:
        yield from WORDS[:3]
        raise ConnectionError

    with pytest.raises(ConnectionError):
        encoded(tmp_path / "v", embedded, inputs())
    with pytest.raises(InputError, match="no run has come to the end"):
        read_vectors(tmp_path / "v")
    assert len(read_vectors(tmp_path / "v", partial=True)[1]) == 2


def test_parts_that_are_missing_are_told(embedded: VLM2Vec, tmp_path: Path) -> None:
    folder = encoded(tmp_path / "v", embedded, part=(2, 2))
    with pytest.raises(InputError, match="of 3 shards, 2 are not there, the first of them number 0"):
        read_vectors(folder)
    vectors, rows = read_vectors(folder, partial=True)
    assert [row.index for row in rows] == [2, 3]
    assert vectors.shape == (2, 224)


def test_folders_of_several_models_are_refused(embedded: VLM2Vec, tiny: VLM2Vec, tmp_path: Path) -> None:
    folders = [encoded(tmp_path / "a", embedded), encoded(tmp_path / "b", tiny)]
    with pytest.raises(VectorsMismatchError, match="dimensions is 224 there, and 64 here"):
        read_vectors(folders)


def test_folders_of_several_jobs_are_refused(embedded: VLM2Vec, tmp_path: Path) -> None:
    folders = [encoded(tmp_path / "a", embedded), encoded(tmp_path / "b", embedded, WORDS[::-1])]
    with pytest.raises(VectorsMismatchError, match=r"shard 0 of .*a and of .*b have other inputs"):
        read_vectors(folders)


def test_a_shard_that_two_folders_have_is_read_once(embedded: VLM2Vec, tmp_path: Path) -> None:
    whole = encoded(tmp_path / "a", embedded)
    part = encoded(tmp_path / "b", embedded, part=(1, 2))
    vectors, rows = read_vectors([part, whole])
    assert [row.index for row in rows] == list(range(6))
    np.testing.assert_array_equal(vectors, read_vectors(whole)[0])


def test_shards_of_several_sizes_are_refused(embedded: VLM2Vec, tmp_path: Path) -> None:
    folders = [encoded(tmp_path / "a", embedded), encoded(tmp_path / "b", embedded, rows_per_shard=3)]
    with pytest.raises(InputError, match=r"shards of .*a have 2 rows, and those of .*b 3"):
        read_vectors(folders)


@pytest.mark.parametrize("given", ["empty", "missing", []])
def test_what_has_no_vectors_is_refused(given: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="there are no"):
        read_vectors(tmp_path / given if isinstance(given, str) else given)
