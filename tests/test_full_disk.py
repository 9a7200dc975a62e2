"""A disk without room: what was being written is named, nothing is left half written, and our error says why.

A limit of the size of a file stands for it: the system then writes as much as fits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import TrainerCallback

from vlm2vec import VLM2Vec, encode_to
from vlm2vec.cli import main
from vlm2vec.errors import CheckpointError, VLM2VecWarning
from vlm2vec.mmeb.store import EmbeddingStore
from vlm2vec.training.loss.tensor_file import TensorFile

resource = pytest.importorskip("resource", reason="this system has no limits")


@contextmanager
def limit(size: int) -> Iterator[None]:
    """Files of this process take no byte beyond these; Python turns the system's signal into an error."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_vectors_of_the_benchmark(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path)
    with limit(10_000), pytest.raises(OSError, match=r"^\[Errno 27\] File too large: ") as raised:
        store.add([str(i) for i in range(100)], list(np.ones((100, 64), np.float32)))
    assert str(tmp_path) in str(raised.value)
    assert "requested" not in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_the_commands_name_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, vectors = tmp_path / "a.txt", tmp_path / "vectors.npz"
    text.write_text("a red circle")
    with limit(1_000), pytest.raises(SystemExit):
        main(["encode", str(text), "-o", str(vectors)])
    assert capsys.readouterr().err.splitlines()[-1] == f"error: {vectors}: File too large"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.slow
def test_the_command_of_the_benchmark_says_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with limit(10_000), pytest.raises(SystemExit):
        main(["mmeb", "run", "-t", "mini-I-CLS", "-o", str(tmp_path / "run")])
    last = capsys.readouterr().err.splitlines()[-1]
    assert re.fullmatch("error: (.*: )?File too large", last)


def test_a_job_goes_on_when_there_is_room(embedded: VLM2Vec, tmp_path: Path) -> None:
    """The second shard does not fit: it is named, the first one is whole, and nothing is encoded twice."""
    folder = tmp_path / "vectors"
    inputs = [f"a red circle and {number} squares" for number in range(20)]
    shard = folder / "shard-000001.npy"
    with ExitStack() as full:

        def until_full() -> Iterator[str]:
            for number, words in enumerate(inputs):
                if number == 10:
                    full.enter_context(limit(5_000))
                yield words

        with pytest.raises(OSError, match=re.escape(f"[Errno 27] File too large: '{shard}'")):
            encode_to(folder, until_full(), model=embedded, rows_per_shard=8)
    there = {path.name for path in folder.iterdir() if path.name[0] != "."}
    assert there == {"manifest.json", "shard-000000.npy", "shard-000000.jsonl"}
    report = encode_to(folder, inputs, model=embedded)
    assert re.search(r"20 rows in .*: 12 encoded in .*; 8 were there", str(report)), report


@pytest.mark.parametrize("size", [1_000, 100_000, 2_000_000])
def test_a_model_that_is_saved(embedded: VLM2Vec, tmp_path: Path, size: int) -> None:
    with limit(size), pytest.raises(CheckpointError) as raised:
        embedded.save_pretrained(str(tmp_path / "model"))
    assert str(raised.value).startswith(f"{tmp_path / 'model'}: the disk has no room for it")
    assert str(raised.value).endswith("Free some space, and do it again.")
    assert not (tmp_path / "model").exists()


def test_a_model_that_was_saved_before_stays_as_it_was(tmp_path: Path) -> None:
    """Its files are replaced by those of the new one once all of them are there."""
    folder = tmp_path / "model"
    model = VLM2Vec(device="cpu")
    model.save_pretrained(str(folder))
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
    model.prompts["query"] = "another"
    with limit(100_000), pytest.raises(CheckpointError):
        model.save_pretrained(str(folder))
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_training_goes_on_when_there_is_room(tmp_path: Path) -> None:
    """The second checkpoint does not fit; the first is whole."""
    rows = [
        {"query": f"a {colour} circle", "document": colour} for colour in ("red", "blue", "green", "black")
    ]
    settings: dict[str, Any] = {"max_steps": 4, "save_steps": 2, "batch_size": 2, "show_progress_bar": False}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    class Full(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == 2:
                resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))

    try:
        with pytest.raises(CheckpointError, match="the disk has no room for it"):
            VLM2Vec(device="cpu").fit(rows, output_dir=tmp_path / "run", callbacks=[Full()], **settings)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with pytest.warns(VLM2VecWarning, match="so the run goes on from checkpoint-2") as caught:
        result = VLM2Vec(device="cpu").fit(rows, output_dir=tmp_path / "run", resume=True, **settings)
    cut = tmp_path / "run" / "checkpoint-4"
    assert any(f"{cut}: this checkpoint was not written to its end" in str(one.message) for one in caught)
    assert (result.resumed_at, result.steps) == (2, 4)


def test_a_file_of_features_names_its_folder(tmp_path: Path) -> None:
    file = TensorFile()
    with limit(1_000), pytest.raises(OSError, match=r"\[Errno 27\] File too large: '"):
        file.write(torch.ones(1000))
