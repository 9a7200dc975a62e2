"""The faster of two ways, by a clock that the tests set."""

from collections.abc import Callable, Iterator
from itertools import cycle

import pytest

from vlm2vec.modeling import probe


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds since the start, in the only element; `probe` reads it."""
    now = [0.0]
    monkeypatch.setattr(probe.time, "perf_counter", lambda: now[0])
    return now


def way(clock: list[float], seconds: Iterator[float]) -> Callable[[], object]:
    def run() -> None:
        clock[0] += next(seconds)

    return run


@pytest.mark.parametrize(("new", "wins"), [(0.5, True), (0.8, True), (0.9, False), (2.0, False)])
def test_a_clear_win_is_one(clock: list[float], new: float, wins: bool) -> None:
    assert probe.is_faster(way(clock, cycle([new])), way(clock, cycle([1.0]))) is wins


@pytest.mark.parametrize(("new", "wins"), [(0.77, True), (1.0, False)])
def test_a_machine_that_is_busy_now_and_then_gives_the_same_answer(
    clock: list[float], new: float, wins: bool
) -> None:
    # Every third run of the one and every fourth of the other is slowed down threefold.
    slow_new, slow_old = cycle([3 * new, new, new]), cycle([1.0, 3.0, 1.0, 1.0])
    assert probe.is_faster(way(clock, slow_new), way(clock, slow_old)) is wins


def test_the_first_run_of_a_way_does_not_count(clock: list[float]) -> None:
    def once_slow() -> Iterator[float]:
        yield 60.0
        yield from cycle([0.5])

    assert probe.is_faster(way(clock, once_slow()), way(clock, cycle([1.0])))
