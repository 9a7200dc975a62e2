"""Two sets of scores side by side, with the paired t-test over tasks of the VLM2Vec-V2 paper, section A.5."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from vlm2vec.errors import InputError
from vlm2vec.mmeb.averages import MODALITIES, OVERALL, TaskGroup, groups, members, summarize
from vlm2vec.mmeb.published import PublishedScores, published
from vlm2vec.mmeb.published.scores import version_of
from vlm2vec.mmeb.tasks import list_tasks

__all__ = ["Comparison", "MeanDifference", "TaskDifference", "compare"]

_ALIKE = 1e-9  # of percentages: differences that spread by less have no variance to test against
_SHOWN = 6  # names of tasks in a line


@dataclass(frozen=True)
class TaskDifference:
    """One task on both sides, in percentages.

    Attributes:
        task: Its name.
        first: Score of the first.
        second: Score of the second.
        note: What is odd about the published one of the two; "" for nothing.
    """

    task: str
    first: float
    second: float
    note: str = ""

    @property
    def difference(self) -> float:
        """First minus second."""
        return self.first - self.second


@dataclass(frozen=True)
class MeanDifference:
    """One average on both sides, over the tasks that are compared.

    Attributes:
        average: As `summarize` names it.
        tasks: How many are compared.
        of: How many the average has.
        first: Mean of the first, a percentage.
        second: Mean of the second.
        t: Of the paired t-test over the tasks; NaN with fewer than two, or where all differ by the same.
        p: Two-sided; NaN like `t`.
    """

    average: str
    tasks: int
    of: int
    first: float
    second: float
    t: float
    p: float

    @property
    def difference(self) -> float:
        """First minus second."""
        return self.first - self.second

    @property
    def stars(self) -> str:
        """As in the paper's Table 8: `*` for p < 0.05, `**` for p < 0.01, `***` for p < 0.001."""
        return "*" * sum(self.p < bound for bound in (0.05, 0.01, 0.001))


@dataclass(frozen=True)
class Comparison:
    """Two sets of scores; `str()` of it is a table of the averages, `per_task()` one of the tasks.

    Attributes:
        first: What the first is, its version included.
        second: What the second is.
        sources: Where the published of the two come from.
        tasks: Task -> both scores, in the order of the benchmark.
        means: Average -> both means.
        left_out: Task that only one side has, or whose data differ between them -> why it is not compared.
    """

    first: str
    second: str
    sources: tuple[str, ...]
    tasks: Mapping[str, TaskDifference]
    means: Mapping[str, MeanDifference]
    left_out: Mapping[str, str]

    def __str__(self) -> str:
        overall = self.means[OVERALL]
        lines = [f"{self.first} against {self.second}: {overall.tasks} of {overall.of} tasks", ""]
        lines.append(f"{'average':<16}{'tasks':>8}{'first':>8}{'second':>8}{'difference':>12}{'p':>9}")
        for key, mean in self.means.items():
            name = key if key in (*MODALITIES, OVERALL) else f"  {key}"
            count = str(mean.tasks) if mean.tasks == mean.of else f"{mean.tasks}/{mean.of}"
            p = "" if math.isnan(mean.p) else "<0.001" if mean.p < 0.001 else f"{mean.p:.3f}"
            line = f"{name:<16}{count:>8}{mean.first:>8.2f}{mean.second:>8.2f}{mean.difference:>+12.2f}{p:>9}"
            lines.append(f"{line} {mean.stars}".rstrip())
        lines += ["", "p: paired t-test over tasks; * < 0.05, ** < 0.01, *** < 0.001"]
        lines += [f"source: {source}" for source in self.sources]
        return "\n".join([*lines, *self._left_out()])

    def per_task(self) -> str:
        """A table of the tasks, the largest gain first."""
        width = max(map(len, self.tasks))
        lines = [f"{'task':<{width}}{'first':>8}{'second':>8}{'difference':>12}"]
        for row in sorted(self.tasks.values(), key=lambda row: -row.difference):
            line = f"{row.task:<{width}}{row.first:>8.2f}{row.second:>8.2f}{row.difference:>+12.2f}"
            lines.append(f"{line}  {row.note}".rstrip())
        return "\n".join([*lines, "", *self._left_out()]).rstrip()

    def _left_out(self) -> list[str]:
        reasons: dict[str, list[str]] = {}
        for task, reason in self.left_out.items():
            reasons.setdefault(reason, []).append(task)
        return [f"left out, {reason}: {_listed(names)}" for reason, names in reasons.items()]


def compare(
    first: Mapping[str, float] | PublishedScores | str,
    second: Mapping[str, float] | PublishedScores | str,
    *,
    version: str | None = None,
    data: str = "newest",
    model: str = "first",
    baseline: str = "second",
    tasks: Collection[TaskGroup] | None = None,
) -> Comparison:
    """Compares two sets of scores task by task.

    Tasks that only one side has, or whose data are not the same on both, count in no mean and no test.

    Args:
        first: Task -> percentage, or what was published for a model: `published(...)` or its name.
        second: The same; differences are first minus second.
        version: Of the published scores that are given by name; `published` has the default.
        data: The version on whose data scores that are given as a mapping were measured: `"newest"` has fixed
            page labels and 1,602 queries of MomentSeeker.
        model: What to call the first if it is a mapping.
        baseline: What to call the second if it is a mapping.
        tasks: Of the benchmark; the 78 of MMEB-V2 if not given.

    Raises:
        InputError: A task, model or version is unknown, or no task can be compared.

    Example:
        >>> found = compare("VLM2Vec-V2.0", "GME-2B", version="table6")
        >>> mean = found.means["image"]
        >>> print(f"{mean.difference:+.2f}{mean.stars}")
        +12.97***
    """
    sides = [published(side, version) if isinstance(side, str) else side for side in (first, second)]
    scores = [side.scores if isinstance(side, PublishedScores) else side for side in sides]
    labels = [
        f"{side.name} ({side.version})" if isinstance(side, PublishedScores) else name
        for side, name in zip(sides, (model, baseline), strict=True)
    ]
    versions = [version_of(side.version if isinstance(side, PublishedScores) else data) for side in sides]
    quoted = [side for side in sides if isinstance(side, PublishedScores)]

    if quoted and any(task.name in score for score in scores for task in list_tasks("mini")):
        raise InputError(
            "published scores are of the 78 tasks, these are of the mini suite",
            fix="Compare two results of the mini suite with each other.",
        )
    compared: dict[str, TaskDifference] = {}
    left_out: dict[str, str] = {}
    for score in scores:
        members(score, tasks=tasks)  # names are those of the benchmark
    for task in groups(tasks)[OVERALL]:
        has = [task in score for score in scores]
        sets = [known.data(task) for known in versions]
        if all(has) and sets[0] != sets[1]:
            left_out[task] = f"other data ({sets[0]} against {sets[1]})"
        elif all(has):
            # What is odd about both sides alike is no matter of their difference.
            notes = {side.notes.get(task, "") for side in quoted}
            note = "" if len(quoted) == 2 and len(notes) == 1 else "; ".join(sorted(notes - {""}))
            compared[task] = TaskDifference(task, scores[0][task], scores[1][task], note)
        elif any(has):
            left_out[task] = f"no score of {labels[has.index(False)]}"
    if not compared:
        raise InputError(
            "no task can be compared", fix="Give scores that have tasks and their data in common."
        )
    return Comparison(
        first=labels[0],
        second=labels[1],
        sources=tuple(f"{side.name} ({side.version}), {side.source}" for side in quoted),
        tasks=MappingProxyType(compared),
        means=MappingProxyType(_means(compared, tasks)),
        left_out=MappingProxyType(left_out),
    )


def _means(
    compared: Mapping[str, TaskDifference], tasks: Collection[TaskGroup] | None
) -> dict[str, MeanDifference]:
    first = {task: row.first for task, row in compared.items()}
    second = {task: row.second for task, row in compared.items()}
    means = summarize(first, tasks=tasks), summarize(second, tasks=tasks)
    total = groups(tasks)
    found = {}
    for key, names in members(compared, tasks=tasks).items():
        if names:
            t, p = _paired(
                [compared[name].first for name in names], [compared[name].second for name in names]
            )
            found[key] = MeanDifference(key, len(names), len(total[key]), means[0][key], means[1][key], t, p)
    return found


def _paired(first: list[float], second: list[float]) -> tuple[float, float]:
    from scipy import stats  # type: ignore[import-untyped]

    if len(first) < 2 or np.ptp(np.subtract(first, second)) < _ALIKE:
        return math.nan, math.nan
    test = stats.ttest_rel(first, second)
    return float(test.statistic), float(test.pvalue)


def _listed(names: list[str]) -> str:
    """The names, or the first of many and how many more."""
    if len(names) <= _SHOWN:
        return ", ".join(names)
    return f"{', '.join(names[:_SHOWN])} and {len(names) - _SHOWN} more"
