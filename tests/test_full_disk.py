"""A disk without room: what was being written is named, nothing is left half written, and our error says why.

A limit of the size of a file stands for it, in a process of its own: the system then writes as much as fits.
"""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

resource = pytest.importorskip("resource", reason="this system has no limits")

_LIMIT = """
import resource, signal, sys
from pathlib import Path
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
folder = Path(sys.argv[1])
def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
"""


def run(code: str, folder: Path) -> str:
    """What a script prints to standard error."""
    script = _LIMIT + textwrap.dedent(code)
    command = [sys.executable, "-c", script, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


def test_vectors_of_the_benchmark(tmp_path: Path) -> None:
    said = run(
        """
        import numpy as np
        from vlm2vec.mmeb.store import EmbeddingStore
        store = EmbeddingStore(folder)
        limit(10_000)
        store.add([str(i) for i in range(100)], list(np.ones((100, 64), np.float32)))
        """,
        tmp_path,
    )
    assert "OSError: [Errno 27] File too large: " in said
    assert str(tmp_path) in said.splitlines()[-1]
    assert "requested" not in said
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_commands_name_the_file(tmp_path: Path) -> None:
    said = run(
        """
        from vlm2vec.cli import main
        (folder / "a.txt").write_text("a red circle")
        limit(1_000)
        main(["encode", str(folder / "a.txt"), "-o", str(folder / "vectors.npz")])
        """,
        tmp_path,
    )
    assert said.splitlines()[-1] == f"error: {tmp_path / 'vectors.npz'}: File too large"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    said = run(
        """
        from vlm2vec.cli import main
        limit(10_000)
        main(["mmeb", "run", "-t", "mini-I-CLS", "-o", str(folder / "run")])
        """,
        tmp_path,
    )
    assert said.splitlines()[-1].startswith("error: ")
    assert said.splitlines()[-1].endswith(": File too large")


def test_a_job_goes_on_when_there_is_room(tmp_path: Path) -> None:
    """The second shard does not fit: it is named, the first one is whole, and nothing is encoded twice."""
    code = """
        from vlm2vec import VLM2Vec, encode_to
        model = VLM2Vec(device="cpu")
        inputs = [f"a red circle and {number} squares" for number in range(20)]
        """
    said = run(
        code
        + """
        def until_full():
            for number, words in enumerate(inputs):
                if number == 10:
                    limit(5_000)
                yield words
        encode_to(folder / "vectors", until_full(), model=model, rows_per_shard=8)
        """,
        tmp_path,
    )
    shard = tmp_path / "vectors" / "shard-000001.npy"
    assert said.splitlines()[-1].startswith(f"OSError: [Errno 27] File too large: '{shard}'")
    there = {path.name for path in shard.parent.iterdir() if path.name[0] != "."}
    assert there == {"manifest.json", "shard-000000.npy", "shard-000000.jsonl"}
    resumed = run(
        code
        + """
        print(encode_to(folder / "vectors", inputs, model=model), file=sys.stderr)
        """,
        tmp_path,
    )
    assert re.search(r"20 rows in .*: 12 encoded in .*; 8 were there", resumed), resumed


@pytest.mark.parametrize("size", [1_000, 100_000, 2_000_000])
def test_a_model_that_is_saved(tmp_path: Path, size: int) -> None:
    said = run(
        f"""
        from vlm2vec import VLM2Vec
        model = VLM2Vec(device="cpu")
        limit({size})
        model.save_pretrained(str(folder / "model"))
        """,
        tmp_path,
    )
    last = said.splitlines()[-1]
    assert last.startswith(
        f"vlm2vec.errors.CheckpointError: {tmp_path / 'model'}: the disk has no room for it"
    )
    assert last.endswith("Free some space, and do it again.")


@pytest.mark.slow
def test_training_goes_on_when_there_is_room(tmp_path: Path) -> None:
    """The second checkpoint does not fit; the first is whole."""
    code = """
        from vlm2vec import VLM2Vec
        rows = [{"query": f"a {c} circle", "document": c} for c in ("red", "blue", "green", "black")]
        settings = {"max_steps": 4, "save_steps": 2, "batch_size": 2, "show_progress_bar": False}
        model = VLM2Vec(device="cpu")
        """
    said = run(
        code
        + """
        from transformers import TrainerCallback
        class Full(TrainerCallback):
            def on_step_begin(self, args, state, control, **_):
                if state.global_step == 2:
                    limit(100_000)
        model.fit(rows, output_dir=folder / "run", callbacks=[Full()], **settings)
        """,
        tmp_path,
    )
    assert "vlm2vec.errors.CheckpointError: " in said.splitlines()[-1]
    assert "the disk has no room for it" in said.splitlines()[-1]
    resumed = run(
        code
        + """
        result = model.fit(rows, output_dir=folder / "run", resume=True, **settings)
        assert (result.resumed_at, result.steps) == (2, 4)
        print("resumed", file=sys.stderr)
        """,
        tmp_path,
    )
    assert resumed.splitlines()[-1] == "resumed", resumed


def test_a_file_of_features_names_its_folder(tmp_path: Path) -> None:
    said = run(
        """
        import torch
        from vlm2vec.training.loss.tensor_file import TensorFile
        file = TensorFile()
        limit(1_000)
        file.write(torch.ones(1000))
        """,
        tmp_path,
    )
    assert "OSError: [Errno 27] File too large: '" in said
