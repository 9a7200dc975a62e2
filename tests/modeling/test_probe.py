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
def test_a_busy_machine_gives_the_same_answer(clock: list[float], new: float, wins: bool) -> None:
    # Some pairs are slowed down threefold, and one run of the other was lucky, so that the fastest runs tie.
    slowed = [3.0, 1.0, 1.0] * 4
    of_old = [0.77 if number == 1 else factor for number, factor in enumerate(slowed)]
    assert probe.is_faster(way(clock, (new * factor for factor in slowed)), way(clock, iter(of_old))) is wins
