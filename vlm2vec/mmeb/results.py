"""`Results`: scores of a model, by task and in the mean; and the leaderboard's file of them."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vlm2vec.arguments import possible_path
from vlm2vec.errors import InputError
from vlm2vec.mmeb.averages import summarize
from vlm2vec.mmeb.bootstrap import Interval, bootstrap_intervals
from vlm2vec.mmeb.comparison import Comparison, compare
from vlm2vec.mmeb.own_scores import OwnScores, own_scores
from vlm2vec.mmeb.plots import plot_averages, plot_tasks
from vlm2vec.mmeb.published import published
from vlm2vec.mmeb.score_table import score_table
from vlm2vec.mmeb.task_result import StaleResultError, TaskResult
from vlm2vec.mmeb.tasks import Task, get_task, list_tasks
from vlm2vec.sameness import digest_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["METADATA", "Results", "submission", "write_submission"]


@dataclass(frozen=True)
class Results:
    """What came of an evaluation; `str()` of it is a table.

    Attributes:
        model: Its name.
        tasks: What came of each task.
        folder: Where they were loaded from; `None` for those that were not.
    """

    model: str
    tasks: tuple[TaskResult, ...]
    folder: Path | None = field(default=None, compare=False)

    @classmethod
    def load(cls, output_dir: str | os.PathLike[str], *, name: str = "") -> Results:
        """Results that `evaluate` kept in a folder.

        Args:
            output_dir: As `evaluate` was given it.
            name: What to call the model.

        Raises:
            InputError: There are none.
            StaleResultError: They are of several models, or only some are of the original's mistakes.
        """
        files = sorted((possible_path(output_dir) / "tasks").glob("*.json"))
        found = [result for file in files if (result := TaskResult.load(file)) is not None]
        if not found:
            raise InputError(
                "there are no results", fix="Pass the output_dir (--output) of a run.", source=str(output_dir)
            )
        runs = {digest_of([result.made_of["model"], result.made_of["compat"]]): result for result in found}
        if len(runs) > 1:
            raise StaleResultError(
                f"results of different models or settings lie together, "
                f"as of {' and '.join(result.task for result in runs.values())}",
                fix='Evaluate again with on_stale="recompute" (--recompute).',
                source=str(output_dir),
            )
        order = {task.name: index for index, task in enumerate(list_tasks(["all", "mini"]))}
        found.sort(key=lambda result: order.get(result.task, len(order)))
        return cls(name or found[0].model, tuple(found), Path(output_dir))

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
        names = {result.task for result in self.tasks}
        for suite in ("all", "mini"):
            tasks = list_tasks(suite)
            if names <= {task.name for task in tasks}:
                return tasks
        return [get_task(result.task) for result in self.tasks]

    def to_pandas(self) -> pd.DataFrame:
        """A row for each task: `score`, `queries`, `candidates`, `failures`, `seconds`, and all metrics."""
        import pandas as pd

        rows = [
            {
                "task": result.task,
                "modality": get_task(result.task).modality,
                "meta_task": get_task(result.task).meta_task,
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

    @property
    def settings(self) -> Mapping[str, str]:
        """How the model was run, in words, by name; empty for a model that does not say."""
        return self.tasks[0].settings

    @property
    def own(self) -> OwnScores | None:
        """What was published for this model, on the same tasks and data; `None` where nothing was."""
        return own_scores(self.model, self.scores, data=self.data_version)

    def compare(self, other: str | Results | None = None, *, version: str | None = None) -> Comparison:
        """These scores beside published ones or those of another run, task by task, with a paired t-test.

        Args:
            other: One of `published_names()`, or results of the same benchmark; by default what was published
                for this model, by its name.
            version: Which publication of its scores.

        Raises:
            InputError: There is no such model, or the tasks or data are not the same.
        """
        other = self.model if other is None else other
        if isinstance(other, str):
            return compare(self.scores, other, version=version, data=self.data_version, model=self.model)
        if other.compat != self.compat:
            raise InputError("one of both was scored with compat", fix="Compare results of the same data.")
        return compare(
            self.scores,
            other.scores,
            data=self.data_version,
            model=self.model,
            baseline=other.model,
            tasks=self.benchmark,
        )

    @property
    def data_version(self) -> str:
        """The publication whose queries and labels these scores are of."""
        return "v2.0.0" if self.compat == "v2.0" else "newest"

    @property
    def compat(self) -> str | None:
        """Whose mistakes are in the scores."""
        found: str | None = self.tasks[0].made_of["compat"]
        return found

    @property
    def written(self) -> datetime | None:
        """When the newest of the files that they were loaded from was written, in UTC."""
        if self.folder is None:
            return None
        files = [self.folder / "tasks" / f"{result.task}.json" for result in self.tasks]
        times = [file.stat().st_mtime for file in files if file.is_file()]
        return datetime.fromtimestamp(max(times), UTC) if times else None

    def intervals(self, *, level: float = 0.95) -> dict[str, Interval]:
        """How far tasks and means could be from what they are with other queries, in percent.

        Of hits it is Wilson's interval, of other metrics the bootstrap's.

        Args:
            level: How sure it is that a score lies between the ends, from 0 to 1.
        """
        values = {result.task: result.per_query for result in self.tasks}
        found = bootstrap_intervals(values, tasks=self.benchmark, level=level)
        return {name: interval.times(100) for name, interval in found.items()}

    def plot(
        self,
        path: str | os.PathLike[str],
        *,
        against: Sequence[str] = (),
        kind: Literal["averages", "tasks"] = "averages",
        version: str | None = None,
    ) -> None:
        """Draw the results, beside published ones.

        Args:
            path: The picture; its suffix says the format: `.png`, `.svg`, `.pdf`.
            against: Names of published models.
            kind: "averages" draws bars by meta-task and modality, "tasks" a map of all tasks.
            version: Which publication of scores.

        Raises:
            InputError: matplotlib is not installed, there is no such model or kind, or none was scored on the
                mini suite.
        """
        if kind not in ("averages", "tasks"):
            raise InputError(f"there is no kind of picture {kind!r}", fix='Take "averages" or "tasks".')
        scores = {self.model: self.scores}
        for name in against:
            known = published(name, version)
            if not known.scores.keys() & self.scores.keys():
                raise InputError(
                    f"{known.name}: nothing was published for the tasks of these results",
                    fix="Leave against= out.",
                )
            scores[f"{known.name} ({known.version})"] = dict(known.scores)
        if kind == "tasks":
            plot_tasks(scores, [result.task for result in self.tasks], path)
            return
        # Means of others are over the same tasks.
        same = [{task: row[task] for task in self.scores if task in row} for row in scores.values()]
        means = [summarize(row, tasks=self.benchmark) for row in same]
        plot_averages(dict(zip(scores, means, strict=True)), path)

    def report(self, path: str | os.PathLike[str], **settings: Any) -> None:
        """Deprecated name of `vlm2vec.mmeb.write_report(results, path)`."""
        from vlm2vec.mmeb.show import write_report

        warnings.warn(
            "Results.report goes in vlm2vec 0.3: call vlm2vec.mmeb.write_report(results, path)",
            DeprecationWarning,
            stacklevel=2,
        )
        write_report(self, path, **settings)

    def save(self, path: str | os.PathLike[str], **metadata: Any) -> None:
        """Write the leaderboard's file.

        Args:
            path: The file.
            **metadata: What it says of the model: `model_size`, `url`, ...

        Raises:
            InputError: None of the 78 tasks has a result, or the scores have the original's mistakes: the
                leaderboard's page tasks have labels that are right.
        """
        if self.compat is not None:
            raise InputError(f'these are scores with compat="{self.compat}"', fix="Evaluate without compat.")
        if not {task.name for task in list_tasks("all")} & set(self.scores):
            raise InputError(
                "there are no tasks of the leaderboard",
                fix='Evaluate tasks="all" (-t all), or some of these.',
            )
        content = submission(self.model, self.tasks, metadata)
        write_submission({**content, "settings": dict(self.settings)} if self.settings else content, path)

    def __str__(self) -> str:
        return score_table(self.model, self.tasks, benchmark=self.benchmark, own=self.own)


METADATA = (
    *("model_name", "model_backbone", "model_size", "embedding_dimension", "max_length_tokens"),
    *("model_release_date", "data_source", "url"),
)
"""What the leaderboard wants to know of a model (TIGER-AI-Lab/VLM2Vec, report_score_v2.py)."""

_MISSING = "FILE_N/A"


def submission(name: str, results: Iterable[TaskResult], metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The file's content; a task without a result is marked as the original marks it.

    Args:
        name: Of the model.
        results: Of its tasks.
        metadata: Any of `METADATA`.

    Raises:
        InputError: A name in the metadata is unknown.
    """
    if unknown := set(metadata) - set(METADATA):
        raise InputError(
            f"unknown metadata: {', '.join(sorted(unknown))}", fix=f"There are {', '.join(METADATA)}."
        )
    by_task = {result.task: result for result in results}
    metrics: dict[str, dict[str, Any]] = {"image": {}, "video": {}, "visdoc": {}}
    for task in list_tasks("all"):
        result = by_task.get(task.name)
        metrics[task.modality][task.submission_name] = _MISSING if result is None else _scores(result)
    about = {"model_name": name, "data_source": "Self-Reported", **metadata}
    return {
        "metadata": {
            **{key: about.get(key) for key in METADATA},
            "report_generated_date": datetime.now(UTC).isoformat(timespec="seconds"),
        },
        "metrics": metrics,
    }


def write_submission(content: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write it where the leaderboard's upload expects a file."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _scores(result: TaskResult) -> dict[str, Any]:
    return {**result.scores, "num_pred": result.queries, "num_data": result.queries}
