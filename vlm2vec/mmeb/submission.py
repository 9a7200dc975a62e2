"""The leaderboard's file: all metrics of all tasks, and what the model is."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vlm2vec.errors import InputError
from vlm2vec.mmeb.task_result import TaskResult
from vlm2vec.mmeb.tasks import list_tasks

__all__ = ["METADATA", "submission", "write_submission"]

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
