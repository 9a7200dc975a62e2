"""`Run`: task after task, its data read, what is new embedded, everything scored and kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tqdm.auto import tqdm

from vlm2vec.mmeb.digests import Digests, digest_of
from vlm2vec.mmeb.embedding import Processes, embed
from vlm2vec.mmeb.embedding_store import EmbeddingStore
from vlm2vec.mmeb.encoders import Encoder, Role
from vlm2vec.mmeb.loaders import DataFolder, load
from vlm2vec.mmeb.metrics import mean_scores, query_scores
from vlm2vec.mmeb.ranking import rank
from vlm2vec.mmeb.samples import Content, Key, TaskData
from vlm2vec.mmeb.task_result import Failure, StaleResultError, TaskResult
from vlm2vec.mmeb.tasks import Task

__all__ = ["Run"]

_PROTOCOL = 1
"""Number of the way in which scores are made from vectors here; results of another one are not used again."""

_TOP = 10
"""Places that metrics look at."""


@dataclass(frozen=True)
class Run:
    """What the tasks of one evaluation share.

    Attributes:
        encoder: The model.
        data_of: Where the data of a task lie.
        folder: Where vectors and results are kept.
        compat: "v2.0" where the original's mistakes are wanted.
        tolerant: Whether a sample that cannot be embedded is scored as missed, and does not end the run.
        recompute: Whether a result of another run is replaced, and not refused.
        identity: Of the model, for what is kept.
        processes: Those that share the work.
        keeps_digests: Whether digests of files are remembered; files drawn for one run never come again.
    """

    encoder: Encoder
    data_of: Callable[[Task], DataFolder]
    folder: Path
    compat: Literal["v2.0"] | None
    tolerant: bool
    recompute: bool
    identity: Mapping[str, Any]
    processes: Processes
    keeps_digests: bool = True

    def results(self, tasks: Sequence[Task], *, show: bool = False) -> Iterator[TaskResult]:
        """A result for each task, in order.

        Raises:
            StaleResultError: The folder holds one of another model, other data or other settings.
            VLM2VecError: Data are missing, or a sample cannot be embedded.
        """
        digests = Digests(self.folder / "digests.json" if self.keeps_digests else None)
        store = EmbeddingStore(self.folder / "embeddings" / digest_of(dict(self.identity)))
        guesses = [task.queries + (task.candidates or 0) for task in tasks]
        show = show and self.processes.rank == 0
        with tqdm(total=sum(guesses), unit=" samples", disable=not show, smoothing=0.02) as bar:
            for task, guess in zip(tasks, guesses, strict=True):
                bar.set_description(task.name)
                data = load(task, self.data_of(task), compat=self.compat)
                # Now it is known, so the time that remains is told better from here on.
                bar.total += len(data.queries) + len(data.candidates) - guess
                yield self._result(task, data, digests, store, bar)

    def _result(
        self, task: Task, data: TaskData, digests: Digests, store: EmbeddingStore, bar: tqdm
    ) -> TaskResult:
        begin = time.perf_counter()
        names = digests.task(data)
        digests.save()
        made_of = {
            "protocol": _PROTOCOL,
            "compat": self.compat,
            "model": self.identity,
            "data": names.whole,
        }
        path = self.folder / "tasks" / f"{task.name}.json"
        kept = self._kept(path, task, made_of)
        if kept is not None:
            bar.update(len(data.queries) + len(data.candidates))
            return kept
        keys = list(data.candidates)
        queries = self._embedded(
            _Samples(
                task,
                "query",
                names.queries,
                list(map(str, range(len(names.queries)))),
                lambda place: data.queries[place].content,
            ),
            store,
            bar,
        )
        candidates = self._embedded(
            _Samples(
                task,
                "document",
                names.candidates,
                list(map(str, keys)),
                lambda place: data.candidates[keys[place]],
            ),
            store,
            bar,
        )
        top = _ranked(data, queries.vectors, candidates.vectors, late=self.encoder.late_interaction)
        scores = [
            query_scores(found, query.labels, query.grades, compat=self.compat)
            for found, query in zip(top, data.queries, strict=True)
        ]
        result = TaskResult(
            task=task.name,
            model=self.encoder.name,
            metric=task.metric,
            scores=mean_scores(scores),
            per_query=tuple(float(one[task.metric]) for one in scores),
            top=tuple(top),
            candidates=len(keys),
            expected_queries=task.queries,
            seconds=time.perf_counter() - begin,
            made_of=made_of,
            failures=(*queries.failures, *candidates.failures),
        )
        if self.processes.rank == 0:
            result.save(path)
        return result

    def _kept(self, path: Path, task: Task, made_of: Mapping[str, Any]) -> TaskResult | None:
        """The result of an earlier run, if it is of this model, these data and these settings.

        One with samples that failed is made again: they may be mended, or memory be free.
        """
        kept = TaskResult.load(path)
        if kept is None:
            return None
        differences = kept.differs_in(made_of)
        if not differences:
            return None if kept.failures else kept
        if self.recompute:
            return None
        raise StaleResultError(
            f"there is a result of another run: {', '.join(differences)} differ",
            fix='Pass another output_dir, or on_stale="recompute" to replace it.',
            source=f"{task.name}, {path}",
        )

    def _embedded(self, samples: _Samples, store: EmbeddingStore, bar: tqdm) -> _Embedded:
        names = [f"{samples.role} {digest}" for digest in samples.digests]
        errors = embed(
            names,
            samples.content_of,
            self.encoder,
            store,
            role=samples.role,
            tolerant=self.tolerant,
            processes=self.processes,
            bar=bar,
        )
        failures = []
        for place, name in enumerate(names):
            if name in errors:
                error = errors[name].copy()
                if not self.tolerant:
                    where = f"{samples.task.name}, {samples.role} {samples.labels[place]}"
                    error.source = f"{where}, {error.source}" if error.source else where
                    raise error from errors[name]
                failures.append(Failure(samples.role, samples.labels[place], str(error)))
        vectors = store.vectors(name for name in dict.fromkeys(names) if name not in errors)
        return _Embedded([vectors.get(name) for name in names], failures)


@dataclass(frozen=True)
class _Samples:
    """The queries or the candidates of a task; `labels` say which is which."""

    task: Task
    role: Role
    digests: Sequence[str]
    labels: Sequence[str]
    content_of: Callable[[int], Content]


@dataclass(frozen=True)
class _Embedded:
    """Vectors in order, `None` for those that failed, and why they did."""

    vectors: list[np.ndarray | None]
    failures: list[Failure]


def _ranked(
    data: TaskData,
    queries: Sequence[np.ndarray | None],
    candidates: Sequence[np.ndarray | None],
    *,
    late: bool,
) -> list[tuple[Key, ...]]:
    """Keys of the first candidates of each query; what has no vector finds nothing and is not found."""
    keys = list(data.candidates)
    there = [place for place, vector in enumerate(candidates) if vector is not None]
    asking = [place for place, vector in enumerate(queries) if vector is not None]
    found: list[tuple[Key, ...]] = [()] * len(queries)
    if not there or not asking:
        return found
    position = {keys[place]: number for number, place in enumerate(there)}
    pools = None
    if any(query.candidates is not None for query in data.queries):
        # In the order of the task's pool: in a row's own list the right one often stands first, and would win
        # all ties.
        pools = [
            np.array(
                sorted(position[key] for key in (data.queries[place].candidates or keys) if key in position),
                dtype=np.int64,
            )
            for place in asking
        ]
    asked, known = [queries[place] for place in asking], [candidates[place] for place in there]
    if late:
        ranked = rank(asked, known, pools, k=_TOP)
    else:
        ranked = rank(np.stack(asked), np.stack(known), pools, k=_TOP)  # type: ignore[arg-type]  # all are there
    for place, row in zip(asking, ranked, strict=True):
        found[place] = tuple(keys[there[int(number)]] for number in row)
    return found
