"""A pool of worker processes gives each call its own rows, and a model comes back from it."""

from __future__ import annotations

import os
import queue
import sys
import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from vlm2vec import VLM2Vec, compat, errors
from vlm2vec.blocks.device import as_current
from vlm2vec.encoding import batch_forward
from vlm2vec.encoding.pool import in_pool


class Worker:
    """A process of a pool, as far as it is asked."""

    def __init__(self, *, is_closed: bool = False) -> None:
        self.closed = is_closed

    def is_alive(self) -> bool:
        if self.closed:
            raise ValueError("process object is closed")
        return True


class Model:
    """Counts what happens to it."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        self.stopped: list[Any] = []
        self.moved: list[torch.device] = []

    def stop_multi_process_pool(self, pool: dict[str, Any]) -> None:
        self.stopped.append(pool)

    def to(self, device: torch.device) -> None:
        self.moved.append(device)


def test_a_pool_does_one_call_at_a_time() -> None:
    model, pool = Model(), {"processes": [Worker()]}
    inside, order = threading.Event(), []

    def call() -> None:
        inside.set()
        with in_pool(model, pool):
            order.append("second")

    with in_pool(model, pool):
        beside = threading.Thread(target=call)
        beside.start()
        inside.wait()
        beside.join(0.05)
        order.append("first")
    beside.join()
    assert order == ["first", "second"]
    assert not model.stopped


def test_a_pool_goes_on_after_an_error_that_a_worker_reported() -> None:
    model, pool = Model(), {"processes": [Worker(), Worker()]}
    with pytest.raises(RuntimeError), in_pool(model, pool):
        raise RuntimeError("of a worker, when all results were there")
    with in_pool(model, pool):
        pass
    assert not model.stopped


class Results:
    """A queue whose results do not come."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def get(self, timeout: float) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("alive", "error", "raised"),
    [
        (True, KeyboardInterrupt(), KeyboardInterrupt),
        (True, OSError("Too many open files"), OSError),
        (False, queue.Empty(), RuntimeError),  # a worker died
    ],
)
def test_a_pool_that_holds_rows_of_a_broken_call_ends(
    alive: bool, error: BaseException, raised: type[BaseException]
) -> None:
    """A later call would take these rows for its own."""
    model, dead = Model(), SimpleNamespace(is_alive=lambda: alive, pid=1, exitcode=1)
    pool = {"processes": [Worker(), dead], "output": Results(error)}
    with pytest.raises(raised), in_pool(model, pool):
        VLM2Vec._get_worker_result(pool)
    assert model.stopped == [pool]
    assert pool["processes"] == [], "so that stopping it once more is no error"
    with pytest.raises(errors.InputError, match="has been stopped"), in_pool(model, pool):
        pass


def test_a_stopped_pool_is_refused() -> None:
    pool = {"processes": [Worker(is_closed=True)]}
    with pytest.raises(errors.InputError, match=r"has been stopped.*start_multi_process_pool"):
        VLM2Vec(device="cpu").encode(["a text"], pool=pool)


def test_a_model_is_on_its_device_again_when_a_pool_of_its_own_has_ended() -> None:
    """sentence-transformers takes it to the CPU for that, where later calls would be many times slower."""
    model = Model()
    model.device = torch.device("cuda", 1)
    with pytest.raises(KeyboardInterrupt), in_pool(model, None):
        model.device = torch.device("cpu")
        raise KeyboardInterrupt
    assert model.moved == [torch.device("cuda", 1)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"device": []}, "list of devices is empty"),
        ({"device": ["cpu", "gpu"]}, "there is no device 'gpu'"),
        ({"device": ["cpu"], "chunk_size": 0}, "chunk_size is int 0"),
        ({"device": ["cpu"], "chunk_size": 2.5}, "chunk_size is float 2.5"),
    ],
)
def test_devices_and_chunks_that_cannot_be_are_refused(
    embedded: VLM2Vec, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(errors.InputError, match=message):
        embedded.encode(["a text"], **settings)


def test_a_pool_on_a_device_that_is_not_there_is_refused(embedded: VLM2Vec) -> None:
    with pytest.raises(errors.InputError, match="there is no device cuda:7"):
        embedded.start_multi_process_pool(["cpu", "cuda:7"])


def test_a_worker_computes_with_its_own_gpu_as_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    entered: list[torch.device] = []

    class Current:
        def __init__(self, device: torch.device) -> None:
            self.device = device

        def __enter__(self) -> None:
            entered.append(self.device)

        def __exit__(self, *_: object) -> None:
            entered.append(torch.device("cpu"))

    def work(_: type, target_device: str, *arguments: Any) -> None:
        assert entered == [torch.device(target_device)], "before anything is computed"
        assert arguments == ("model", "inputs", "results")

    stock = compat.HookedSentenceTransformer.__mro__[1]
    monkeypatch.setattr(torch.cuda, "device", Current)
    monkeypatch.setattr(stock, "_multi_process_worker", classmethod(work))
    VLM2Vec._multi_process_worker("cuda:1", "model", "inputs", "results")
    assert len(entered) == 2


def test_a_batch_is_computed_with_the_gpu_of_the_model_as_the_current_one(
    embedded: VLM2Vec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Triton launches on the current device, which need not be that of the tensors."""
    entered: list[torch.device] = []

    def entering(device: torch.device) -> Any:
        entered.append(device)
        return as_current(device)

    monkeypatch.setattr(batch_forward, "as_current", entering)
    embedded.encode(["a text"])
    assert entered == [embedded.device]
    monkeypatch.setattr(torch.cuda, "device", lambda device: SimpleNamespace(index=device.index))
    assert as_current(torch.device("cuda", 1)).index == 1  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="processes are asked for in another way")
def test_workers_end_with_a_call_that_is_interrupted(
    embedded: VLM2Vec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    pool = embedded.start_multi_process_pool(["cpu"])
    worker = pool["processes"][0].pid
    monkeypatch.setattr(VLM2Vec, "_get_worker_result", staticmethod(interrupted))
    with pytest.raises(KeyboardInterrupt):
        embedded.encode(["a text", "another"], pool=pool, chunk_size=1)
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)
    embedded.stop_multi_process_pool(pool)  # as a user's `finally` does
    with pytest.raises(errors.InputError, match="has been stopped"):
        embedded.encode(["a text"], pool=pool)


@pytest.mark.slow
def test_two_threads_share_a_pool(embedded: VLM2Vec) -> None:
    texts = [[f"text {number} of {thread}" for number in range(30)] for thread in range(2)]
    found: dict[int, np.ndarray] = {}
    pool = embedded.start_multi_process_pool(["cpu", "cpu"])
    try:
        threads = [
            threading.Thread(
                target=lambda one=one: found.update(
                    {one: embedded.encode(texts[one], pool=pool, chunk_size=2)}
                )
            )
            for one in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        embedded.stop_multi_process_pool(pool)
    for one in range(2):
        np.testing.assert_allclose(found[one], embedded.encode(texts[one]), atol=5e-7)
