"""Decoding ahead: in order, bounded, and over when the caller is done."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stand_ins import Preparer, endless, planned, workers_alive

from vlm2vec.encoding import ahead
from vlm2vec.encoding.ahead import Workers
from vlm2vec.encoding.batches import Batch
from vlm2vec.encoding.plan import Failed, Planned
from vlm2vec.errors import MediaError, VLM2VecError
from vlm2vec.world.samples import write_samples

PROMPT = 5.0
"""Seconds within which everything is over that would otherwise take four times as long."""

PATIENCE = 120.0  # seconds that a busy machine may take to end a process


def batch(*inputs: Planned | Failed) -> Batch:
    return Batch(inputs, cost=sum(one.index for one in inputs))


def run(preparer: Preparer, batches: list[Batch], *, in_threads: bool = True) -> Iterator[Any]:
    with Workers(ahead=in_threads) as workers:
        yield from workers.prepared(batches, preparer)


def settled(preparer: Preparer) -> int:
    """How many media were decoded once nothing more happens."""
    before = -1
    while before != len(preparer.decoded):
        before = len(preparer.decoded)
        time.sleep(0.05)
    return before


@pytest.mark.parametrize("in_threads", [True, False])
def test_batches_come_in_order_with_their_cost(in_threads: bool) -> None:
    chooser = random.Random(1)  # noqa: S311
    preparer = Preparer(lambda _: time.sleep(chooser.random() / 100))
    batches = [batch(planned(3 * i, 2 * i, 2 * i + 1), planned(3 * i + 1, 2 * i)) for i in range(20)]
    found = list(run(preparer, batches, in_threads=in_threads))
    assert [cost for cost, _ in found] == [6 * i + 1 for i in range(20)]
    assert [[place for place, _ in inputs] for _, inputs in found] == [[3 * i, 3 * i + 1] for i in range(20)]


@pytest.mark.parametrize("in_threads", [True, False])
def test_a_bounded_number_of_batches_is_decoded_before_they_are_asked_for(in_threads: bool) -> None:
    bound = ahead._BATCHES_AHEAD if in_threads else 0
    preparer = Preparer()
    found = run(preparer, [batch(planned(i, i)) for i in range(12)], in_threads=in_threads)
    for taken in range(1, 13):
        next(found)
        assert settled(preparer) == min(12, taken + bound)


def test_as_many_pages_are_asked_for_at_once_as_there_are_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six pages of a thousand tokens are a batch on a GPU: so twelve readers have something to draw."""
    monkeypatch.setattr(ahead, "core_count", lambda: 16)
    together = threading.Barrier(12)
    preparer = Preparer(lambda number: together.wait(20) if number < 12 else None)
    found = run(preparer, [batch(*(planned(page, page) for page in range(i, i + 6))) for i in (0, 6, 12)])
    assert len(list(found)) == 3
    assert not together.broken


def test_a_medium_is_decoded_once_for_all_inputs_of_a_batch() -> None:
    preparer = Preparer()
    list(run(preparer, [batch(planned(0, 7, 8, 7), planned(1, 8)), batch(planned(2, 9))]))
    assert sorted(preparer.decoded) == [7, 8, 9]


@pytest.mark.parametrize("in_threads", [True, False])
def test_what_failed_stands_in_its_place(in_threads: bool) -> None:
    preparer = Preparer(lambda number: MediaError("broken") if number == 5 else None)
    planning = MediaError("refused", index=3)
    batches = [batch(planned(0, 4), planned(1, 5), Failed(3, planning), planned(2, 4, 5))]
    ((_, found),) = run(preparer, batches, in_threads=in_threads)
    failed = {place: ready for place, ready in found if isinstance(ready, VLM2VecError)}
    assert list(failed) == [1, 3, 2]
    assert failed[3] is planning
    assert (failed[1].index, failed[2].index) == (1, 2)


@pytest.mark.parametrize("in_threads", [True, False])
def test_errors_of_the_program_are_not_swallowed(in_threads: bool) -> None:
    def fail(number: int) -> None:
        if number == 3:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(run(Preparer(fail), [batch(planned(i, i)) for i in range(6)], in_threads=in_threads))
    assert not workers_alive()


def test_without_preparing_ahead_there_is_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise AssertionError(f"{thread.name} was started")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    preparer = Preparer()
    assert len(list(run(preparer, [batch(planned(i, i)) for i in range(4)], in_threads=False))) == 4
    assert preparer.decoded == [0, 1, 2, 3]


@pytest.mark.parametrize("in_threads", [True, False])
def test_map_keeps_the_order(in_threads: bool) -> None:
    with Workers(ahead=in_threads) as workers:
        assert workers.map(lambda i: time.sleep((9 - i) / 500) or i * i, range(10)) == [
            i * i for i in range(10)
        ]


@pytest.mark.parametrize("in_threads", [True, False])
def test_one_item_is_got_ahead_in_order_and_by_one_thread(in_threads: bool) -> None:
    threads: set[str] = set()
    got: list[int] = []

    def items() -> Iterator[int]:
        for number in range(20):
            threads.add(threading.current_thread().name)
            got.append(number)
            yield number

    with Workers(ahead=in_threads) as workers:
        for number, item in enumerate(workers.one_ahead(items())):
            assert item == number
            assert len(got) <= number + 2
    assert len(got) == 20
    assert len(threads) == 1
    assert (threads == {threading.current_thread().name}) != in_threads


def test_what_is_got_ahead_may_ask_the_other_threads_however_few_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ahead, "_MAX_THREADS", 1)
    with Workers() as workers:
        assert list(workers.one_ahead(workers.map(str, range(some, some + 3)) for some in range(3))) == [
            ["0", "1", "2"],
            ["1", "2", "3"],
            ["2", "3", "4"],
        ]


@pytest.mark.parametrize("in_threads", [True, False])
def test_an_error_of_what_is_got_ahead_comes_behind_the_items_before_it(in_threads: bool) -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ZeroDivisionError

    with Workers(ahead=in_threads) as workers:
        found = workers.one_ahead(items())
        assert next(found) == 1
        with pytest.raises(ZeroDivisionError):
            next(found)


class TestNothingIsLeftBehind:
    """A clip is being decoded that would take 20 s, and others wait for a thread."""

    @pytest.fixture
    def started(self) -> threading.Event:
        return threading.Event()

    @pytest.fixture
    def preparer(self, started: threading.Event) -> Preparer:
        return Preparer(endless(started))

    @pytest.fixture
    def rows(self, preparer: Preparer) -> Iterator[Any]:
        return run(
            preparer, [batch(planned(0, 0)), *(batch(planned(i, 10 + i, 50 + i)) for i in range(1, 9))]
        )

    @pytest.fixture(autouse=True)
    def promptly(self, preparer: Preparer, rows: Iterator[Any], started: threading.Event) -> Iterator[None]:
        assert next(rows)[0] == 0
        assert started.wait(PROMPT)
        assert workers_alive()
        begin = time.monotonic()
        yield
        assert time.monotonic() - begin < PROMPT
        assert not workers_alive()
        decoded = len(preparer.decoded)
        time.sleep(0.05)
        assert len(preparer.decoded) == decoded

    def test_when_the_generator_is_closed(self, rows: Iterator[Any]) -> None:
        rows.close()

    def test_when_an_error_reaches_it(self, rows: Iterator[Any]) -> None:
        with pytest.raises(ZeroDivisionError):
            rows.throw(ZeroDivisionError)

    def test_when_the_main_thread_is_interrupted(self, rows: Iterator[Any]) -> None:
        main, raised = threading.main_thread().ident, threading.Event()
        # A shell that starts tests in the background has them ignore interrupts.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)

        def interrupt() -> None:
            # Again if need be: one that comes just before the main thread waits does not wake it.
            while not raised.wait(0.5):
                signal.pthread_kill(main, signal.SIGINT)

        again = threading.Thread(target=interrupt, daemon=True)
        again.start()
        with pytest.raises(KeyboardInterrupt):
            try:
                next(rows)
            finally:
                raised.set()
                again.join()
                signal.signal(signal.SIGINT, before)


INTERRUPTED = """
import pathlib, signal, sys, threading
from vlm2vec import VLM2Vec

signal.signal(signal.SIGINT, signal.default_int_handler)
model = VLM2Vec(device="cpu")
clip = pathlib.Path(sys.argv[1])
clips = [{"video": clip, "fps": 5 + number / 1000} for number in range(400)]
model[0].register_forward_pre_hook(lambda *_: print("computing", flush=True))
try:
    model.encode(clips, max_tokens_per_batch=1)
except KeyboardInterrupt:
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("vlm2vec")]
    print("left:", left, flush=True)
    raise
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is another thing there")
def test_ctrl_c_ends_encode_at_once(tmp_path: Path) -> None:
    clip = next(sample.path for sample in write_samples(tmp_path) if sample.path.suffix == ".mp4")
    command = [sys.executable, "-c", INTERRUPTED, str(clip)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "computing\n", process.stderr.read()
            process.send_signal(signal.SIGINT)
            out, said = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    assert out.splitlines()[-1] == "left: []"
    assert out.count("computing") < 100  # of 400 batches
    assert said.splitlines()[-1] == "KeyboardInterrupt"
    assert process.returncode in (-signal.SIGINT, 128 + signal.SIGINT)
