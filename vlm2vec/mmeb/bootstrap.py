"""How far a score could be from what it is, had other queries been asked: intervals of tasks and averages."""

from __future__ import annotations

import math
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from vlm2vec.errors import InputError
from vlm2vec.mmeb.averages import TaskGroup, members

__all__ = ["Interval", "bootstrap_intervals"]

_CHUNK = 4_000_000  # numbers held at a time


@dataclass(frozen=True)
class Interval:
    """A mean and how far it could be from what it is.

    Attributes:
        mean: Of the values themselves, not of the resamples.
        low: Lower end.
        high: Upper end.
    """

    mean: float
    low: float
    high: float

    def times(self, factor: float) -> Interval:
        """The interval in another unit: 100 times a share is in percent."""
        return Interval(factor * self.mean, factor * self.low, factor * self.high)


def bootstrap_intervals(
    values: Mapping[str, npt.ArrayLike],
    *,
    tasks: Collection[TaskGroup] | None = None,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Intervals of each task and of each average, from the metric of each query.

    Where each query is hit or missed, the interval of a task is Wilson's (1927), for which 80 hits of 80 are
    no certainty; else it is the percentile bootstrap's (Efron and Tibshirani, An Introduction to the
    Bootstrap, 1993, chapter 13), which draws queries anew.

    The interval of an average adds up the squares of its tasks' distances to their ends (Zou and Donner,
    Construction of confidence limits about effect measures, Statistics in Medicine 27, 2008). The tasks stay
    as they are: it says how the average would vary with other queries of the same tasks, not with other
    tasks. A task's interval does not depend on which other tasks are there.

    Args:
        values: Task -> `(n,)`, the metric of each query: 1 for a hit, 0 for a miss, or a share.
        tasks: Of the benchmark; the 78 of MMEB-V2 if not given.
        level: How sure it is that a mean lies between the ends, from 0 to 1.
        resamples: How often the queries of each task are drawn with replacement.
        seed: The same seed, the same intervals.

    Returns:
        Task -> interval, then average -> interval; averages without any task are left out.

    Raises:
        InputError: A task is unknown or has no values, one is not finite, or a setting is out of range.

    Example:
        >>> found = bootstrap_intervals({"MSCOCO": [1.0] * 80, "K700": [1.0, 0.0] * 40})
        >>> [round(end, 3) for end in (found["MSCOCO"].low, found["MSCOCO"].high)]
        [0.954, 1.0]
        >>> round(found["overall"].low, 3)
        0.692
    """
    _check(level, resamples)
    averages = members(values, tasks=tasks)
    found = {}
    for name, array in values.items():
        checked = _checked(name, array)
        if set(np.unique(checked)) <= {0.0, 1.0}:
            found[name] = _wilson(int(checked.sum()), len(checked), level)
        else:
            found[name] = _resampled(checked, resamples, level, [seed, zlib.crc32(name.encode())])
    for key, names in averages.items():
        if names:
            found[key] = _average([found[name] for name in names])
    return found


def _wilson(hits: int, total: int, level: float) -> Interval:
    """The interval of a share."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = hits / total
    middle = share + z**2 / (2 * total)
    reach = z * math.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    low, high = ((middle + side * reach) / (1 + z**2 / total) for side in (-1, 1))
    # Where nothing or everything is hit, an end is the share itself, but for rounding.
    return Interval(share, min(share, max(0.0, low)), max(share, min(1.0, high)))


def _average(tasks: Sequence[Interval]) -> Interval:
    """The interval of the mean of independent tasks; that of a single one is its own."""
    if len(tasks) == 1:
        return tasks[0]
    mean = sum(task.mean for task in tasks) / len(tasks)
    below = math.hypot(*(task.mean - task.low for task in tasks)) / len(tasks)
    above = math.hypot(*(task.high - task.mean for task in tasks)) / len(tasks)
    return Interval(mean, mean - below, mean + above)


def _resampled(
    values: npt.NDArray[np.float64], resamples: int, level: float, seed: Sequence[int]
) -> Interval:
    """The percentile interval of the bootstrap."""
    drawn = _means(values, resamples, np.random.default_rng(seed))
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(values.mean()), float(low), float(high))


def _means(
    values: npt.NDArray[np.float64], resamples: int, random: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Means of `resamples` draws of `n` of the values with replacement, `(resamples,)`.

    How often each distinct value is drawn is multinomial, and there are few of them.
    """
    distinct, counts = np.unique(values, return_counts=True)
    rows = max(1, _CHUNK // len(distinct))
    sizes = [min(rows, resamples - start) for start in range(0, resamples, rows)]
    shares = counts / len(values)
    drawn = [random.multinomial(len(values), shares, size=size) @ distinct for size in sizes]
    return np.concatenate(drawn) / len(values)


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
