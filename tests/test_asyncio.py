"""`aencode` gives the vectors of `encode`, lets the event loop go on, and stops with the task that waits."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlm2vec import VLM2Vec
from vlm2vec.encoding.batch_forward import BatchForward
from vlm2vec.encoding.prepare import Prepared
from vlm2vec.errors import InputError
from vlm2vec.world.samples import write_samples

TEXTS = ["a red circle", "a blue square", "a green ring"]


class Gate:
    """Before the forward pass: open, or closed until a test opens it."""

    def __init__(self) -> None:
        self.open, self.reached = threading.Event(), threading.Event()
        self.open.set()
        self.threads: list[int] = []
        self.at_once = self.most_at_once = 0


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate()
    original = BatchForward.__call__

    def forward(self: BatchForward, batch: Sequence[Prepared]) -> dict[str, Any]:
        gate.threads.append(threading.get_ident())
        gate.at_once += 1
        gate.most_at_once = max(gate.most_at_once, gate.at_once)
        gate.reached.set()
        assert gate.open.wait(20)
        started = original(self, batch)
        gate.at_once -= 1
        return started

    monkeypatch.setattr(BatchForward, "__call__", forward)
    yield gate
    gate.open.set()


async def reached(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, 20)


async def cancelled(task: asyncio.Task[Any]) -> None:
    """Cancel a task, and see that it ends of that, whatever its thread still does."""
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_vectors_are_those_of_encode(embedded: VLM2Vec, tmp_path: Path) -> None:
    write_samples(tmp_path)
    files = sorted(path for path in tmp_path.iterdir() if path.is_file())

    async def main() -> list[np.ndarray]:
        return [
            await embedded.aencode(files),
            await embedded.aencode("a red circle"),
            await embedded.aencode_query(TEXTS, instruction="Find it.", truncate_dim=16),
            await embedded.aencode_document((text for text in TEXTS), prompt="Say it."),
        ]

    expected = [
        embedded.encode(files),
        embedded.encode("a red circle"),
        embedded.encode_query(TEXTS, instruction="Find it.", truncate_dim=16),
        embedded.encode_document(TEXTS, prompt="Say it."),
    ]
    for found, right in zip(asyncio.run(main()), expected, strict=True):
        assert found.shape == right.shape
        np.testing.assert_allclose(found, right, atol=5e-7)


def test_errors_are_those_of_encode(embedded: VLM2Vec) -> None:
    with pytest.raises(InputError, match=r"input 1 \(None\): "):
        asyncio.run(embedded.aencode(["a text", None]))
    failed: list[int] = []
    rows = asyncio.run(embedded.aencode(["a text", None], on_error=lambda index, error: failed.append(index)))
    assert failed == [1]
    assert np.isnan(rows).any(axis=1).tolist() == [False, True]


def test_the_event_loop_goes_on_meanwhile(embedded: VLM2Vec, gate: Gate) -> None:
    async def main() -> np.ndarray:
        gate.open.clear()
        task = asyncio.create_task(embedded.aencode(TEXTS))
        await reached(gate.reached)
        gate.open.set()  # a loop that waits for the forward pass would never come here
        return await task

    assert asyncio.run(main()).shape == (3, embedded.full_width)


def test_many_calls_take_one_thread_and_one_forward_pass_at_a_time(embedded: VLM2Vec, gate: Gate) -> None:
    texts = [f"query {number}" for number in range(64)]

    async def main() -> list[np.ndarray]:
        return await asyncio.gather(*(embedded.aencode(text) for text in texts))

    rows = asyncio.run(main())
    assert (len(gate.threads), len(set(gate.threads)), gate.most_at_once) == (64, 1, 1)
    np.testing.assert_allclose(np.stack(rows), embedded.encode(texts), atol=5e-7)


def test_a_cancelled_call_stops_before_its_next_forward_pass(embedded: VLM2Vec, gate: Gate) -> None:
    async def main() -> np.ndarray:
        gate.open.clear()
        texts = [f"text {number}" for number in range(50)]
        task = asyncio.create_task(embedded.aencode(texts, batch_size=1))
        await reached(gate.reached)
        await cancelled(task)
        gate.open.set()
        return await embedded.aencode("a red circle")

    row = asyncio.run(main())
    assert len(gate.threads) == 2
    np.testing.assert_allclose(row, embedded.encode("a red circle"), atol=5e-7)


def test_a_call_that_waits_for_another_is_dropped_when_it_is_cancelled(embedded: VLM2Vec, gate: Gate) -> None:
    read: list[str] = []

    async def main() -> None:
        gate.open.clear()
        first = asyncio.create_task(embedded.aencode(TEXTS))
        await reached(gate.reached)
        second = asyncio.create_task(embedded.aencode(read.append(text) or text for text in TEXTS))
        await asyncio.sleep(0)
        await cancelled(second)
        gate.open.set()
        assert (await first).shape == (3, embedded.full_width)
        await embedded.aencode("after both")

    asyncio.run(main())
    assert read == []


def test_reading_inputs_stops_when_it_is_cancelled(embedded: VLM2Vec) -> None:
    begun = threading.Event()

    def endless() -> Iterator[str]:
        while True:
            begun.set()
            yield "a text"

    async def main() -> None:
        task = asyncio.create_task(embedded.aencode(endless()))
        await reached(begun)
        await cancelled(task)
        assert (await embedded.aencode("after it")).shape == (embedded.full_width,)

    asyncio.run(main())


def test_loops_of_several_threads_share_a_model(embedded: VLM2Vec) -> None:
    expected = embedded.encode(TEXTS)
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: asyncio.run(embedded.aencode(TEXTS)), range(4)))
    for vectors in found:
        np.testing.assert_allclose(vectors, expected, atol=5e-7)


def test_context_variables_are_those_of_the_task(embedded: VLM2Vec) -> None:
    name = contextvars.ContextVar[str]("name")
    seen: list[str] = []

    async def main() -> None:
        name.set("of the task")
        await embedded.aencode(["a text", None], on_error=lambda index, error: seen.append(name.get()))

    asyncio.run(main())
    assert seen == ["of the task"]


@pytest.mark.parametrize("way", [{"device": ["cpu", "cpu"]}, {"pool": {"processes": []}}])
def test_work_in_other_processes_is_refused(way: dict[str, Any], embedded: VLM2Vec) -> None:
    with pytest.raises(InputError, match=r"cannot be called off. Leave out pool= .* asyncio.to_thread"):
        asyncio.run(embedded.aencode(TEXTS, **way))


def test_the_thread_ends_with_the_model() -> None:
    model = VLM2Vec(device="cpu")
    seen: list[threading.Thread] = []
    asyncio.run(model.aencode([None], on_error=lambda index, error: seen.append(threading.current_thread())))
    gone = weakref.ref(model)
    del model
    for _ in range(200):  # the thread may let go of the model a moment after it has answered
        gc.collect()
        seen[0].join(0.1)
        if not seen[0].is_alive():
            break
    assert (seen[0].is_alive(), gone()) == (False, None)
