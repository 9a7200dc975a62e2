"""`published`: the scores of one model in one publication; which models and publications there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from vlm2vec.arguments import close_match
from vlm2vec.errors import InputError
from vlm2vec.mmeb.published.reported import reported_name
from vlm2vec.mmeb.published.tables import read

__all__ = [
    "model_name",
    "published_names",
    "Version",
    "version_names",
    "version_of",
    "PublishedScores",
    "published",
    "table",
]

# The columns of the tables. Aliases: name of the score file, of the repository on the hub, of Table 2.
_MODELS = {
    "ColPali v1.3": ("colpali-v1.3", "ColPali", "ColPali v1.3 (3B)"),
    "GME-2B": ("gme-Qwen2-VL-2B-Instruct", "GME (2B)"),
    "GME-7B": ("gme-Qwen2-VL-7B-Instruct", "GME (7B)"),
    "LamRA-Qwen2": ("LamRA-Ret", "LamRA-Qwen2 (7B)"),
    "LamRA-Qwen2.5": ("LamRA-Ret-Qwen2.5VL-7b", "LamRA-Qwen2.5 (7B)"),
    "VLM2Vec-2B": ("VLM2Vec-V1-Qwen2VL-2B", "VLM2Vec-Qwen2VL-2B", "VLM2Vec-Qwen2VL (2B)"),
    "VLM2Vec-7B": ("VLM2Vec-V1-Qwen2VL-7B", "VLM2Vec-Qwen2VL-7B", "VLM2Vec-Qwen2VL (7B)"),
    "VLM2Vec-V2.0": ("VLM2Vec-V2.0-Qwen2VL-2B", "VLM2Vec-V2", "VLM2Vec-V2 (2B)"),
}
_NAMES = {
    alias.lower(): name for name, aliases in _MODELS.items() for alias in (name, *aliases)
}  # without regard to case


def published_names() -> list[str]:
    """The models whose scores were published, in the order of the paper's Table 6.

    Example:
        >>> published_names()[-1]
        'VLM2Vec-V2.0'
    """
    return list(_MODELS)


def model_name(name: str) -> str:
    """The readable name of a published model.

    Args:
        name: Readable, of a score file, or of a repository on the hub with or without its owner.

    Raises:
        InputError: There is no such model.

    Example:
        >>> model_name("Alibaba-NLP/gme-Qwen2-VL-7B-Instruct")
        'GME-7B'
    """
    bare = name.rsplit("/", 1)[-1].strip().lower()
    if bare not in _NAMES and (reported := reported_name(name)) is not None:
        raise InputError(
            f"of {name!r} averages were published, and no scores of single tasks",
            fix=f"Take published_means({reported!r}), or scores of one of {', '.join(_MODELS)}.",
        )
    if bare not in _NAMES:
        close = close_match(bare, _NAMES)
        meant = f"Did you mean {_NAMES[close]!r}? " if close else ""
        raise InputError(
            f"no scores were published for {name!r}", fix=f"{meant}There are {', '.join(_MODELS)}."
        )
    return _NAMES[bare]


@dataclass(frozen=True)
class Version:
    """One publication of the scores of all eight models.

    Attributes:
        name: What it is asked for by.
        source: Where the numbers come from, and what is odd about them.
        moment_seeker: Queries of MomentSeeker: 1,800 with 413 pairs of duplicates, or 1,602 without.
        pages_fixed: Whether the labels of ViDoSeek-page and MMLongBench-page name the right pages; in older
            data they are off by one page.
    """

    name: str
    source: str
    moment_seeker: int
    pages_fixed: bool

    def data(self, task: str) -> str:
        """Which data of a task its scores are of; "" where there is only one.

        Example:
            >>> version_of("v2.0.0").data("MomentSeeker")
            '1,800 queries'
        """
        if task == "MomentSeeker":
            return f"{self.moment_seeker:,} queries"
        if task in {"ViDoSeek-page", "MMLongBench-page"}:
            return "page labels fixed" if self.pages_fixed else "page labels off by one"
        return ""


_VERSIONS = {
    version.name: version
    for version in (
        Version(
            "table6",
            "Table 6 of the VLM2Vec-V2 paper (one decimal): the scores of v2.0.0, MomentSeeker's of v2.0.1",
            1602,
            False,
        ),
        Version("v2.0.0", "public score files v2.0.0 (June 2025)", 1800, False),
        Version("v2.0.1", "public score files v2.0.1 (August 2025): all run anew", 1602, False),
        Version(
            "v2.1",
            "public score files v2.1-baselines-visdoc-page-fixed (December 2025): v2.0.1 with the two page "
            "tasks run on fixed labels, without ViDoSeek-doc and MMLongBench-doc",
            1602,
            True,
        ),
        Version(
            "newest",
            "public score files v2.1-baselines-visdoc-page-fixed (December 2025), ViDoSeek-doc and "
            "MMLongBench-doc from v2.0.1",
            1602,
            True,
        ),
    )
}
_VERSION_ALIASES = {"paper": "table6", "table 6": "table6", "v2.1-baselines-visdoc-page-fixed": "v2.1"}


def version_names() -> list[str]:
    """The publications that `published` knows, oldest first.

    Example:
        >>> version_names()
        ['table6', 'v2.0.0', 'v2.0.1', 'v2.1', 'newest']
    """
    return list(_VERSIONS)


def version_of(name: str) -> Version:
    """The publication of that name.

    Raises:
        InputError: There is none.

    Example:
        >>> version_of("v2.1-baselines-visdoc-page-fixed").name
        'v2.1'
    """
    key = _VERSION_ALIASES.get(name.lower(), name.lower())
    if key not in _VERSIONS:
        raise InputError(
            f"there is no published version {name!r}", fix=f"Choose one of {', '.join(_VERSIONS)}."
        )
    return _VERSIONS[key]


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
