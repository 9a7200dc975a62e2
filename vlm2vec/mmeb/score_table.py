"""`score_table`: results as lines of text, with published scores of the same model beside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vlm2vec.mmeb.averages import coverage, summarize
from vlm2vec.mmeb.own_scores import OwnScores
from vlm2vec.mmeb.task_result import TaskResult
from vlm2vec.mmeb.tasks import Task

__all__ = ["score_table"]


def score_table(
    model: str, results: Sequence[TaskResult], *, benchmark: Sequence[Task], own: OwnScores | None
) -> str:
    """How the model was run, then a line for each task, then one for each mean.

    Args:
        model: Its name.
        results: Of its tasks.
        benchmark: The tasks that means are over.
        own: What was published for it.
    """
    scores = {result.task: result.percentage for result in results}
    means, counts = summarize(scores, tasks=benchmark), coverage(scores, tasks=benchmark)
    width = max(len(name) for name in [*scores, *means])
    compat = results[0].made_of["compat"]
    mistakes = f", with the original's mistakes (compat={compat})" if compat else ""
    lines = [f"{model}{mistakes}"]
    lines += [f"{name}: {value}" for name, value in results[0].settings.items()]
    if own is not None:
        lines.append(f"published: {own.source}")
    lines.append("")
    tasks, averages = ({}, {}) if own is None else (own.tasks, own.means)
    lines += [
        f"{result.task:<{width}}  {result.percentage:6.2f}  {result.metric}, {_queries(result)}"
        f"{_beside(tasks, result.task)}"
        for result in results
    ]
    lines.append("")
    lines += [
        f"{name:<{width}}  {mean:6.2f}  {_how_many(counts, name)}{_beside(averages, name)}"
        for name, mean in means.items()
    ]
    return "\n".join(lines)


def _queries(result: TaskResult) -> str:
    of = "" if result.queries == result.expected_queries else f" of {result.expected_queries:,}"
    failed = f", {len(result.failures)} samples failed" if result.failures else ""
    return f"{result.queries:,}{of} queries{failed}"


def _how_many(counts: Mapping[str, tuple[int, int]], name: str) -> str:
    present, of = counts[name]
    if present < of:
        return f"mean of {present} of {of} tasks"
    return "its one task" if of == 1 else f"mean of {of} tasks"


def _beside(published: Mapping[str, float], name: str) -> str:
    return f", published {published[name]:.2f}" if name in published else ""
