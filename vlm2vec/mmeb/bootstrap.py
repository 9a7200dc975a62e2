"""How far a score could be from what it is, had other queries been asked: bootstrap intervals."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vlm2vec.errors import InputError
from vlm2vec.mmeb.averages import TaskGroup, members

__all__ = ["Interval", "bootstrap_intervals"]

_CHUNK = 4_000_000  # numbers held at a time


@dataclass(frozen=True)
class Interval:
    """A mean and its percentile interval, in the unit of the values.

    Attributes:
        mean: Of the values themselves, not of the resamples.
        low: Lower end.
        high: Upper end.
    """

    mean: float
    low: float
    high: float


def bootstrap_intervals(
    values: Mapping[str, npt.ArrayLike],
    *,
    tasks: Collection[TaskGroup] | None = None,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Percentile bootstrap intervals of each task and of each average, from the metric of each query.

    Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.

    Queries are drawn anew within each task; the tasks stay as they are. So the interval of an average says
    how it would vary with other queries of the same tasks, not with other tasks. A task's interval does not
    depend on which other tasks are there.

    Args:
        values: Task -> `(n,)`, the metric of each query.
        tasks: Of the benchmark; the 78 of MMEB-V2 if not given.
        level: Share of the resampled means that lies between the ends.
        resamples: How often the queries of each task are drawn with replacement.
        seed: The same seed, the same intervals.

    Returns:
        Task -> interval, then average -> interval; averages without any task are left out.

    Raises:
        InputError: A task is unknown or has no values, one is not finite, or a setting is out of range.

    Example:
        >>> found = bootstrap_intervals({"MSCOCO": [1.0, 0.0], "K700": [1.0, 1.0]}, resamples=1000)
        >>> found["overall"]
        Interval(mean=0.75, low=0.5, high=1.0)
    """
    _check(level, resamples)
    averages = members(values, tasks=tasks)
    arrays = {name: _checked(name, array) for name, array in values.items()}
    drawn = {
        name: _means(array, resamples, np.random.default_rng([seed, zlib.crc32(name.encode())]))
        for name, array in arrays.items()
    }
    means = {name: float(array.mean()) for name, array in arrays.items()}
    found = {name: _interval(means[name], drawn[name], level) for name in values}
    for key, names in averages.items():
        if names:
            mean = sum(means[name] for name in names) / len(names)
            resampled = np.stack([drawn[name] for name in names]).mean(axis=0)
            found[key] = _interval(mean, resampled, level)
    return found


def _means(
    values: npt.NDArray[np.float64], resamples: int, random: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Means of `resamples` draws of `n` of the values with replacement, `(resamples,)`.

    How often each distinct value is drawn is multinomial, and there are few of them: two for hit@1.
    """
    distinct, counts = np.unique(values, return_counts=True)
    rows = max(1, _CHUNK // len(distinct))
    sizes = [min(rows, resamples - start) for start in range(0, resamples, rows)]
    shares = counts / len(values)
    drawn = [random.multinomial(len(values), shares, size=size) @ distinct for size in sizes]
    return np.concatenate(drawn) / len(values)


def _interval(mean: float, drawn: npt.NDArray[np.float64], level: float) -> Interval:
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(mean, float(low), float(high))


def _checked(task: str, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0 or not np.isfinite(array).all():
        raise InputError(
            f"the values of task {task!r} are no list of finite numbers", fix="Pass the metric of each query."
        )
    return array


def _check(level: float, resamples: int) -> None:
    if not 0 < level < 1:
        raise InputError(f"the level {level} is not between 0 and 1", fix="Pass a share such as 0.95.")
    if resamples < 1:
        raise InputError(f"{resamples} resamples make no interval", fix="Pass at least 1; 10,000 is usual.")
