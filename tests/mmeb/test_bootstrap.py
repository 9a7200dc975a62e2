"""Intervals over queries: Wilson's of hits, the bootstrap's of other metrics."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from vlm2vec.errors import InputError
from vlm2vec.mmeb.bootstrap import Interval, bootstrap_intervals

GRADES = np.array([0.0, 0.0, 0.2, 0.43, 0.5, 0.63, 1.0, 1.0, 1.0, 0.0, 1.0, 0.39])


def bootstrap_mean(values: object, **settings: object) -> Interval:
    """The interval of a single task."""
    return bootstrap_intervals({"K700": values}, **settings)["K700"]  # type: ignore[dict-item, arg-type]


def _naive(tasks: list[np.ndarray], resamples: int, level: float = 0.95) -> tuple[float, float]:
    """Draws queries one by one, and sorts the means."""
    random = np.random.default_rng(99)
    means = []
    for _ in range(resamples):
        drawn = [[task[random.integers(len(task))] for _ in task] for task in tasks]
        means.append(sum(sum(task) / len(task) for task in drawn) / len(tasks))
    means.sort()
    cut = (1 - level) / 2
    return means[round(cut * (resamples - 1))], means[round((1 - cut) * (resamples - 1))]


def test_an_interval_is_that_of_drawing_queries_one_by_one() -> None:
    low, high = _naive([GRADES], 20_000)
    found = bootstrap_mean(GRADES, resamples=20_000)
    assert found.mean == pytest.approx(GRADES.mean())
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.01)
    assert high - low > 0.3


def test_the_interval_of_an_average_draws_within_tasks() -> None:
    # One task varies, the other is certain: pooling their queries would vary differently.
    tasks = {"MSCOCO": GRADES, "RefCOCO": np.ones(100)}
    low, high = _naive(list(tasks.values()), 3_000)
    found = bootstrap_intervals(tasks, resamples=20_000)["I-VG"]
    assert found.mean == pytest.approx((GRADES.mean() + 1) / 2)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.01)
    one = bootstrap_mean(GRADES, resamples=20_000)
    assert found.high - found.low == pytest.approx((one.high - one.low) / 2, abs=0.01)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.99])
@pytest.mark.parametrize(("hits", "total"), [(7, 25), (0, 80), (80, 80), (1, 1), (0, 1), (999, 1000)])
def test_hits_have_the_interval_of_wilson(level: float, hits: int, total: int) -> None:
    found = bootstrap_mean(np.repeat([1.0, 0.0], [hits, total - hits]), level=level)
    reference = stats.binomtest(hits, total).proportion_ci(level, method="wilson")
    assert (found.low, found.high) == pytest.approx((reference.low, reference.high))
    assert found.low <= found.mean <= found.high
    assert found.high - found.low > 0.001


def test_a_perfect_task_is_no_certainty_and_nor_is_its_average() -> None:
    perfect = {"MSCOCO": np.ones(80), "RefCOCO": np.ones(80)}
    found = bootstrap_intervals(perfect)
    assert (found["MSCOCO"].low, found["MSCOCO"].high) == (pytest.approx(0.9542, abs=1e-4), 1.0)
    assert (found["I-VG"].mean, found["I-VG"].high) == (1.0, 1.0)
    assert found["I-VG"].low == pytest.approx(1 - (1 - found["MSCOCO"].low) / math.sqrt(2))


def test_grades_that_are_not_hits_are_drawn_anew() -> None:
    """One query that is neither hit nor missed is enough."""
    grades = np.array([*np.ones(79), 0.5])
    found = bootstrap_mean(grades, resamples=20_000)
    assert (found.low, found.high) == pytest.approx(_naive([grades], 5_000), abs=0.004)


def test_the_interval_of_an_average_holds_its_mean_as_often_as_it_says() -> None:
    """Of five small tasks with other rates each, in 500 draws of their queries."""
    rates = {"K700": 0.95, "SmthSmthV2": 0.5, "HMDB51": 0.8, "UCF101": 0.99, "Breakfast": 0.1}
    random = np.random.default_rng(11)
    held = 0
    for _ in range(500):
        drawn = {name: (random.random(30) < rate).astype(float) for name, rate in rates.items()}
        found = bootstrap_intervals(drawn)["V-CLS"]
        held += found.low <= np.mean(list(rates.values())) <= found.high
    assert 0.92 < held / 500 < 0.99


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_many_queries_have_the_normal_interval(level: float) -> None:
    values = np.random.default_rng(3).beta(2, 3, size=1_000)
    found = bootstrap_mean(values, level=level, resamples=20_000)
    half = stats.norm.ppf((1 + level) / 2) * values.std() / math.sqrt(len(values))
    assert found.low == pytest.approx(values.mean() - half, abs=0.03 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.03 * half)


def test_an_average_of_many_tasks_has_the_normal_interval() -> None:
    random = np.random.default_rng(4)
    sizes = {"K700": 200, "SmthSmthV2": 500, "HMDB51": 100, "UCF101": 1_000, "Breakfast": 50}
    values = {name: (random.random(size) < 0.4).astype(float) for name, size in sizes.items()}
    found = bootstrap_intervals(values, resamples=20_000)["V-CLS"]
    error = math.sqrt(sum(array.var() / len(array) for array in values.values())) / len(values)
    assert found.mean == pytest.approx(np.mean([array.mean() for array in values.values()]))
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.03)


def test_every_task_and_every_average_with_a_task_has_an_interval() -> None:
    found = bootstrap_intervals({"K700": GRADES, "MSCOCO": GRADES}, resamples=100)
    assert list(found) == ["K700", "MSCOCO", "image", "video", "overall", "I-VG", "V-CLS"]
    assert found["image"] == found["I-VG"] == found["MSCOCO"]
    assert found["video"] != found["image"]  # the tasks are drawn independently
    assert all(row.low <= row.mean <= row.high for row in found.values())


def test_the_seed_decides_and_other_tasks_do_not() -> None:
    alone = bootstrap_intervals({"K700": GRADES}, resamples=500)
    both = bootstrap_intervals({"MSVD": GRADES[::2], "K700": GRADES}, resamples=500)
    assert alone["K700"] == both["K700"]
    assert bootstrap_mean(GRADES, resamples=500, seed=1) == bootstrap_mean(GRADES, resamples=500, seed=1)
    assert bootstrap_mean(GRADES, resamples=500, seed=1) != bootstrap_mean(GRADES, resamples=500, seed=2)


def test_the_order_of_queries_does_not_matter() -> None:
    assert bootstrap_mean(GRADES[::-1], resamples=500).low == bootstrap_mean(GRADES, resamples=500).low


def test_an_interval_in_another_unit() -> None:
    assert Interval(0.5, 0.25, 1.0).times(100) == Interval(50.0, 25.0, 100.0)


def test_draws_in_chunks_are_the_same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = bootstrap_mean(GRADES, resamples=1_000)
    monkeypatch.setattr("vlm2vec.mmeb.bootstrap._CHUNK", 77)
    assert bootstrap_mean(GRADES, resamples=1_000) == whole


def test_float32_values_are_added_in_float64() -> None:
    # A float32 sum of so many would stop growing at 2**24.
    values = np.ones(2**24 + 8, dtype=np.float32)
    found = bootstrap_mean(values)
    assert found.mean == found.high == 1.0
    assert 1 - found.low < 1e-6


@pytest.mark.parametrize("values", [[], [[1.0]], [float("nan")], [1.0, float("inf")]])
def test_values_that_are_no_finite_list_are_refused(values: list[float]) -> None:
    with pytest.raises(InputError, match="the values of task 'K700' are no list of finite numbers"):
        bootstrap_intervals({"K700": values})


def test_settings_out_of_range_and_unknown_tasks_are_refused() -> None:
    for level in (0.0, 1.0, 95.0):
        with pytest.raises(InputError, match="between 0 and 1"):
            bootstrap_mean(GRADES, level=level)
    with pytest.raises(InputError, match="0 resamples"):
        bootstrap_intervals({"K700": GRADES}, resamples=0)
    with pytest.raises(InputError, match=r"'K-700'.*'K700'"):
        bootstrap_intervals({"K-700": GRADES})
