"""`Results`: scores of a model, by task and in the mean."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlm2vec.errors import InputError
from vlm2vec.mmeb.averages import coverage, summarize
from vlm2vec.mmeb.comparison import Comparison, compare
from vlm2vec.mmeb.submission import submission, write_submission
from vlm2vec.mmeb.task_result import TaskResult
from vlm2vec.mmeb.tasks import Task, list_tasks

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Results"]


@dataclass(frozen=True)
class Results:
    """What came of an evaluation; `str()` of it is a table.

    Attributes:
        model: Its name.
        tasks: What came of each task.
    """

    model: str
    tasks: tuple[TaskResult, ...]

    @classmethod
    def load(cls, output_dir: str | os.PathLike[str], *, name: str = "") -> Results:
        """Results that `evaluate` kept in a folder.

        Args:
            output_dir: As `evaluate` was given it.
            name: What to call the model.

        Raises:
            InputError: There are none.
        """
        files = sorted((Path(output_dir) / "tasks").glob("*.json"))
        found = tuple(result for file in files if (result := TaskResult.load(file)) is not None)
        if not found:
            raise InputError(
                "there are no results", fix="Pass the output_dir of a run.", source=str(output_dir)
            )
        return cls(name or Path(output_dir).name, found)

    @property
    def scores(self) -> dict[str, float]:
        """The headline metric of each task, from 0 to 100."""
        return {result.task: result.percentage for result in self.tasks}

    def summary(self) -> dict[str, float]:
        """Means over the tasks that there are: of each meta-task and modality, and `overall`."""
        return summarize(self.scores, tasks=self.benchmark)

    @property
    def benchmark(self) -> list[Task]:
        """The tasks that means are over, of which there may be fewer here."""
        mini = list_tasks("mini")
        drawn = {task.name for task in mini} & {result.task for result in self.tasks}
        if not drawn:
            return list_tasks("all")
        return mini if len(drawn) == len(self.tasks) else [*list_tasks("all"), *mini]

    def to_pandas(self) -> pd.DataFrame:
        """A row for each task: `score`, `queries`, `candidates`, `failures`, `seconds`, and all metrics."""
        import pandas as pd

        rows = [
            {
                "task": result.task,
                "score": result.percentage,
                "metric": result.metric,
                "queries": result.queries,
                "candidates": result.candidates,
                "failures": len(result.failures),
                "seconds": result.seconds,
                **result.scores,
            }
            for result in self.tasks
        ]
        return pd.DataFrame(rows).set_index("task")

    def compare(self, name: str, *, version: str | None = None) -> Comparison:
        """These scores beside published ones, task by task, with a paired t-test.

        Args:
            name: One of `published_names()`.
            version: Which publication of its scores.
        """
        return compare(self.scores, name, version=version, model=self.model)

    def save(self, path: str | os.PathLike[str], **metadata: Any) -> None:
        """Write the leaderboard's file.

        Args:
            path: The file.
            **metadata: What it says of the model: `model_size`, `url`, ...
        """
        write_submission(submission(self.model, self.tasks, metadata), path)

    def __str__(self) -> str:
        return _table(self)


def _table(results: Results) -> str:
    means, counts = results.summary(), coverage(results.scores, tasks=results.benchmark)
    width = max(len(result.task) for result in results.tasks)
    lines = [results.model, ""]
    lines += [
        f"{result.task:<{width}}  {result.percentage:6.2f}  {result.metric}, {result.queries:,} queries"
        + (f", {len(result.failures)} samples failed" if result.failures else "")
        for result in results.tasks
    ]
    lines.append("")
    lines += [f"{name:<{width}}  {mean:6.2f}  {_how_many(counts, name)}" for name, mean in means.items()]
    return "\n".join(lines)


def _how_many(counts: Mapping[str, tuple[int, int]], name: str) -> str:
    present, of = counts[name]
    return f"mean of {present} tasks" if present == of else f"mean of {present} of {of} tasks"
