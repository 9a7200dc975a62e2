"""`write_report`: what a page shows of an evaluation; `assets/html/report.html` says how."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from tqdm.auto import tqdm

from vlm2vec._version import __version__
from vlm2vec.errors import InputError
from vlm2vec.html import write_page
from vlm2vec.mmeb.averages import MODALITIES, OVERALL, coverage
from vlm2vec.mmeb.bootstrap import Interval
from vlm2vec.mmeb.comparison import Comparison, compare
from vlm2vec.mmeb.digests import Digests
from vlm2vec.mmeb.loaders import DataFolder
from vlm2vec.mmeb.own_scores import OwnScores
from vlm2vec.mmeb.published import published
from vlm2vec.mmeb.show.examples import Thumbnails, examples
from vlm2vec.mmeb.task_result import TaskResult
from vlm2vec.mmeb.tasks import Task, get_task, list_tasks

__all__ = ["BESIDE", "write_report"]

BESIDE = ("VLM2Vec-V2.0", "VLM2Vec-7B", "GME-2B", "GME-7B")
"""Published models that stand beside results where none are named, after the scored model itself."""


class _Results(Protocol):
    """A `vlm2vec.mmeb.Results`, by what is read of it: its deprecated `report` calls what is here."""

    @property
    def model(self) -> str: ...
    @property
    def tasks(self) -> tuple[TaskResult, ...]: ...
    @property
    def folder(self) -> Path | None: ...
    @property
    def scores(self) -> dict[str, float]: ...
    @property
    def benchmark(self) -> list[Task]: ...
    @property
    def compat(self) -> str | None: ...
    @property
    def data_version(self) -> str: ...
    @property
    def written(self) -> datetime | None: ...
    @property
    def settings(self) -> Mapping[str, str]: ...
    @property
    def own(self) -> OwnScores | None: ...
    def intervals(self) -> dict[str, Interval]: ...


def write_report(
    results: _Results,
    path: str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str] | None = None,
    compare: Sequence[str] | None = None,
    version: str | None = None,
    queries: int = 2,
    candidates: int = 5,
    max_megabytes: float = 10.0,
    offline: bool = False,
    show_progress_bar: bool | None = None,
) -> None:
    """Write a page: scores beside published ones, failures, and queries beside what they found.

    It is one HTML file with thumbnails in it, which fetches nothing.

    Args:
        results: `Results`, as `evaluate` and `Results.load` give them.
        path: The file; one that exists is replaced.
        data_dir: The data that were scored, to show queries and candidates; "mini" needs none. A task whose
            data are other than they were is not shown.
        compare: Names of published models; by default this model, if it was published, and four others.
        version: Which publication of their scores; by default the one that is of the same data.
        queries: How many misses, and how many hits, of each task are shown.
        candidates: How many of the first candidates of each.
        max_megabytes: What all thumbnails may take together.
        offline: Never ask the hub for annotations that are not in `data_dir`.
        show_progress_bar: By default only in a terminal.

    Raises:
        InputError: There is no such published model or version, or nothing is to be shown.

    Example:
        >>> from tempfile import mkdtemp
        >>> from vlm2vec import mmeb
        >>> constant = lambda contents, role: [[1.0]] * len(contents)
        >>> results = mmeb.evaluate(constant, "mini-I-CLS", name="always the same")
        >>> mmeb.write_report(results, Path(mkdtemp()) / "report.html")
    """
    if queries < 0 or candidates < 1:
        raise InputError(
            f"{queries} queries with {candidates} candidates each cannot be shown",
            fix="Pass queries from 0 and candidates from 1.",
        )
    beside = _comparisons(results, _names(results.own) if compare is None else compare, version)
    show = sys.stderr.isatty() if show_progress_bar is None else show_progress_bar
    data = DataFolder(None if data_dir is None else Path(data_dir), offline=offline)
    remembered = Digests(None if results.folder is None else results.folder / "digests.json")
    thumbnails = Thumbnails(int(1e6 * max_megabytes))
    found = examples(results.tasks, data, remembered, thumbnails, queries=queries, candidates=candidates)
    shown = list(tqdm(found, total=len(results.tasks), unit=" tasks", desc="Gallery", disable=not show))
    made_of = results.tasks[0].made_of
    apart = ("data", "model", "compat", "task")
    known = {name: value for name, value in made_of.items() if name not in apart}
    # Where scores of tasks were published, the model is among those that stand beside.
    own = None if results.own is None or results.own.tasks else results.own
    write_page(
        Path(path),
        "report.html",
        title=f"{results.model} on MMEB-V2",
        footer=f"Written by vlm2vec {__version__}.",
        results=results,
        mini=results.benchmark == list_tasks("mini"),
        odd=[one.task for one in results.tasks if one.queries != one.expected_queries],
        tasks={result.task: get_task(result.task).as_of(results.compat) for result in results.tasks},
        intervals=results.intervals(),
        averages=(OVERALL, *MODALITIES),
        counts=coverage(results.scores, tasks=results.benchmark),
        comparisons=beside,
        own=own,
        remarks=[*([] if own is None else [own.source]), *_remarks(beside)],
        notes=_notes(results.scores, beside),
        per_kind=queries,
        shown=[one for one in shown if not one.reason],
        not_shown=[one for one in shown if one.reason],
        thumbnails=thumbnails,
        made_of=list(_flat(known)),
        # What is nested deeper is read less.
        depends=sorted(_flat(made_of.get("model", {})), key=lambda line: line[0].count(".")),
    )


def _names(own: OwnScores | None) -> list[str]:
    """Published models that stand beside where none are named."""
    first = [own.name] if own is not None and own.tasks else []
    return [*first, *(name for name in BESIDE if name not in first)]


def _comparisons(results: _Results, names: Sequence[str], version: str | None) -> tuple[Comparison, ...]:
    """The results beside each of some published models, on the tasks of the 78 that there are."""
    for name in names:
        published(name, version)  # a wrong name is an error, also where nothing is compared
    known = {task.name for task in list_tasks("all")}
    scores = {task: score for task, score in results.scores.items() if task in known}
    if not scores:
        return ()
    data = results.data_version
    return tuple(
        compare(scores, name, version=version or data, data=data, model=results.model) for name in names
    )


def _remarks(comparisons: Sequence[Comparison]) -> list[str]:
    """Sources, and tasks that are left out, each once."""
    lines = [source for one in comparisons for source in one.sources]
    for one in comparisons:
        lines += [f"Not compared: {task}, {reason}" for task, reason in one.left_out.items()]
    return list(dict.fromkeys(lines))


def _notes(tasks: Iterable[str], comparisons: Sequence[Comparison]) -> list[str]:
    """What is odd about published scores, each once, in the order of the tasks."""
    rows = [one.tasks[task] for task in tasks for one in comparisons if task in one.tasks]
    return list(dict.fromkeys(row.note for row in rows if row.note))


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Nested mappings as lines; what is empty or not set has none."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _flat(part, f"{name}.{key}" if name else str(key))
    elif value not in (None, "", [], ()):
        yield name, str(value)
