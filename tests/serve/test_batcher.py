"""`Batcher`: vectors as `encode` gives them, whoever asks at the same time, and when it is too much."""

from __future__ import annotations

import asyncio
import gc
import io
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from vlm2vec import VLM2Vec
from vlm2vec.encoding.batch_forward import BatchForward
from vlm2vec.encoding.engine import Budget
from vlm2vec.encoding.plan import Planned, Planner
from vlm2vec.encoding.prepare import Prepared
from vlm2vec.errors import ContextLengthError, InputError, MediaError, NonFiniteError, VLM2VecError
from vlm2vec.inputs import parse_input
from vlm2vec.serve.asked import Asked, Embedded
from vlm2vec.serve.batcher import Batcher
from vlm2vec.serve.errors import QueueFullError, StoppedError
from vlm2vec.serve.settings import ServeSettings

LONG = "a red circle and a blue square " * 30


def file_of(colour: str, kind: str, pages: int = 1) -> bytes:
    file = io.BytesIO()
    pictures = [PIL.Image.new("RGB", (60 + 28 * page, 56), colour) for page in range(pages)]
    more = {"save_all": True, "append_images": pictures[1:]} if kind == "PDF" else {}
    pictures[0].save(file, kind, **more)
    return file.getvalue()


TEXTS = [
    f"a {colour} {shape}" for colour in ("red", "blue", "green") for shape in ("circle", "cross", "ring")
]
MIXED: list[Any] = [
    *TEXTS,
    *({"image": file_of(colour, "PNG")} for colour in ("red", "blue")),
    {"pdf": file_of("green", "PDF", pages=2)},
    {"text": "what is this?", "image": file_of("yellow", "PNG")},
    [{"role": "user", "content": [{"type": "text", "text": "a message"}]}],
]


class Observer:
    def __init__(self) -> None:
        self.groups: list[int] = []
        self.tokens = 0
        self.waits: list[int] = []

    def batch(self, *, inputs: int, tokens: int, seconds: float) -> None:
        assert seconds > 0
        self.groups.append(inputs)
        self.tokens += tokens

    def waiting(self, inputs: int) -> None:
        self.waits.append(inputs)


class Gate:
    """Before the forward pass: open, or closed until a test opens it; `work` may take its place."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.reached = threading.Event()
        self.batches: list[int] = []
        self.open.set()

    async def close(self, batcher: Batcher) -> asyncio.Task[Embedded]:
        """Close it behind one input, which the model has got and does not compute."""
        self.reached.clear()
        self.open.clear()
        task = asyncio.create_task(batcher.embed(Asked(["in front"])))
        await asyncio.to_thread(self.reached.wait, 20)
        return task


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate()
    original = BatchForward.__call__

    def forward(self: BatchForward, batch: Sequence[Prepared]) -> dict[str, Any]:
        gate.reached.set()
        assert gate.open.wait(20)
        gate.batches.append(len(batch))
        started = original(self, batch)
        for index, prepared in enumerate(batch):
            if "poison" in prepared.item.describe():
                started["vectors"] = started["vectors"].clone()
                started["vectors"][index] = float("nan")
            if "deadly" in prepared.item.describe():
                raise ZeroDivisionError
        return started

    monkeypatch.setattr(BatchForward, "__call__", forward)
    yield gate
    gate.open.set()


@pytest.fixture
def start(embedded: VLM2Vec) -> Iterator[Callable[..., Batcher]]:
    """Starts batchers, and stops them in the end."""
    started: list[Batcher] = []

    def start(observer: Observer | None = None, *, model: VLM2Vec = embedded, **settings: Any) -> Batcher:
        started.append(Batcher(model, ServeSettings(**settings), observer))
        return started[-1]

    yield start
    for batcher in started:
        batcher.stop(10)


async def settled(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds, which other threads bring about."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.002)


async def gathered(tasks: Sequence[Coroutine[Any, Any, Embedded]]) -> list[Embedded]:
    return await asyncio.gather(*tasks)


def assert_equal(found: Embedded, expected: np.ndarray) -> None:
    assert found.vectors.dtype == np.float32
    np.testing.assert_allclose(found.vectors, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("overlap", [False, True], ids=["on a CPU", "as on a GPU"])
def test_vectors_of_many_tasks_are_those_of_encode(
    overlap: bool, monkeypatch: pytest.MonkeyPatch, embedded: VLM2Vec, start: Callable[..., Batcher]
) -> None:
    engine = embedded.engine
    monkeypatch.setattr(embedded, "engine", lambda **form: replace(engine(**form), overlap=overlap))
    observer = Observer()
    batcher = start(observer)
    requests = [[item] for item in MIXED] + [MIXED, list(reversed(MIXED)), TEXTS[:3], MIXED[9:]]
    found = asyncio.run(gathered([batcher.embed(Asked(inputs)) for inputs in requests]))
    expected = embedded.encode(MIXED, normalize_embeddings=True)
    places = {id(item): index for index, item in enumerate(MIXED)}
    for inputs, embedded_inputs in zip(requests, found, strict=True):
        assert_equal(embedded_inputs, expected[[places[id(item)] for item in inputs]])
    assert len(observer.groups) < len(requests)
    assert sum(observer.groups) == sum(len(inputs) for inputs in requests)
    assert observer.tokens == sum(sum(one.tokens) for one in found)
    assert observer.waits[-1] == batcher.waiting == 0


def test_tokens_are_those_that_the_network_reads(embedded: VLM2Vec, start: Callable[..., Batcher]) -> None:
    found = asyncio.run(start().embed(Asked(MIXED)))
    preparer = embedded[0].preparer
    assert found.tokens == [len(preparer(parse_input(item)).token_ids) for item in MIXED]


def test_a_long_instruction_is_not_repeated_for_many_inputs_at_once(
    start: Callable[..., Batcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, sizes = Planner.plan, list[int]()

    def noted(self: Planner, numbered: Sequence[Any], **how: Any) -> Any:
        sizes.append(len(numbered))
        return plan(self, numbered, **how)

    monkeypatch.setattr(Planner, "plan", noted)
    batcher = start()
    with pytest.raises(ContextLengthError):
        asyncio.run(batcher.embed(Asked(["a"] * 100, instruction="Find it. " * 2**19)))
    assert set(sizes) == {1}
    sizes.clear()
    asyncio.run(batcher.embed(Asked(["a"] * 100, instruction="Find it.")))
    assert sizes == [64, 36]


def test_each_request_has_its_own_instruction_role_and_dimensions(
    embedded: VLM2Vec, start: Callable[..., Batcher]
) -> None:
    own = {"text": "a dog", "instruction": "Find its owner."}
    inputs = ["a cat", own]
    asked = [
        Asked(inputs),
        Asked(inputs, instruction="Find a picture of this."),
        Asked(inputs, instruction=""),
        Asked(inputs, role="query"),
        Asked(inputs, role="document"),
        Asked(inputs, dimensions=16),
        Asked(inputs, role="query", instruction="Find it.", dimensions=8),
        Asked(inputs, dimensions=embedded.full_width),
    ]
    unit = {"normalize_embeddings": True}
    expected = [
        embedded.encode(inputs, **unit),
        embedded.encode(inputs, instruction="Find a picture of this.", **unit),
        embedded.encode(inputs, instruction="", **unit),
        embedded.encode_query(inputs, **unit),
        embedded.encode_document(inputs, **unit),
        embedded.encode(inputs, truncate_dim=16, **unit),
        embedded.encode_query(inputs, instruction="Find it.", truncate_dim=8, **unit),
        embedded.encode(inputs, **unit),
    ]
    batcher = start()
    found = asyncio.run(gathered([batcher.embed(one) for one in asked]))
    for one, vectors in zip(found, expected, strict=True):
        assert_equal(one, vectors)
        np.testing.assert_allclose(np.linalg.norm(one.vectors, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("dimensions", [0, -1, 1_000_000, "8", True])
def test_other_dimensions_are_an_error(dimensions: Any, start: Callable[..., Batcher]) -> None:
    with pytest.raises(InputError, match="dimensions"):
        asyncio.run(start().embed(Asked(["a"], dimensions=dimensions)))


def test_a_text_is_shortened_for_the_request_that_says_so(start: Callable[..., Batcher]) -> None:
    async def ask() -> list[Any]:
        asked = (Asked(["a", LONG], truncate=truncate) for truncate in (True, False))
        return await asyncio.gather(*(batcher.embed(one) for one in asked), return_exceptions=True)

    model = VLM2Vec(device="cpu")
    model.max_seq_length = 100
    batcher = start(model=model)
    shortened, error = asyncio.run(ask())
    assert_equal(shortened, model.encode(["a", LONG], truncate=True, normalize_embeddings=True))
    assert error.index == 1
    assert "the model's context holds" in str(error)


def test_no_inputs_are_no_vectors(embedded: VLM2Vec, start: Callable[..., Batcher]) -> None:
    found = asyncio.run(start().embed(Asked([], dimensions=16)))
    assert (found.vectors.shape, found.tokens) == ((0, 16), [])


def test_a_bad_input_fails_its_request_alone(
    gate: Gate, embedded: VLM2Vec, start: Callable[..., Batcher], tmp_path: Path
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(file_of("red", "PNG"))
    noise = np.random.default_rng(0).integers(0, 255, (90, 90, 3), dtype=np.uint8)
    file = io.BytesIO()
    PIL.Image.fromarray(noise).save(file, "PNG")
    bad = [  # the last two are found only when they are decoded, and computed
        *(("  ", InputError), ({"image": str(path)}, InputError), (path, InputError)),
        *(({"image": "https://example.org/a"}, InputError), ({"imgae": "a"}, InputError), (None, InputError)),
        *(({"image": file.getvalue()[:2000]}, MediaError), ("poison", NonFiniteError)),
    ]

    async def ask() -> list[Any]:
        front = await gate.close(batcher)
        tasks = [asyncio.create_task(batcher.embed(Asked([*TEXTS, one, "b"]))) for one, _ in bad]
        tasks += [asyncio.create_task(batcher.embed(Asked(TEXTS)))]
        gate.open.set()
        await front
        return await asyncio.gather(*tasks, return_exceptions=True)

    batcher = start()
    *errors, good = asyncio.run(ask())
    assert_equal(good, embedded.encode(TEXTS, normalize_embeddings=True))
    for (_, kind), error in zip(bad, errors, strict=True):
        assert type(error) is kind
        assert error.index == len(TEXTS)
    assert batcher.is_alive


def test_equal_inputs_are_computed_once(gate: Gate, embedded: VLM2Vec, start: Callable[..., Batcher]) -> None:
    async def ask() -> list[Embedded]:
        front = await gate.close(batcher)
        asked = [Asked(["a cat", "a dog"]), Asked(["a dog"], dimensions=8), Asked(["a cat"], truncate=True)]
        tasks = [asyncio.create_task(batcher.embed(one)) for one in asked for _ in range(4)]
        await settled(lambda: batcher.waiting == 16)
        await asyncio.sleep(0.1)  # what waits is planned too
        gate.open.set()
        await front
        return await asyncio.gather(*tasks)

    batcher = start()
    found = asyncio.run(ask())
    assert gate.batches == [1, 3]  # "a cat" once more where it may be shortened
    assert_equal(found[3], embedded.encode(["a cat", "a dog"], normalize_embeddings=True))
    assert_equal(found[-1], embedded.encode(["a cat"], normalize_embeddings=True))


def test_a_large_request_does_not_keep_a_small_one_waiting(start: Callable[..., Batcher]) -> None:
    async def ask() -> tuple[Embedded, bool]:
        large = asyncio.create_task(batcher.embed(Asked([f"number {index}" for index in range(400)])))
        await settled(lambda: 0 < batcher.waiting < 400)
        small = await batcher.embed(Asked(["a cat"]))
        was_first = not large.done()
        await large
        return small, was_first

    model = VLM2Vec(device="cpu")
    model.budgets[model.device] = Budget(200)
    observer = Observer()
    batcher = start(observer, model=model)
    small, was_first = asyncio.run(ask())
    assert was_first
    assert len(small.vectors) == 1
    assert max(observer.groups) < 40  # what one forward pass takes


def test_a_full_queue_says_when_to_come_again(gate: Gate, start: Callable[..., Batcher]) -> None:
    async def ask() -> None:
        await batcher.embed(Asked(TEXTS))  # more than may wait, and nothing does
        front = await gate.close(batcher)
        third = asyncio.create_task(batcher.embed(Asked(["a", "b", "c"])))
        await settled(lambda: batcher.waiting == 3)
        with pytest.raises(QueueFullError, match="3 inputs wait") as error:
            await batcher.embed(Asked(["d", "e"]))
        assert 1 <= error.value.retry_after <= 60
        last = asyncio.create_task(batcher.embed(Asked(["d"])))
        await settled(lambda: batcher.waiting == 4)
        gate.open.set()
        await asyncio.gather(front, third, last)
        assert batcher.waiting == 0

    batcher = start(max_waiting=4)
    asyncio.run(ask())


def test_bytes_of_what_waits_are_bounded(gate: Gate, start: Callable[..., Batcher]) -> None:
    async def ask() -> None:
        front = await gate.close(batcher)
        waiting = asyncio.create_task(batcher.embed(Asked([{"text": "a cat " * 150}])))
        await settled(lambda: batcher.waiting == 1)
        for much in ([{"text": "b" * 2500}], ["b"] * 100, [["b"] * 100], [{"b" * 2500: 1}]):
            with pytest.raises(QueueFullError):
                await batcher.embed(Asked(much))
        gate.open.set()
        await asyncio.gather(front, waiting)
        await batcher.embed(Asked([{"text": "a cat " * 600}], truncate=True))

    batcher = start(max_waiting_bytes=3000)
    asyncio.run(ask())


def test_what_was_not_begun_is_dropped_when_nobody_waits(gate: Gate, start: Callable[..., Batcher]) -> None:
    async def ask() -> None:
        front = await gate.close(batcher)
        task = asyncio.create_task(batcher.embed(Asked(TEXTS)))
        await settled(lambda: batcher.waiting == len(TEXTS))
        task.cancel()
        front.cancel()  # which was begun
        await asyncio.gather(task, front, return_exceptions=True)
        assert batcher.waiting == 0
        gate.open.set()
        assert len((await batcher.embed(Asked(["a", "b"]))).vectors) == 2

    batcher = start()
    asyncio.run(ask())
    assert gate.batches == [1, 2]


def test_a_stop_finishes_what_waits_and_takes_nothing_more(gate: Gate, start: Callable[..., Batcher]) -> None:
    async def ask() -> None:
        front = await gate.close(batcher)
        waiting = asyncio.create_task(batcher.embed(Asked(TEXTS)))
        await settled(lambda: batcher.waiting == len(TEXTS))
        stop = asyncio.create_task(asyncio.to_thread(batcher.stop, 20))
        await asyncio.sleep(0.05)
        with pytest.raises(StoppedError, match="stopping"):
            await batcher.embed(Asked(["too late"]))
        gate.open.set()
        assert len((await waiting).vectors) == len(TEXTS)
        assert len((await front).vectors) == 1
        await stop
        assert not batcher.is_alive
        with pytest.raises(StoppedError):
            await batcher.embed(Asked(["too late"]))

    batcher = start()
    asyncio.run(ask())


def test_what_waits_when_the_time_to_stop_is_over_gets_an_error(
    gate: Gate, start: Callable[..., Batcher]
) -> None:
    async def ask() -> list[Any]:
        tasks = [await gate.close(batcher), asyncio.create_task(batcher.embed(Asked(TEXTS)))]
        await settled(lambda: batcher.waiting == len(TEXTS))
        await asyncio.to_thread(batcher.stop, 0.05)
        errors = await asyncio.gather(*tasks, return_exceptions=True)
        gate.open.set()
        return errors

    batcher = start()
    assert [type(error) for error in asyncio.run(ask())] == [StoppedError, StoppedError]


def test_an_unforeseen_error_of_computing_ends_the_request_of_the_input_that_it_comes_of(
    gate: Gate, embedded: VLM2Vec, start: Callable[..., Batcher], caplog: pytest.LogCaptureFixture
) -> None:
    async def ask() -> list[Any]:
        front = await gate.close(batcher)
        asked = [Asked(TEXTS), Asked(["a cat", "deadly"]), Asked(["a dog"])]
        tasks = [asyncio.create_task(batcher.embed(one)) for one in asked]
        await settled(lambda: batcher.waiting == len(TEXTS) + 3)
        await asyncio.sleep(0.1)
        gate.open.set()
        await front
        found = await asyncio.gather(*tasks, return_exceptions=True)
        return [*found, await batcher.embed(Asked(["after"]))]

    batcher = start()
    first, error, last, after = asyncio.run(ask())
    assert type(error) is ZeroDivisionError
    for found, texts in ((first, TEXTS), (last, ["a dog"]), (after, ["after"])):
        assert_equal(found, embedded.encode(texts, normalize_embeddings=True))
    assert "deadly" not in caplog.text
    assert batcher.is_alive


def test_nobody_waits_for_a_model_that_computes_nothing_any_more(
    monkeypatch: pytest.MonkeyPatch,
    gate: Gate,
    start: Callable[..., Batcher],
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(*_: Any) -> Any:
        raise ZeroDivisionError

    async def ask() -> list[Any]:
        tasks = [await gate.close(batcher)]
        tasks += [asyncio.create_task(batcher.embed(Asked([text]))) for text in TEXTS]
        await settled(lambda: batcher.waiting == len(TEXTS))
        monkeypatch.setattr(BatchForward, "__call__", broken)
        gate.open.set()
        found = await asyncio.gather(*tasks[1:], return_exceptions=True)
        with pytest.raises(StoppedError, match="ZeroDivisionError"):
            await batcher.embed(Asked(["after"]))
        return found

    batcher = start()
    errors = asyncio.run(ask())
    assert {type(error) for error in errors} <= {StoppedError, ZeroDivisionError}
    assert "ZeroDivisionError" in caplog.text
    batcher.stop(5)
    assert not batcher.is_alive


def test_an_unforeseen_error_of_planning_ends_one_request(
    monkeypatch: pytest.MonkeyPatch, start: Callable[..., Batcher], caplog: pytest.LogCaptureFixture
) -> None:
    def parse(item: Any, **settings: Any) -> Any:
        if item == "strange":
            raise RecursionError
        return parse_input(item, **settings)

    monkeypatch.setattr("vlm2vec.serve.batcher.parse_input", parse)
    batcher = start()
    with pytest.raises(RecursionError):
        asyncio.run(batcher.embed(Asked(["a", "strange"])))
    assert "could not be planned" in caplog.text
    assert len(asyncio.run(batcher.embed(Asked(["a"]))).vectors) == 1


def test_urls_are_fetched_a_few_at_a_time(
    gate: Gate, monkeypatch: pytest.MonkeyPatch, embedded: VLM2Vec, start: Callable[..., Batcher]
) -> None:
    colours = [f"#{7 * index:02x}0000" for index in range(30)]
    fetched: list[str] = []

    def fetch(url: str, **limits: Any) -> bytes:
        fetched.append(url)
        return file_of("#" + url[-6:], "PNG")

    async def ask() -> tuple[Embedded, Embedded]:
        front = await gate.close(batcher)
        task = asyncio.create_task(batcher.embed(Asked([{"image": url} for url in urls])))
        await settled(lambda: len(fetched) == 16)
        await asyncio.sleep(0.05)
        assert len(fetched) == 16
        with pytest.raises(InputError, match="17 URLs") as error:
            await batcher.embed(Asked(["a", {"images": urls[:17]}]))
        assert error.value.index == 1
        gate.open.set()
        await front
        return await task, await batcher.embed(Asked([{"images": urls[:2]}, "a"]))

    monkeypatch.setattr("vlm2vec.media.source.fetch", fetch)
    urls = [f"https://example.org/{colour[1:]}" for colour in colours]
    batcher = start(allow_urls=True)
    found, two = asyncio.run(ask())
    pictures = [{"image": file_of(colour, "PNG")} for colour in colours]
    assert_equal(found, embedded.encode(pictures, normalize_embeddings=True))
    assert sorted(fetched[:30]) == sorted(urls)
    images = {"images": [file_of(colour, "PNG") for colour in colours[:2]]}
    assert_equal(two, embedded.encode([images, "a"], normalize_embeddings=True))


def test_nothing_of_an_answered_request_is_kept(start: Callable[..., Batcher]) -> None:
    async def ask() -> None:
        for number in range(40):
            picture = {"image": file_of(f"#{number:06x}", "PNG")}
            asked = [[picture, f"number {number}"], [f"another {number}", ""]]
            await asyncio.gather(*(batcher.embed(Asked(one)) for one in asked), return_exceptions=True)

    def kept() -> list[Any]:
        gc.collect()
        kinds = (Asked, Planned, Prepared, VLM2VecError)
        return [thing for thing in gc.get_objects() if isinstance(thing, kinds)]

    before = kept()  # of other tests
    batcher = start()
    asyncio.run(ask())
    for _ in range(3):
        asyncio.run(batcher.embed(Asked(["the last"])))  # takes the place of what a thread had in hand
    assert len(kept()) <= len(before) + 2
