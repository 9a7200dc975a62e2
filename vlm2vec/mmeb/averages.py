"""Averages as the paper takes them: unweighted means over tasks."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from numbers import Real
from typing import Protocol

from vlm2vec.arguments import close_match
from vlm2vec.errors import InputError

__all__ = ["MODALITIES", "OVERALL", "TaskGroup", "coverage", "groups", "members", "summarize"]

MODALITIES = ("image", "video", "visdoc")
OVERALL = "overall"


class TaskGroup(Protocol):
    """What an average needs to know of a task: `vlm2vec.mmeb.list_tasks()` returns such objects."""

    @property
    def name(self) -> str:
        """As in the scores."""

    @property
    def modality(self) -> str:
        """The third of the benchmark that it counts in."""

    @property
    def meta_task(self) -> str:
        """Its group within the modality."""


def groups(tasks: Collection[TaskGroup] | None = None) -> dict[str, tuple[str, ...]]:
    """The task names that each average is taken over.

    Args:
        tasks: Of a benchmark; the 78 of MMEB-V2 if not given.

    Returns:
        Average -> task names: the modalities, `"overall"`, then the meta-tasks as they come.

    Example:
        >>> groups()["I-VG"]
        ('MSCOCO', 'RefCOCO', 'RefCOCO-Matching', 'Visual7W-Pointing')
    """
    found: dict[str, list[str]] = {key: [] for key in (*MODALITIES, OVERALL)}
    for task in _benchmark() if tasks is None else tasks:
        for key in (task.modality, OVERALL, task.meta_task):
            found.setdefault(key, []).append(task.name)
    return {key: tuple(names) for key, names in found.items()}


def members(
    scored: Collection[str], *, tasks: Collection[TaskGroup] | None = None
) -> dict[str, tuple[str, ...]]:
    """The tasks of each average that have a score, in the order of `groups`.

    Raises:
        InputError: A task is unknown.

    Example:
        >>> members({"K700": 40.0})["video"]
        ('K700',)
    """
    known = groups(tasks)
    for task in scored:
        if task not in known[OVERALL]:
            close = close_match(task, known[OVERALL])
            raise InputError(
                f"there is no task {task!r}",
                fix=f"Did you mean {close!r}?" if close else "`vlm2vec mmeb list` has all tasks.",
            )
    return {key: tuple(name for name in names if name in scored) for key, names in known.items()}


def summarize(scores: Mapping[str, float], *, tasks: Collection[TaskGroup] | None = None) -> dict[str, float]:
    """Means over tasks: of each modality, of all, and of each meta-task.

    A task counts once whatever its number of queries, and a modality is the mean of its tasks, not of its
    meta-tasks. Where tasks are missing, the mean is over those that are there, and an average without any
    task is left out: `coverage` tells which averages are complete.

    Args:
        scores: Task -> percentage.
        tasks: Of the benchmark; the 78 of MMEB-V2 if not given.

    Returns:
        Average -> percentage, in the order of `groups`.

    Raises:
        InputError: A task is unknown, or a score is no percentage.

    Example:
        >>> summarize({"MSCOCO": 60.0, "RefCOCO": 80.0, "K700": 40.0})
        {'image': 70.0, 'video': 40.0, 'overall': 60.0, 'I-VG': 70.0, 'V-CLS': 40.0}
    """
    scored = members(scores, tasks=tasks)
    for task, score in scores.items():
        if not isinstance(score, Real) or not 0 <= score <= 100:
            raise InputError(
                f"the score {score!r} of task {task!r} is no percentage",
                fix="Leave out tasks that have no score, and give the others as 0 to 100.",
            )
    return {
        key: math.fsum(scores[name] for name in names) / len(names) for key, names in scored.items() if names
    }


def coverage(
    scores: Mapping[str, float], *, tasks: Collection[TaskGroup] | None = None
) -> dict[str, tuple[int, int]]:
    """How many tasks of each average have a score: an average is partial where the two numbers differ.

    Args:
        scores: Task -> percentage.
        tasks: Of the benchmark; the 78 of MMEB-V2 if not given.

    Returns:
        Average -> (tasks with a score, tasks), in the order of `groups`, averages without any included.

    Raises:
        InputError: A task is unknown.

    Example:
        >>> coverage({"MSCOCO": 60.0, "RefCOCO": 80.0})["image"]
        (2, 36)
    """
    total = groups(tasks)
    return {key: (len(names), len(total[key])) for key, names in members(scores, tasks=tasks).items()}


def _benchmark() -> Collection[TaskGroup]:
    from vlm2vec.mmeb.tasks import list_tasks

    return list_tasks()
