"""The engine with stand-ins for decoding and the network, and `encode_stream` on the model in the package."""

from __future__ import annotations

import dataclasses
import io
import itertools
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stand_ins import Planner, Preparer, endless, picture, text, workers_alive

from vlm2vec import VLM2Vec, errors
from vlm2vec.blocks.options import Kernel
from vlm2vec.encoding import engine as engine_module
from vlm2vec.encoding.engine import Budget, Engine, in_order
from vlm2vec.encoding.plan import Planned
from vlm2vec.encoding.prepare import Prepared
from vlm2vec.encoding.settings import EngineSettings
from vlm2vec.errors import InputError, MediaError, VLM2VecError
from vlm2vec.inputs.parts import Input, Text
from vlm2vec.media.deadline import Cancelled, cancellable


class Network:
    """Remembers its batches; the row of an input is its first token; above `fits` tokens memory runs out."""

    def __init__(self, fits: float = float("inf"), error: RuntimeError | None = None) -> None:
        self.fits = fits
        self.error = error or torch.OutOfMemoryError("CUDA out of memory.\nand more")
        self.batches: list[list[int]] = []
        self.failed = 0

    def __call__(self, batch: Sequence[Prepared]) -> list[torch.Tensor]:
        lengths = [len(ready.token_ids) for ready in batch]
        if sum(lengths) > self.fits:
            self.failed += 1
            raise self.error
        self.batches.append(lengths)
        return [torch.tensor(int(ready.token_ids[0]) // 100) for ready in batch]

    @property
    def inputs(self) -> int:
        return sum(len(batch) for batch in self.batches)


def engine(
    network: Callable[..., Any],
    *,
    cost: int = 50,
    budget: Budget | None = None,
    work: Callable[[int], Any] = lambda _: None,
    in_threads: bool = False,
    deduplicate: bool = True,
    **settings: Any,
) -> Engine:
    switches = EngineSettings(prepare_ahead=in_threads, deduplicate=deduplicate)
    return Engine(Preparer(work), network, list, budget or Budget(cost), settings=switches, **settings)


def same(index: int, name: int, tokens: int = 5) -> Input:
    """An input that is equal to all others of this name."""
    return Input((Text(f"{name}"), Text("x" * tokens)), index=index)


def shown(index: int, number: int) -> Input:
    """An input with a medium."""
    return Input((picture(number), Text("x")), index=index)


# Rows and their places


@pytest.mark.parametrize("in_threads", [True, False])
@settings(max_examples=40)
@given(lengths=st.lists(st.integers(1, 60), max_size=30), max_inputs=st.integers(1, 9))
def test_rows_come_in_order_and_batches_keep_their_bounds(
    in_threads: bool, lengths: list[int], max_inputs: int
) -> None:
    network = Network()
    items = [text(i, length) for i, length in enumerate(lengths)]
    rows = list(in_order(engine(network, max_inputs=max_inputs, in_threads=in_threads).rows(items)))
    assert len(rows) == len(lengths)
    for index, (row, length) in enumerate(zip(rows, lengths, strict=True)):
        if length == 13:
            assert isinstance(row, MediaError)
            assert row.index == index
        else:
            assert row == index
    for batch in network.batches:
        assert 1 <= len(batch) <= max_inputs
        assert sum(batch) <= 50 or len(batch) == 1


@given(st.permutations(range(12)))
def test_rows_are_put_in_order_whatever_the_order_in_which_they_are_ready(places: list[int]) -> None:
    assert list(in_order((place, place * 10) for place in places)) == [place * 10 for place in range(12)]


def test_a_row_comes_as_soon_as_all_before_it_are_there() -> None:
    asked: list[int] = []

    def rows() -> Iterator[tuple[int, int]]:
        for place in (1, 0, 2, 4, 3):
            asked.append(place)
            yield place, place

    ordered = in_order(rows())
    progress = [(next(ordered), len(asked)) for _ in range(5)]
    assert progress == [(0, 2), (1, 2), (2, 3), (3, 5), (4, 5)]


def test_what_parsing_refused_keeps_its_place() -> None:
    refused = InputError("bad", index=1)
    rows = dict(engine(Network()).rows([text(0, 3), refused, text(2, 3)]))
    assert rows == {0: 0, 1: refused, 2: 2}


def test_no_inputs_are_no_rows() -> None:
    network = Network()
    assert list(engine(network).rows([])) == []
    assert not network.batches


def test_a_batch_in_which_all_failed_is_not_computed() -> None:
    network = Network()
    rows = dict(engine(network).rows([text(i, 13) for i in range(3)]))
    assert [rows[i].index for i in range(3)] == [0, 1, 2]
    assert not network.batches


@pytest.mark.parametrize("in_threads", [True, False])
def test_errors_of_the_program_are_not_swallowed(in_threads: bool) -> None:
    def fail(_: object) -> list[int]:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        list(engine(fail, in_threads=in_threads).rows([text(0, 1)]))
    assert not workers_alive()


# Inputs that are planned already


def planned(items: Sequence[Input], *, truncate: bool = False) -> list[Planned]:
    pairs = [(item.index or 0, item) for item in items]
    return [one for one in Planner().plan(pairs, truncate=truncate, run=map) if isinstance(one, Planned)]


@pytest.mark.parametrize("in_threads", [True, False])
@pytest.mark.parametrize("overlap", [True, False])
@pytest.mark.parametrize("groups_ahead", [0, 1, 2])
def test_behind_an_empty_group_rows_come_before_more_is_asked_for(
    groups_ahead: int, overlap: bool, in_threads: bool
) -> None:
    there: list[int] = []

    def groups() -> Iterator[list[Planned]]:
        for first in range(0, 30, 10):
            for index in range(first, first + 10, 5):
                yield planned([text(number, 20) for number in range(index, index + 5)])
            yield []
            assert there == list(range(first + 10))

    work = engine(Network(), in_threads=in_threads, overlap=overlap)
    for index, row in work.rows_of_planned(groups(), groups_ahead=groups_ahead):
        assert row == index
        there.append(index)
        there.sort()
    assert there == list(range(30))


def test_rows_are_waited_for_behind_the_next_launch_only_where_that_computes_meanwhile() -> None:
    for overlap in (True, False):
        network = Network()
        rows = engine(network, overlap=overlap).rows([text(number, 40) for number in range(4)])
        next(rows)
        assert len(network.batches) == (2 if overlap else 1)
        rows.close()


def test_equal_planned_inputs_of_a_group_are_computed_once_where_both_may_be_shortened_or_none() -> None:
    network = Network()
    items = [same(index, 4) for index in range(6)]
    groups = [planned(items[:2]) + planned(items[2:4], truncate=True), planned(items[4:])]
    rows = dict(engine(network).rows_of_planned(groups, groups_ahead=1))
    assert rows == dict.fromkeys(range(6), 4)
    assert network.inputs == 3


# Duplicates


def test_equal_inputs_are_computed_once_and_all_get_the_row() -> None:
    network = Network()
    names = [4, 5, 4, 4, 6, 5]
    items = [same(i, name) for i, name in enumerate(names)]
    rows = list(in_order(engine(network).rows(items)))
    assert rows == names
    assert len({row.data_ptr() for row in rows}) == len(rows)
    assert network.inputs == 3


def test_equal_inputs_are_computed_each_when_that_is_switched_off() -> None:
    network = Network()
    rows = list(in_order(engine(network, deduplicate=False).rows([same(0, 4), same(1, 4)])))
    assert rows == [4, 4]
    assert network.inputs == 2


def test_equal_inputs_that_fail_have_errors_of_their_own() -> None:
    rows = dict(engine(Network()).rows([same(7 + i, 4, tokens=13) for i in range(3)]))
    assert [rows[i].index for i in range(3)] == [7, 8, 9]
    assert len({id(error) for error in rows.values()}) == 3


def test_inputs_with_one_broken_medium_have_errors_of_their_own() -> None:
    broken = MediaError("broken")
    items = [Input((picture(3), Text("x" * length)), index=length) for length in (1, 2)]
    rows = dict(engine(Network(), work=lambda _: broken).rows(items))
    assert [rows[i].index for i in range(2)] == [1, 2]
    assert broken.index is None


# Windows


@pytest.mark.parametrize(
    ("cost", "sizes"),
    [(50, [256] * 7 + [208]), (8000, [500] * 4), (10**9, [1024, 976])],
    ids=["at least", "by cost", "at most"],
)
def test_as_many_are_planned_at_once_as_a_batch_may_hold(
    monkeypatch: pytest.MonkeyPatch, cost: int, sizes: list[int]
) -> None:
    one = engine(Network(), cost=cost)
    planned: list[int] = []
    plan = one.preparer.planner.plan

    def noted(items: Sequence[Any], **settings: Any) -> Any:
        planned.append(len(items))
        return plan(items, **settings)

    monkeypatch.setattr(one.preparer.planner, "plan", noted)
    assert list(in_order(one.rows([text(i, 3) for i in range(2000)]))) == list(range(2000))
    assert planned == sizes


@pytest.mark.parametrize("in_threads", [True, False])
@pytest.mark.parametrize("window", [1, 2, 5])
def test_no_more_than_a_window_is_read_before_its_rows_come(window: int, in_threads: bool) -> None:
    read: list[int] = []

    def without_end() -> Iterator[Input]:
        for index in itertools.count():
            read.append(index)
            yield text(index, 3)

    rows = in_order(engine(Network(), in_threads=in_threads).rows(without_end(), window=window))
    for place in range(40):
        assert next(rows) == place
        assert len(read) == (place // window + 1) * window
    rows.close()
    assert not workers_alive()


def test_equal_inputs_in_different_windows_are_computed_twice() -> None:
    network = Network()
    items = [same(i, 4) for i in range(6)]
    assert list(in_order(engine(network).rows(items, window=3))) == [4] * 6
    assert network.inputs == 2


# Planning ahead


class Watched(Planner):
    """Notes what is planned in which thread, and does `work` with the number of each group first."""

    def __init__(self, work: Callable[[int], Any] = lambda _: None) -> None:
        self.work = work
        self.threads: list[str] = []
        self.begun = [threading.Event() for _ in range(9)]

    def plan(self, items: Any, **given: Any) -> Any:
        number = len(self.threads)
        self.threads.append(threading.current_thread().name)
        self.begun[number].set()
        self.work(number)
        return super().plan(items, **given)


def watched(planner: Watched, network: Callable[..., Any], **given: Any) -> Engine:
    """An engine that plans 256 inputs at a time, and computes 80 at most together."""
    work = engine(network, in_threads=True, cost=400, **given)
    work.preparer.planner = planner
    return work


def test_the_next_inputs_are_planned_while_the_model_computes() -> None:
    planner, network = Watched(), Network()
    seen: list[bool] = []

    def compute(batch: Sequence[Prepared]) -> list[torch.Tensor]:
        # At the first batch nobody has asked for any but the first 256 inputs.
        seen.append(planner.begun[1].wait(20))
        return network(batch)

    items = [text(number, 5) for number in range(600)]
    assert list(in_order(watched(planner, compute).rows(items))) == list(range(600))
    assert all(seen)
    assert len(planner.threads) == 3
    assert all(name.startswith("vlm2vec-plan") for name in planner.threads)
    assert not workers_alive()


@pytest.mark.parametrize("in_threads", [True, False])
def test_where_the_model_needs_the_cpu_inputs_are_planned_by_the_caller_when_they_are_needed(
    in_threads: bool,
) -> None:
    planner, network = Watched(), Network()
    planned: list[int] = []

    def compute(batch: Sequence[Prepared]) -> list[torch.Tensor]:
        planned.append(len(planner.threads))
        return network(batch)

    work = watched(planner, compute, overlap=False)
    work = dataclasses.replace(work, settings=EngineSettings(prepare_ahead=in_threads))
    assert list(in_order(work.rows([text(number, 5) for number in range(600)]))) == list(range(600))
    assert planned[0] == 1
    assert set(planner.threads) == {threading.current_thread().name}


def test_a_row_goes_back_to_the_inputs_before_more_of_them_are_planned() -> None:
    """A caller whose next inputs depend on the rows of those before does not wait for ever."""
    planner = Watched()
    rows: list[int] = []

    def inputs() -> Iterator[Input]:
        for index in range(6):
            assert len(rows) == index // 2 * 2
            yield text(index, 3)

    for _, row in watched(planner, Network()).rows(inputs(), window=2):
        rows.append(int(row))
    assert rows == list(range(6))
    assert len(planner.threads) == 3


def test_inputs_that_were_planned_before_memory_ran_out_are_cut_by_what_is_known_after() -> None:
    network, budget, planner = Network(fits=100), Budget(400), Watched()
    work = dataclasses.replace(watched(planner, network), budget=budget)
    assert list(in_order(work.rows([text(number, 5) for number in range(700)]))) == list(range(700))
    assert budget.cost == 100
    assert network.failed <= 3 * 3  # the batches that were cut by then, and their halves
    assert all(sum(batch) <= 100 for batch in network.batches)


def test_equal_inputs_and_broken_ones_are_where_they_belong_whichever_thread_planned_them() -> None:
    names = [number % 290 for number in range(580)]
    items = [same(index, name, 13 if name == 270 else 5) for index, name in enumerate(names)]
    network = Network()
    rows = list(in_order(watched(Watched(), network).rows(items)))
    for index, (row, name) in enumerate(zip(rows, names, strict=True)):
        if name == 270:
            assert isinstance(row, MediaError)
            assert row.index == index
        else:
            assert row == name
    assert network.inputs == 289


def test_errors_of_planning_come_after_the_rows_before_them_and_leave_no_thread() -> None:
    def fail(number: int) -> None:
        if number == 1:
            raise ZeroDivisionError

    rows = []
    with pytest.raises(ZeroDivisionError):
        for index, _ in watched(Watched(fail), Network()).rows([text(number, 5) for number in range(900)]):
            rows.append(index)
    assert rows == list(range(len(rows)))
    assert not workers_alive()


@pytest.mark.parametrize("how", ["closed", "dropped", "called off"])
def test_planning_ends_with_its_caller(how: str) -> None:
    lasting, called_off = threading.Event(), threading.Event()
    planner = Watched(lambda number: number and endless(lasting)(10))
    with cancellable(called_off):
        rows = watched(planner, Network()).rows([text(number, 5) for number in range(600)])
        next(rows)
        assert lasting.wait(20)
        if how == "called off":
            called_off.set()
            with pytest.raises(Cancelled):
                list(rows)
        elif how == "closed":
            rows.close()
        del rows
    assert not workers_alive()
    assert len(planner.threads) == 2


# Memory


@settings(max_examples=40)
@given(lengths=st.lists(st.integers(1, 12), min_size=1, max_size=40), fits=st.integers(12, 60))
def test_batches_are_halved_until_they_fit_and_no_row_is_lost(lengths: list[int], fits: int) -> None:
    network = Network(fits)
    items = [text(i, length) for i, length in enumerate(lengths)]
    assert list(in_order(engine(network, cost=200).rows(items))) == list(range(len(lengths)))
    assert all(sum(batch) <= fits for batch in network.batches)
    assert network.inputs == len(lengths)


def test_what_fits_is_remembered_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    network, budget = Network(30), Budget(200)
    items = [text(i, 5) for i in range(100)]
    with caplog.at_level(logging.WARNING, logger="vlm2vec"):
        assert len(list(engine(network, budget=budget).rows(items))) == 100
        assert 1 <= network.failed <= 12
        assert budget.cost == 25
        network.failed = 0
        assert len(list(engine(network, budget=budget).rows(items))) == 100
    assert not network.failed
    assert len(caplog.records) == 1
    assert "max_tokens_per_batch=100" in caplog.text


def test_batches_that_were_cut_before_do_not_halve_the_budget_again() -> None:
    budget = Budget(200)
    for cost in (200, 200, 180):
        budget.failed(cost)
    assert budget.cost == 100


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("MPS backend out of memory (MPS allocated: 8.50 GB, other allocations: 9.00 GB)"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
        torch.AcceleratorError("CUDA error: out of memory\nCUDA kernel errors might be reported"),
        torch.AcceleratorError("HIP error: out of memory\nHIP kernel errors might be reported"),
    ],
    ids=str,
)
def test_memory_that_runs_out_beside_torch_s_own_counts_too(error: RuntimeError) -> None:
    network = Network(20, error)
    assert list(in_order(engine(network).rows([text(i, 5) for i in range(10)]))) == list(range(10))
    assert network.failed


def test_other_errors_are_raised_at_once_and_change_nothing() -> None:
    network, budget = Network(20, RuntimeError("CUDA error: device-side assert triggered")), Budget(50)
    with pytest.raises(RuntimeError, match="assert triggered"):
        list(engine(network, budget=budget).rows([text(i, 5) for i in range(10)]))
    assert network.failed == 1
    assert budget.cost == 50


def test_an_input_that_alone_does_not_fit_costs_itself_alone() -> None:
    network = Network(20)
    rows = dict(engine(network).rows([text(0, 5), text(1, 40), text(2, 5), text(3, 5)]))
    error = rows.pop(1)
    assert isinstance(error, errors.OutOfMemoryError)
    assert error.index == 1
    assert error.source
    assert "40 tokens" in str(error)
    assert "\n" not in str(error)
    assert rows == {0: 0, 2: 2, 3: 3}


def test_rows_that_are_waited_for_survive_a_later_failure() -> None:
    """The rows of a batch are fetched after the next one was launched."""
    network = Network(20)
    rows = list(in_order(engine(network, cost=20).rows([text(0, 20), text(1, 40), text(2, 20)])))
    assert [rows[0], rows[2]] == [0, 2]
    assert isinstance(rows[1], errors.OutOfMemoryError)


@pytest.mark.parametrize(("device", "cost"), [("cpu", 4096), ("cuda", 32_768)])
def test_the_default_budget_goes_by_device(device: str, cost: int) -> None:
    assert Budget.of(torch.device(device)).cost == cost


@pytest.mark.parametrize(
    ("free", "cost"),
    [
        (140 * 10**9, 32_768),
        (6_553_600_000, 32_768),
        (6_553_599_999, 16_384),
        (2 * 10**9, 8192),
        (10**9, 4096),
        (0, 1024),
    ],
)
def test_the_default_budget_on_cuda_fits_into_half_of_the_free_memory_and_is_a_power_of_two(
    monkeypatch: pytest.MonkeyPatch, free: int, cost: int
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free // 2, 10**12))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 10**9 + free - free // 2)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 10**9)
    assert Budget.of(torch.device("cuda", 1), bytes_per_token=100_000).cost == cost
    assert Budget.of(torch.device("cuda", 1)).cost == 32_768
    assert Budget.of(torch.device("cpu"), bytes_per_token=10**12).cost == 4096
    assert Budget.of(torch.device("mps"), bytes_per_token=10**12).cost == 8192


def test_the_default_budget_is_taken_once_from_the_memory_beside_the_weights(
    embedded: VLM2Vec, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = iter([10**8, 10**12])
    monkeypatch.setattr(engine_module, "free_memory", lambda _: next(free))
    monkeypatch.setattr(embedded, "budgets", {})
    device = torch.device("cuda", 1)
    form: dict[str, Any] = {"save_to_cpu": True, "truncate_dim": None, "normalize_embeddings": False}
    for _ in range(2):
        budget = embedded.engine(device=device, **form).budget
        assert 1024 < budget.cost < 32_768
    assert embedded.engine(device=device, max_tokens_per_batch=7, **form).budget.cost == 7
    assert embedded.budgets == {device: budget}


# The end


@pytest.mark.parametrize("how", ["closed", "dropped"])
def test_nothing_goes_on_when_the_caller_stops_reading(how: str) -> None:
    started = threading.Event()
    running = engine(Network(), work=endless(started), in_threads=True, max_inputs=1)
    items = [text(0, 3), text(1, 3), *(shown(i, 10 + i) for i in range(2, 30))]
    rows = in_order(running.rows(items))
    assert next(rows) == 0
    assert started.wait(5)
    assert workers_alive()
    if how == "closed":
        rows.close()
    del rows
    assert not workers_alive()


# The model


@pytest.fixture
def counted(embedded: VLM2Vec) -> Iterator[list[int]]:
    """Inputs of each forward pass of the model in the package."""
    batches: list[int] = []

    def count(_: Any, arguments: tuple[dict[str, Any]]) -> None:
        batches.append(len(arguments[0]["packed"].offsets) - 1)

    hook = embedded[0].register_forward_pre_hook(count)
    yield batches
    hook.remove()


PICTURE = np.random.default_rng(7).integers(0, 256, (70, 90, 3), dtype=np.uint8)
CLIP = np.random.default_rng(8).integers(0, 256, (4, 56, 56, 3), dtype=np.uint8)
MIXED = [
    "a red circle",
    PICTURE,
    {"text": "what is this", "image": PICTURE},
    "two words, " * 20,
    CLIP,
    {"image": PICTURE, "text": "and what is that"},
    "a red circle",
]


@pytest.fixture(scope="module")
def alone(embedded: VLM2Vec) -> np.ndarray:
    return np.stack([embedded.encode(one) for one in MIXED])


@pytest.mark.parametrize("bounds", [{"max_tokens_per_batch": 1}, {"batch_size": 1}])
def test_one_input_per_batch_gives_the_same_vectors(
    embedded: VLM2Vec, alone: np.ndarray, counted: list[int], bounds: dict[str, int]
) -> None:
    np.testing.assert_allclose(embedded.encode(MIXED, **bounds), alone, atol=5e-7)
    assert counted == [1] * (len(MIXED) - 1)  # one is there twice


def test_one_batch_of_all_gives_the_same_vectors(
    embedded: VLM2Vec, alone: np.ndarray, counted: list[int]
) -> None:
    np.testing.assert_allclose(embedded.encode(MIXED), alone, atol=5e-7)
    assert counted == [len(MIXED) - 1]


SWITCHES = [field.name for field in dataclasses.fields(EngineSettings) if field.default is True]


@pytest.mark.parametrize("switch", SWITCHES)
def test_no_switch_changes_a_vector(
    embedded: VLM2Vec, alone: np.ndarray, monkeypatch: pytest.MonkeyPatch, switch: str
) -> None:
    monkeypatch.setattr(embedded, "engine_settings", EngineSettings(**{switch: False}))
    np.testing.assert_allclose(embedded.encode(MIXED), alone, atol=5e-7)


def test_no_kernel_changes_a_vector(
    embedded: VLM2Vec, alone: np.ndarray, monkeypatch: pytest.MonkeyPatch, kernel: Kernel
) -> None:
    monkeypatch.setattr(embedded, "engine_settings", EngineSettings(kernel=kernel))
    np.testing.assert_allclose(embedded.encode(MIXED), alone, atol=5e-7)


@pytest.mark.parametrize("window", [1, 3, 1024])
def test_a_stream_gives_the_vectors_of_encode_with_their_indices(
    embedded: VLM2Vec, alone: np.ndarray, window: int
) -> None:
    streamed = list(embedded.encode_stream((one for one in MIXED), window=window))
    assert [index for index, _ in streamed] == list(range(len(MIXED)))
    assert all(vector.shape == alone[0].shape for _, vector in streamed)
    assert {vector.dtype for _, vector in streamed} == {np.dtype(np.float32)}
    np.testing.assert_allclose([vector for _, vector in streamed], alone, atol=5e-7)


def test_a_stream_takes_an_instruction_for_each_input(embedded: VLM2Vec) -> None:
    instructions = ["Find:", None, "", "Represent this.", "Find:", None, "Find:"]
    streamed = embedded.encode_stream(MIXED, instruction=(one for one in instructions), window=2)
    expected = embedded.encode(MIXED, instruction=instructions)
    np.testing.assert_allclose([vector for _, vector in streamed], expected, atol=5e-7)


def test_a_stream_with_too_few_instructions_says_so(embedded: VLM2Vec) -> None:
    streamed = embedded.encode_stream(iter(["a", "b", "c"]), instruction=iter(["Find:"]), on_error="nan")
    with pytest.raises(InputError, match="instruction"):
        list(streamed)


def test_settings_of_a_stream_are_those_of_encode(embedded: VLM2Vec) -> None:
    settings = {"prompt": "Find:", "truncate_dim": 8, "normalize_embeddings": True}
    streamed = embedded.encode_stream(MIXED, **settings)
    np.testing.assert_allclose([row for _, row in streamed], embedded.encode(MIXED, **settings), atol=1e-6)


BROKEN = b"\x89PNG\r\n\x1a\n nothing behind it"
BAD = ["a", BROKEN, None, BROKEN, "b"]


def test_an_error_leaves_no_thread_while_it_is_handled(embedded: VLM2Vec) -> None:
    pictures = [PICTURE + np.uint8(i) for i in range(30)]
    try:
        embedded.encode([BROKEN, *pictures], max_tokens_per_batch=1)
    except MediaError:
        alive = workers_alive()
    assert not alive


@pytest.mark.parametrize("side", [40, 90])
@pytest.mark.parametrize("cost", [1, 60, 100_000])
def test_of_broken_pictures_the_first_is_named(embedded: VLM2Vec, cost: int, side: int) -> None:
    """Whether they are of one batch or of several, and whichever is larger; their headers are sound."""
    noise = np.random.default_rng(0).integers(0, 255, (60, 60, 3), dtype=np.uint8)
    cut_off = [png(np.resize(noise, (height, 60, 3)))[:2000] for height in (60, side)]
    pictures = [png(noise + np.uint8(i)) for i in range(18)]
    with pytest.raises(MediaError, match="input 18 "):
        embedded.encode([*pictures, *cut_off, *pictures[:1]], max_tokens_per_batch=cost)


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_vectors_of_equal_inputs_are_not_the_same_memory(embedded: VLM2Vec) -> None:
    vectors = [vector for _, vector in embedded.encode_stream(["a", "a", "b"])]
    vectors[0][:] = 0
    assert np.linalg.norm(vectors[1]) > 0.9
    assert np.linalg.norm(vectors[2]) > 0.9


def test_a_stream_raises_at_the_bad_input_and_not_before(embedded: VLM2Vec) -> None:
    streamed = embedded.encode_stream(BAD)
    assert next(streamed)[0] == 0
    with pytest.raises(MediaError, match="input 1 "):
        next(streamed)
    assert not workers_alive()


def test_a_stream_tells_of_bad_inputs_in_order_and_gives_nan(embedded: VLM2Vec) -> None:
    told: list[tuple[int | None, VLM2VecError]] = []
    rows = dict(embedded.encode_stream(BAD, on_error=lambda *what: told.append(what), window=2))
    assert [index for index, _ in told] == [1, 2, 3] == [error.index for _, error in told]
    assert [np.isnan(rows[i]).all() for i in range(5)] == [False, True, True, True, False]
    assert rows[1].dtype == np.float32
    again = [vector for _, vector in embedded.encode_stream(BAD, on_error="nan")]
    np.testing.assert_allclose(again, list(rows.values()), atol=5e-7)


@pytest.mark.parametrize("window", [0, -1, 2.5, True, None])
def test_windows_are_checked_at_once(embedded: VLM2Vec, window: object) -> None:
    with pytest.raises(ValueError, match="window"):
        embedded.encode_stream([], window=window)


def test_settings_of_a_stream_are_checked_at_once(embedded: VLM2Vec) -> None:
    with pytest.raises(ValueError, match="on_error"):
        embedded.encode_stream([], on_error="skip")


def test_a_stream_that_is_not_read_reads_nothing(embedded: VLM2Vec) -> None:
    read = itertools.count()
    embedded.encode_stream(f"text {next(read)}" for _ in range(9))
    assert next(read) == 0


def test_a_stream_that_is_left_early_leaves_no_thread(embedded: VLM2Vec) -> None:
    read = itertools.count()
    pictures = (PICTURE + np.uint8(next(read)) for _ in range(1000))
    for index, _ in embedded.encode_stream(pictures, window=4):
        if index == 5:
            break
    assert not workers_alive()
    assert next(read) == 8


def test_memory_that_ran_out_is_remembered_by_the_model(
    embedded: VLM2Vec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "budgets", {})
    failures: list[int] = []

    def run_out(_: Any, arguments: tuple[dict[str, Any]]) -> None:
        tokens = len(arguments[0]["packed"].language.token_ids)
        if tokens > 100:
            failures.append(tokens)
            raise torch.OutOfMemoryError("CUDA out of memory.")

    texts = [f"{number} and some more words behind it" for number in range(60)]
    expected = embedded.encode(texts)
    hook = embedded[0].register_forward_pre_hook(run_out)
    try:
        np.testing.assert_allclose(embedded.encode(texts), expected, atol=5e-7)
        assert failures
        failures.clear()
        np.testing.assert_allclose(embedded.encode(texts), expected, atol=5e-7)
        assert not failures
    finally:
        hook.remove()


@pytest.mark.parametrize("kept", [16, 3000])
def test_equal_broken_files_are_named_each(embedded: VLM2Vec, tmp_path: Path, kept: int) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (60, 60, 3), dtype=np.uint8)
    whole = tmp_path / "whole.png"
    PIL.Image.fromarray(noise).save(whole)
    paths = [tmp_path / "first.png", tmp_path / "second.png"]
    for path in paths:
        path.write_bytes(whole.read_bytes()[:kept])
    told: list[str] = []
    embedded.encode(paths, on_error=lambda _, error: told.append(str(error)))
    assert "first.png" in told[0]
    assert "second.png" in told[1]


def test_what_a_source_gave_before_it_raised_is_encoded(embedded: VLM2Vec) -> None:
    def source() -> Iterator[str]:
        yield from ("one", "two", "three")
        raise ValueError("the source is broken")

    for window in (2, 100):
        indices = []
        with pytest.raises(ValueError, match="the source is broken"):
            for index, _ in embedded.encode_stream(source(), window=window):
                indices.append(index)
        assert indices == [0, 1, 2]


@pytest.mark.slow
def test_a_stream_kept_until_the_interpreter_ends_is_silent() -> None:
    code = """
from vlm2vec import VLM2Vec
import PIL.Image
pictures = (PIL.Image.new("RGB", (60 + i, 60)) for i in range(100))
stream = VLM2Vec(device="cpu").encode_stream(pictures, window=8)
print(next(stream)[0])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"
    assert "Exception" not in done.stderr
