"""Batches of rows: another row in place of a bad one, and none of them twice."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vlm2vec.errors import MediaError, VLM2VecError
from vlm2vec.inputs import Input
from vlm2vec.inputs import parse as parsing
from vlm2vec.training import Mixture, SubBatchSampler, TrainingSource
from vlm2vec.training.batches import RowBatch, RowBatches, RowParser


def texts(count: int) -> list[dict[str, Any]]:
    return [{"query": f"question {number}", "document": f"answer {number}"} for number in range(count)]


def batches_of(rows: list[dict[str, Any]], *, seed: int = 0, replace: bool = True) -> RowBatches:
    sampler = SubBatchSampler([len(rows)], batch_size=10, sub_batch_size=0, seed=seed)
    mixture = Mixture([TrainingSource("texts", rows)])
    return RowBatches(mixture, sampler, RowParser(), replace=replace, seed=seed)


@pytest.mark.parametrize("seed", range(10))
def test_what_replaces_a_bad_row_is_not_in_the_batch_already(seed: int) -> None:
    rows = texts(20)
    rows[3] = {"query": "", "document": "answer 3"}
    batches = batches_of(rows, seed=seed)
    for _, each in zip(range(6), batches, strict=False):
        places = {one.row_index for one in each["batch"].drawn}
        assert len(places) == 10
        assert 3 not in places
    assert batches.bad == {(0, 3)}


def test_a_row_is_bad_once_however_often_it_is_found_to_be(caplog: pytest.LogCaptureFixture) -> None:
    batches = batches_of(texts(20))
    batch = next(iter(batches))["batch"]
    error = MediaError("the file is broken").at(0, "a file")
    mended = batches.without(batch, error)
    assert mended.drawn[0].row_index not in {one.row_index for one in batch.drawn}
    assert [one.row_index for one in mended.drawn[1:]] == [one.row_index for one in batch.drawn[1:]]
    batches.without(batch, error)  # as where a batch with it was read before
    assert batches.bad == {(0, batch.drawn[0].row_index)}
    assert len(caplog.messages) == 1


def test_a_closed_picture_is_named_like_any_other_before_it_fails_to_decode(tmp_path: Path) -> None:
    Image.new("P", (56, 56)).save(tmp_path / "a.png")
    closed = Image.open(tmp_path / "a.png")
    closed.close()
    batch = next(iter(batches_of([{"query": "a", "document": closed}, *texts(9)])))["batch"]
    assert isinstance(batch, RowBatch)
    assert len(set(batch.pairs.document_ids)) == 10


def test_a_bad_row_is_an_error_that_names_it(tmp_path: Path) -> None:
    rows = [{"query": "a", "document": tmp_path / "missing.png"}, *texts(9)]
    batch = next(iter(batches_of(rows, replace=False)))["batch"]
    assert isinstance(batch, MediaError)
    assert str(batch).startswith("texts, row 0: ")


def test_a_closed_iterator_leaves_no_reader() -> None:
    rows = iter(batches_of(texts(20)))
    next(rows)
    rows.close()
    assert not [each for each in threading.enumerate() if each.name.startswith("vlm2vec-rows")]


def test_an_iterator_may_be_closed_in_the_thread_that_reads() -> None:  # where garbage may be collected
    class Closing(RowBatches):
        def _read(self, keys: Any) -> RowBatch | VLM2VecError:
            reads.append(keys)
            if len(reads) == 2:  # while the first batch is used
                used.wait(60)
                try:
                    rows.close()
                except Exception as error:
                    errors.append(error)
                closed.set()
            return super()._read(keys)

    reads: list[Any] = []
    errors: list[Exception] = []
    used, closed = threading.Event(), threading.Event()
    plain = batches_of(texts(20))
    rows = iter(Closing(plain.mixture, plain.sampler, plain.parser))
    next(rows)
    used.set()
    assert closed.wait(60)
    assert errors == []


def test_a_row_is_parsed_once_each_time_it_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[Any] = []
    parse = parsing._parse

    def noted(item: Any) -> Any:
        if not isinstance(item, Input):
            parsed.append(item)
        return parse(item)

    monkeypatch.setattr(parsing, "_parse", noted)
    Image.new("RGB", (28, 28)).save(tmp_path / "a.png")
    rows = [
        {"query": f"question {number}", "document": {"image": str(tmp_path / "a.png"), "text": f"{number}"}}
        for number in range(10)
    ]
    source = TrainingSource("pictures", rows, num_frames=4)
    sampler = SubBatchSampler([len(rows)], batch_size=10, sub_batch_size=0)
    batches = RowBatches(Mixture([source]), sampler, RowParser())
    batches._read([(0, number) for number in range(10)])
    assert len(parsed) == 20


def test_inputs_of_a_row_know_which_side_they_are_on() -> None:
    rows = [{**row, "negatives": ["another answer"]} for row in texts(10)]
    pairs = next(iter(batches_of(rows)))["batch"].pairs
    assert {item.role for item in pairs.queries} == {"query"}
    assert [item.role for item in pairs.documents] == ["document"] * 20
