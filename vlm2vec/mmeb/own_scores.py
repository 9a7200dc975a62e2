"""`own_scores`: what was published for the very model that was scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vlm2vec.errors import InputError
from vlm2vec.mmeb.averages import coverage
from vlm2vec.mmeb.comparison import compare
from vlm2vec.mmeb.published.means import known_as, published_means
from vlm2vec.mmeb.published.scores import published_names
from vlm2vec.mmeb.tasks import list_tasks

__all__ = ["OwnScores", "own_scores"]


@dataclass(frozen=True)
class OwnScores:
    """Published scores of a model, as far as they are of the same tasks and data as scores of it.

    Attributes:
        name: What the model is called among published ones.
        source: The name, and where the numbers come from.
        tasks: Task -> percentage; empty where averages alone were published.
        means: Average -> percentage, over the same tasks.
    """

    name: str
    source: str
    tasks: Mapping[str, float]
    means: Mapping[str, float]


def own_scores(model: str, scores: Mapping[str, float], *, data: str = "newest") -> OwnScores | None:
    """What was published for a model that was scored, or `None` where there is nothing to stand beside.

    Args:
        model: Its name, its folder's or its repository's on the hub.
        scores: Task -> percentage, of it.
        data: The version on whose data they were measured.

    Example:
        >>> found = own_scores("GME-2B", {"K700": 30.0, "MSVD": 50.0})
        >>> found.tasks["K700"], round(found.means["video"], 2)
        (34.9, 41.11)
        >>> own_scores("mine", {"K700": 30.0}) is None
        True
    """
    name = known_as(model)
    known = {task.name for task in list_tasks("all")}
    scores = {task: score for task, score in scores.items() if task in known}
    if name is None or not scores:
        return None
    counts = coverage(scores)
    if name not in published_names():
        found = published_means(name)
        whole = {average for average, (present, of) in counts.items() if present == of}
        means = {average: mean for average, mean in found.means.items() if average in whole}
        return OwnScores(name, f"{name}, {found.source}", {}, means) if means and data == "newest" else None
    try:
        beside = compare(scores, name, version=data, data=data)
    except InputError:  # none of these tasks was scored on the same data
        return None
    same = [mean for mean in beside.means.values() if mean.tasks == counts[mean.average][0]]
    return OwnScores(
        name,
        beside.sources[0],
        tasks={task: row.second for task, row in beside.tasks.items()},
        means={mean.average: mean.second for mean in same},
    )
