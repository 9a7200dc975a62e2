"""A model copied, shared by threads, or used in another process gives the same vectors, or says why not."""

from __future__ import annotations

import copy
import io
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.multiprocessing
from torch.utils.data import DataLoader, Dataset
from transformers import TrainerCallback

from vlm2vec import VLM2Vec
from vlm2vec.errors import InputError
from vlm2vec.training import LoRA
from vlm2vec.training.lora import add_adapter
from vlm2vec.world.samples import write_samples

TEXTS = ["a red circle", "a blue square", "a green ring"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Pictures, clips and PDFs."""
    folder = tmp_path_factory.mktemp("samples")
    write_samples(folder)
    return sorted(path for path in folder.iterdir() if path.is_file())


def pickled(model: VLM2Vec) -> VLM2Vec:
    data = pickle.dumps(model)
    weights = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    assert len(data) < 1.3 * weights  # the rest is the tokenizer
    loaded: VLM2Vec = pickle.loads(data)  # noqa: S301  # its own
    return loaded


def saved_by_torch(model: VLM2Vec) -> VLM2Vec:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    loaded: VLM2Vec = torch.load(file, weights_only=False)
    return loaded


@pytest.mark.parametrize("adapter", [False, True], ids=["all weights", "adapter"])
@pytest.mark.parametrize("copied", [pickled, copy.deepcopy, saved_by_torch])
def test_a_copy_gives_the_same_vectors_and_is_one_of_its_own(
    copied: Callable[[VLM2Vec], VLM2Vec], adapter: bool, files: list[Path]
) -> None:
    model = VLM2Vec(device="cpu", truncate_dim=64, allow_files=[files[0].parent])
    if adapter:
        add_adapter(model[0].model, LoRA())
    vectors = model.encode(files)
    model.budgets[model.device].cost = 1234
    model.engine_settings = replace(model.engine_settings, deduplicate=False)
    other = copied(model)
    assert type(other) is VLM2Vec
    assert other.engine_settings == model.engine_settings
    assert other.budgets[other.device].cost == 1234
    assert (other.profile, other[0].limits, other[0].allow_files) == (
        model.profile,
        model[0].limits,
        model[0].allow_files,
    )
    np.testing.assert_allclose(other.encode(files), vectors, atol=5e-7)
    other.budgets[other.device].cost = 1
    with torch.no_grad():
        for weight in other.parameters():
            weight.zero_()
    assert model.budgets[model.device].cost == 1234
    np.testing.assert_allclose(model.encode(files), vectors, atol=5e-7)


class Paused(TrainerCallback):  # type: ignore[misc]
    """Training that stays before its first update until a test lets it go on."""

    def __init__(self) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()

    def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
        self.reached.set()
        assert self.go_on.wait(60)


def test_a_model_that_another_thread_trains_is_refused(embedded: VLM2Vec) -> None:
    model, paused = copy.deepcopy(embedded), Paused()
    rows = [{"query": f"word {number}", "document": text} for number, text in enumerate(TEXTS)]
    settings: dict[str, Any] = {"max_steps": 1, "show_progress_bar": False}
    with ThreadPoolExecutor(1) as threads:
        training = threads.submit(model.fit, rows, callbacks=[paused], **settings)
        assert paused.reached.wait(60)
        try:
            for encode in (model.encode, model.encode_query, lambda texts: list(model.encode_stream(texts))):
                with pytest.raises(InputError, match=r"trained by another thread.* copy.deepcopy"):
                    encode(TEXTS)
            with pytest.raises(InputError, match="trained already"):
                model.fit(rows, **settings)
            assert model.training  # as fit has set it
        finally:
            paused.go_on.set()
        assert training.result().steps == 1
    assert np.isfinite(model.encode(TEXTS)).all()


class Vectors(Dataset[np.ndarray]):
    """A dataset whose items are vectors of files."""

    def __init__(self, model: VLM2Vec, files: Sequence[Path]) -> None:
        self.model, self.files = model, files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> np.ndarray:
        vector: np.ndarray = self.model.encode(self.files[index])
        return vector


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not fork by default")
def test_workers_of_a_data_loader_encode_and_preprocess(embedded: VLM2Vec, files: list[Path]) -> None:
    expected = embedded.encode(files)
    by_workers = DataLoader(Vectors(embedded, files), batch_size=4, num_workers=2)
    np.testing.assert_allclose(torch.cat(list(by_workers)), expected, atol=5e-7)
    features = DataLoader(files, batch_size=4, num_workers=2, collate_fn=embedded.preprocess)
    with torch.no_grad():
        rows = torch.cat([embedded(batch)["sentence_embedding"] for batch in features])
    np.testing.assert_allclose(rows, expected, atol=1e-5)


def _encode_and_clear(model: VLM2Vec, files: list[Path], results: Any) -> None:
    results.put(model.encode(files))
    with torch.no_grad():
        next(model.parameters()).zero_()


@pytest.mark.slow
@pytest.mark.parametrize("way", ["spawn", "forkserver"])
def test_a_process_that_is_given_a_model_encodes(way: str, files: list[Path]) -> None:
    if way not in torch.multiprocessing.get_all_start_methods():
        pytest.skip(f"this system has no {way}")
    model = VLM2Vec(device="cpu").share_memory()
    expected = model.encode(files)
    context = torch.multiprocessing.get_context(way)
    results = context.Queue()
    process = context.Process(target=_encode_and_clear, args=(model, files, results))
    process.start()
    np.testing.assert_allclose(results.get(timeout=120), expected, atol=5e-7)
    process.join(60)
    assert process.exitcode == 0
    assert not next(model.parameters()).any()  # the weights are not copied


def test_eight_threads_encode_files_of_all_kinds(embedded: VLM2Vec, files: list[Path]) -> None:
    alone = embedded.encode(files)
    orders = [np.roll(np.arange(len(files)), number) for number in range(8)]
    with ThreadPoolExecutor(8) as threads:
        rows = list(threads.map(lambda order: embedded.encode([files[i] for i in order]), orders))
    for order, vectors in zip(orders, rows, strict=True):
        np.testing.assert_allclose(vectors, alone[order], atol=5e-7)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not fork by default")
def test_a_forked_process_encodes_what_its_parent_did(files: list[Path]) -> None:
    """By several threads of torch, with readers of PDFs, and threads for asyncio and beside it."""
    code = (
        "import asyncio, multiprocessing, os, sys, threading\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from pathlib import Path\n"
        "import numpy as np, torch\n"
        "from vlm2vec import VLM2Vec\n"
        "torch.set_num_threads(4)\n"
        "files = [Path(name) for name in sys.argv[1:]]\n"
        "model = VLM2Vec(device='cpu')\n"
        "expected = asyncio.run(model.aencode(files))\n"
        "over = threading.Event()\n"
        "def check(vectors):\n"
        "    np.testing.assert_allclose(vectors, expected, atol=5e-7)\n"
        "    return os.getpid()\n"
        "def encode_on():\n"
        "    while not over.is_set(): check(model.encode(files))\n"
        "def twice(number):\n"
        "    check(model.encode(files))\n"
        "    return check(asyncio.run(model.aencode(files)))\n"
        "context = multiprocessing.get_context('fork')\n"
        "beside = ThreadPoolExecutor(1).submit(encode_on)\n"
        "try:\n"
        "    with context.Pool(2) as pool:\n"
        "        assert os.getpid() not in pool.map_async(twice, range(4)).get(120)\n"
        "finally:\n"
        "    over.set()\n"
        "    beside.result()\n"
        "check(model.encode(files))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, files)],
        check=True,
        timeout=240,
        capture_output=True,
        text=True,
    )
    assert done.stderr.count("This process was forked") == 2


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_pool_whose_worker_was_killed_gives_every_row_or_says_so(embedded: VLM2Vec) -> None:
    texts = [f"word {number}" for number in range(30)]
    pool = embedded.start_multi_process_pool(["cpu", "cpu"])
    try:
        worker = pool["processes"][0]
        os.kill(worker.pid, signal.SIGKILL)
        worker.join()
        try:  # the other worker may take all of it before the loss is seen
            rows = embedded.encode(texts, pool=pool, chunk_size=5)
        except RuntimeError as error:
            assert "died unexpectedly" in str(error)
        else:
            np.testing.assert_allclose(rows, embedded.encode(texts), atol=5e-7)
    finally:
        embedded.stop_multi_process_pool(pool)
