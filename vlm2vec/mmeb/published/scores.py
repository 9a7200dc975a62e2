"""`published`: the scores of one model in one publication."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from vlm2vec.mmeb.published.names import model_name, published_names
from vlm2vec.mmeb.published.versions import version_of

__all__ = ["PublishedScores", "published", "table"]


@dataclass(frozen=True)
class PublishedScores:
    """What was published for one model.

    Attributes:
        name: Of the model.
        version: Of the publication.
        source: Where the numbers come from, and what is odd about them.
        scores: Task -> percentage.
        notes: Task -> what is odd about its score; most tasks have none.
    """

    name: str
    version: str
    source: str
    scores: Mapping[str, float]
    notes: Mapping[str, str]


# Versions, models and tasks that a remark is about; empty for all versions or models.
_NOTES: tuple[tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], str], ...] = (
    (
        (),
        (),
        ("ViDoRe_esg_reports_human_labeled_v2", "ViDoSeek-doc", "MMLongBench-doc"),
        "the original code gave the grades to the wrong pages: a correct NDCG differs",
    ),
    ((), ("VLM2Vec-2B", "VLM2Vec-7B", "VLM2Vec-V2.0"), ("NExTQA",), "at chance level, cause unknown"),
    (("newest",), (), ("ViDoSeek-doc", "MMLongBench-doc"), "of v2.0.1: the newest files lack it"),
    (("table6",), (), ("MomentSeeker",), "of v2.0.1, on 1,602 queries; the other tasks are of v2.0.0"),
    (("table6",), ("VLM2Vec-V2.0",), ("ScienceQA",), "in no score file"),
    (("table6",), ("VLM2Vec-7B",), ("VisRAG_PlotQA",), "in no score file"),
)

# Largest change of a visual document task from v2.0.0 to v2.0.1 on the same queries, in points.
_UNSTABLE = {"LamRA-Qwen2": 25, "VLM2Vec-2B": 43, "VLM2Vec-7B": 61}


def published(name: str, version: str | None = None) -> PublishedScores:
    """The scores that were published for a model.

    Args:
        name: Of the model: one of `published_names`, or as the score files or the hub call it.
        version: `"table6"`, `"v2.0.0"`, `"v2.0.1"`, `"v2.1"` or `"newest"`. The default is `"newest"`, the
            only one that has all 78 tasks on the data that are public now: fixed page labels, MomentSeeker
            without duplicates. What `"v2.1"` lacks it takes from v2.0.1.

    Raises:
        InputError: There is no such model or version.

    Example:
        >>> found = published("VLM2Vec/VLM2Vec-V2.0")
        >>> found.version, len(found.scores), found.scores["ImageNet-1K"]
        ('newest', 78, 80.8)
        >>> found.notes["NExTQA"]
        'at chance level, cause unknown'
    """
    model = model_name(name)
    known = version_of(version or "newest")
    notes: dict[str, str] = {}
    for versions, models, tasks, note in _NOTES:
        if known.name in (versions or (known.name,)) and model in (models or (model,)):
            for task in tasks:
                notes[task] = f"{notes[task]}; {note}" if task in notes else note
    source = known.source
    if model in _UNSTABLE and known.name in {"v2.0.1", "v2.1", "newest"}:
        source += f"; visual documents differ from v2.0.0 by up to {_UNSTABLE[model]} points, cause unknown"
    scores = table(known.name)[model]
    return PublishedScores(
        name=model,
        version=known.name,
        source=source,
        scores=MappingProxyType(scores),
        notes=MappingProxyType({task: note for task, note in notes.items() if task in scores}),
    )


@cache
def table(version: str) -> dict[str, dict[str, float]]:
    """Model -> task -> percentage, of a publication by its own name."""
    if version == "newest":
        older, newer = table("v2.0.1"), table("v2.1")
        return {
            model: {task: newer[model].get(task, older[model][task]) for task in older[model]}
            for model in newer
        }
    rows = read("table6.csv") if version == "table6" else _of_folder(version)
    return {model: {row["task"]: float(row[model]) for row in rows} for model in published_names()}


def _of_folder(version: str) -> list[dict[str, str]]:
    # The folder's name goes on after its version. Its extra rows, an older MomentSeeker, are no task.
    return [
        row
        for row in read("score_files.csv")
        if f"{row['version']}-".startswith(f"{version}-") and row["meta_task"] != "(extra)"
    ]


def read(name: str) -> list[dict[str, str]]:
    """The rows of a table of facts beside this file."""
    return list(csv.DictReader(files(__package__).joinpath(name).read_text(encoding="utf-8").splitlines()))
