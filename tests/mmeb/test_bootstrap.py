"""Bootstrap intervals over queries."""

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


@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
def test_hits_of_few_queries_have_the_quantiles_of_the_binomial(level: float) -> None:
    hits = np.repeat([1.0, 0.0], [7, 18])
    found = bootstrap_mean(hits, level=level, resamples=100_000)
    ends = stats.binom.ppf([(1 - level) / 2, (1 + level) / 2], 25, 7 / 25) / 25
    assert (found.low, found.high) == pytest.approx(tuple(ends))


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


def test_percentages_have_intervals_in_percent() -> None:
    one, hundred = bootstrap_mean(GRADES, resamples=500), bootstrap_mean(GRADES * 100, resamples=500)
    assert (hundred.low, hundred.high) == pytest.approx((100 * one.low, 100 * one.high))


def test_draws_in_chunks_are_the_same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = bootstrap_mean(GRADES, resamples=1_000)
    monkeypatch.setattr("vlm2vec.mmeb.bootstrap._CHUNK", 77)
    assert bootstrap_mean(GRADES, resamples=1_000) == whole


def test_float32_values_are_added_in_float64() -> None:
    # A float32 sum of so many would stop growing at 2**24.
    values = np.ones(2**24 + 8, dtype=np.float32)
    assert bootstrap_mean(values, resamples=10) == Interval(1.0, 1.0, 1.0)


def test_a_certain_task_has_no_width() -> None:
    assert bootstrap_mean([1.0, 1.0, 1.0], resamples=10) == Interval(1.0, 1.0, 1.0)


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
