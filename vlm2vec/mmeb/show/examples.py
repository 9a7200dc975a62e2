"""Which queries are shown, and what each of them found: the data of a task beside its result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from tqdm.auto import tqdm

from vlm2vec.errors import VLM2VecError
from vlm2vec.mmeb.digests import Digests
from vlm2vec.mmeb.loaders import DataFolder, load
from vlm2vec.mmeb.mini import write_mini
from vlm2vec.mmeb.processes import Processes
from vlm2vec.mmeb.samples import Content, Key, Query, TaskData
from vlm2vec.mmeb.task_result import TaskResult
from vlm2vec.mmeb.task_samples import task_samples
from vlm2vec.mmeb.tasks import get_task, list_tasks

if TYPE_CHECKING:
    from vlm2vec.mmeb.results import Results

__all__ = ["Candidate", "Example", "TaskExamples", "choose", "examples"]


@dataclass(frozen=True)
class Candidate:
    """A candidate of a query.

    Attributes:
        key: Of the candidate.
        rank: 1 is the best; `None` where it is not among the places that were kept.
        right: Whether it is one of the right ones.
        content: What it shows and says.
    """

    key: Key
    rank: int | None
    right: bool
    content: Content


@dataclass(frozen=True)
class Example:
    """A query and what it found.

    Attributes:
        number: Place of the query in the data, from 0.
        hit: Whether a right candidate came first.
        score: The headline metric, from 0 to 1.
        content: What was looked for.
        candidates: The first ones in order; then the best right one, if none of these is right.
        kept: How many places of its ranking are known; 0 for a query that could not be embedded.
        right: How many candidates are right.
    """

    number: int
    hit: bool
    score: float
    content: Content
    candidates: tuple[Candidate, ...]
    kept: int
    right: int


@dataclass(frozen=True)
class TaskExamples:
    """What is shown of a task.

    Attributes:
        result: Of the task.
        shown: Misses, then hits.
        misses: How many the task has.
        hits: How many the task has.
        reason: Why nothing is shown; "" otherwise.
    """

    result: TaskResult
    shown: tuple[Example, ...] = ()
    misses: int = 0
    hits: int = 0
    reason: str = ""


def examples(
    results: Results,
    data_dir: Path | None,
    *,
    queries: int,
    candidates: int,
    offline: bool = False,
    bar: tqdm | None = None,
) -> Iterator[TaskExamples]:
    """What is shown of each task; its pictures are there until the next is asked for.

    Args:
        results: Whose tasks.
        data_dir: The data that were scored; tasks of the mini suite are drawn again and need none.
        queries: How many misses, and how many hits, of each task.
        candidates: How many of each query.
        offline: Never ask the hub.
        bar: Told of each task.
    """
    mini = {task.name for task in list_tasks("mini")} & {result.task for result in results.tasks}
    # Files that the run has read need not be read again for their digests.
    remembered = Digests(None if results.folder is None else results.folder / "digests.json")
    with TemporaryDirectory(prefix="vlm2vec-mmeb-") as scratch:
        for result in results.tasks:
            if queries == 0:
                found = TaskExamples(result, reason="No queries were asked for.")
            elif result.task in mini:
                folder = Path(scratch) / result.task
                write_mini(folder, {result.task})
                found = _of_task(result, DataFolder(folder, offline=True), Digests(), queries, candidates)
            elif data_dir is None:
                found = TaskExamples(result, reason="No data folder was given.")
            else:
                given = DataFolder(data_dir, offline=offline)
                found = _of_task(result, given, remembered, queries, candidates)
            yield found
            if bar is not None:
                bar.update()


def choose(result: TaskResult, data: TaskData, *, queries: int, candidates: int) -> TaskExamples:
    """Misses and hits at even spaces in the order of the data, from the first on.

    Args:
        result: Of a task.
        data: Of the task, those that were scored.
        queries: How many misses, and how many hits.
        candidates: How many of each query.
    """
    asked = list(enumerate(zip(data.queries, result.top, strict=True)))
    hits = [number for number, (query, top) in asked if top and top[0] in query.labels]
    misses = sorted({number for number, _ in asked}.difference(hits))
    return TaskExamples(
        result,
        tuple(
            _example(number, result, data, candidates)
            for number in [*_spread(misses, queries), *_spread(hits, queries)]
        ),
        misses=len(misses),
        hits=len(hits),
    )


def _of_task(
    result: TaskResult, folder: DataFolder, digests: Digests, queries: int, candidates: int
) -> TaskExamples:
    try:
        data = load(get_task(result.task), folder, compat=result.made_of["compat"])
        digest = task_samples(result.task, data, digests, Processes(), tolerant=True).digest
    except (VLM2VecError, OSError) as error:
        return TaskExamples(result, reason=f"Its data cannot be read: {error}")
    if digest != result.made_of.get("data"):
        return TaskExamples(
            result,
            reason="The data are not those that were scored, so they are not shown beside these results.",
        )
    return choose(result, data, queries=queries, candidates=candidates)


def _example(number: int, result: TaskResult, data: TaskData, count: int) -> Example:
    query, top = data.queries[number], result.top[number]
    shown = [
        Candidate(key, place, key in query.labels, data.candidates[key])
        for place, key in enumerate(top[:count], start=1)
    ]
    if not any(one.right for one in shown):
        shown += _best_right(query, top, data)
    return Example(
        number,
        hit=bool(shown) and shown[0].rank == 1 and shown[0].right,
        score=result.per_query[number],
        content=query.content,
        candidates=tuple(shown),
        kept=len(top),
        right=len(query.labels),
    )


def _best_right(query: Query, top: Sequence[Key], data: TaskData) -> list[Candidate]:
    """The right candidate that came first; the first of all where none is among the places that are known."""
    places = {key: place for place, key in enumerate(top, start=1) if key in query.labels}
    for key in [*places, *query.labels]:
        if key in data.candidates:
            return [Candidate(key, places.get(key), True, data.candidates[key])]
    return []


def _spread(numbers: Sequence[int], count: int) -> list[int]:
    few = min(count, len(numbers))
    return [numbers[place * len(numbers) // few] for place in range(few)]
