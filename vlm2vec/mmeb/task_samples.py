"""`TaskSamples`: the samples of a task with their digests, which all processes find together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vlm2vec.errors import MediaError
from vlm2vec.mmeb.digests import Digests
from vlm2vec.mmeb.encoders.protocol import Role
from vlm2vec.mmeb.loaders.data_folder import MissingDataError
from vlm2vec.mmeb.processes import Processes
from vlm2vec.mmeb.samples import Content, Key, Query, TaskData
from vlm2vec.sameness import digest_of

__all__ = ["Samples", "TaskSamples", "task_samples"]

_MAX_MISSING = 0.1
"""Share of a task's queries, or of its candidates, whose files may be missing. With more the data are not
those of the benchmark, and a score would say nothing."""


@dataclass(frozen=True)
class Samples:
    """The queries or the candidates of a task.

    Attributes:
        task: Its name.
        role: Which of both they are.
        labels: What to call each: the number of a query, the key of a candidate.
        content_of: The sample at an index, read when it is needed.
        digests: Of each, or why its file cannot be read.
    """

    task: str
    role: Role
    labels: Sequence[str]
    content_of: Callable[[int], Content]
    digests: Sequence[str | MediaError] = ()

    def named(self, index: int) -> str:
        """What errors call a sample."""
        return f"{self.task}, {self.role} {self.labels[index]}"


@dataclass(frozen=True)
class TaskSamples:
    """All samples of a task.

    Attributes:
        data: What they are of.
        queries: In the order of the data.
        candidates: In the order of the pool.
        digest: Of all of them, labels, grades and pools.
    """

    data: TaskData
    queries: Samples
    candidates: Samples
    digest: str


def task_samples(
    task: str, data: TaskData, digests: Digests, processes: Processes, *, tolerant: bool
) -> TaskSamples:
    """Samples with their digests.

    Each process reads its share of the files, one after another: pages of a corpus need not fit in memory.

    Args:
        task: Name of the task.
        data: All of it.
        digests: Of files that were read before.
        processes: Those that share the work.
        tolerant: Whether samples whose files are missing are kept, if they are few.

    Raises:
        MediaError: A file is missing or cannot be read, and `tolerant` is false.
        MissingDataError: Too many are.
        VLM2VecError: Another process has other data, or could not go on.
    """
    keys = list(data.candidates)
    numbers = [str(number) for number in range(len(data.queries))]
    sides = (
        Samples(task, "query", numbers, lambda index: data.queries[index].content),
        Samples(task, "document", [str(key) for key in keys], lambda index: data.candidates[keys[index]]),
    )
    pairs = [(side, index) for side in sides for index in range(len(side.labels))]
    processes.same(f"data of {task}", lambda: [len(side.labels) for side in sides])
    own = pairs[processes.rank :: processes.count]
    parts = processes.gather(
        lambda: ([_digest(*pair, digests, tolerant=tolerant) for pair in own], digests.read_here())
    )
    found: list[str | MediaError] = [""] * len(pairs)
    for rank, (part, read) in enumerate(parts):
        found[rank :: processes.count] = part
        digests.learn(read)
    queries, candidates = (
        _complete(Samples(side.task, side.role, side.labels, side.content_of, own_digests))
        for side, own_digests in zip(sides, (found[: len(numbers)], found[len(numbers) :]), strict=True)
    )
    whole = processes.same(f"data of {task}", lambda: _whole(data, queries, candidates))
    return TaskSamples(data, queries, candidates, whole)


def _digest(samples: Samples, index: int, digests: Digests, *, tolerant: bool) -> str | MediaError:
    try:
        return digests.content(samples.content_of(index))
    except MediaError as error:
        if tolerant:
            return MediaError(error.cause)  # without the frames that hold the sample
        error.source = samples.named(index)
        error.fix = _how_to_check(samples.task)
        raise


def _how_to_check(task: str) -> str:
    return f"`vlm2vec mmeb check DATA -t {task}` lists all that is missing there."


def _complete(samples: Samples) -> Samples:
    """The samples, if enough of them can be read."""
    missing = [index for index, digest in enumerate(samples.digests) if isinstance(digest, MediaError)]
    if len(missing) > _MAX_MISSING * len(samples.digests):
        what = "queries" if samples.role == "query" else "candidates"
        raise MissingDataError(
            f"the data are incomplete: files of {len(missing):,} of its {len(samples.digests):,} {what} "
            f"are missing or cannot be read; of the first, {samples.labels[missing[0]]}, "
            f"{samples.digests[missing[0]]}",
            fix=_how_to_check(samples.task),
            source=samples.task,
        )
    return samples


def _whole(data: TaskData, queries: Samples, candidates: Samples) -> str:
    # A sample that cannot be read counts as such: once it can, the digest is another.
    names, pool = (
        ["missing" if isinstance(digest, MediaError) else digest for digest in samples.digests]
        for samples in (queries, candidates)
    )
    indices = {key: index for index, key in enumerate(data.candidates)}
    asked = [[name, *_plain_values(query, indices)] for name, query in zip(names, data.queries, strict=True)]
    return digest_of([list(candidates.labels), pool, asked])


def _plain_values(query: Query, indices: Mapping[Key, int]) -> tuple[Any, ...]:
    """Labels, grades and pool of a query, as plain values."""
    pool = None if query.candidates is None else [indices[key] for key in query.candidates]
    return [str(label) for label in query.labels], list(query.grades), pool
