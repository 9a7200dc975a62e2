"""`Run`: task after task, its data read, what is new embedded, everything scored and kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tqdm.auto import tqdm

from vlm2vec.errors import VLM2VecError
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
    """

    encoder: Encoder
    data_of: Callable[[Task], DataFolder]
    folder: Path
    compat: Literal["v2.0"] | None
    tolerant: bool
    recompute: bool
    identity: Mapping[str, Any]
    processes: Processes

    def results(self, tasks: Sequence[Task], *, show: bool = False) -> Iterator[TaskResult]:
        """A result for each task, in order.

        Raises:
            StaleResultError: The folder holds one of another model, other data or other settings.
            VLM2VecError: Data are missing, or a sample cannot be embedded.
        """
        digests = Digests(self.folder / "digests.json")
        store = EmbeddingStore(self.folder / "embeddings" / digest_of(dict(self.identity)))
        guesses = [task.queries + (task.candidates or 0) for task in tasks]
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
        queries, bad_queries = self._vectors(
            "query", names.queries, lambda place: data.queries[place].content, store, bar
        )
        candidates, bad_candidates = self._vectors(
            "document", names.candidates, lambda place: data.candidates[keys[place]], store, bar
        )
        top = _ranked(data, queries, candidates, without=bad_queries)
        scores = [
            query_scores(keys, query.labels, query.grades, compat=self.compat)
            for keys, query in zip(top, data.queries, strict=True)
        ]
        result = TaskResult(
            task=task.name,
            metric=task.metric,
            scores=mean_scores(scores),
            per_query=tuple(float(one[task.metric]) for one in scores),
            top=tuple(top),
            candidates=len(keys),
            seconds=time.perf_counter() - begin,
            made_of=made_of,
            failures=(
                *(Failure("query", str(place), str(error)) for place, error in bad_queries.items()),
                *(
                    Failure("document", str(keys[place]), str(error))
                    for place, error in bad_candidates.items()
                ),
            ),
        )
        if self.processes.rank == 0:
            result.save(path)
        return result

    def _kept(self, path: Path, task: Task, made_of: Mapping[str, Any]) -> TaskResult | None:
        """The result of an earlier run, if it is of this model, these data and these settings."""
        kept = TaskResult.load(path)
        differences = [] if kept is None else kept.differs_in(made_of)
        if kept is None or not differences:
            return kept
        if self.recompute:
            return None
        raise StaleResultError(
            f"there is a result of another run: {', '.join(differences)} differ",
            fix='Pass another output_dir, or on_stale="recompute" to replace it.',
            source=f"{task.name}, {path}",
        )

    def _vectors(
        self,
        role: Role,
        digests: Sequence[str],
        content_of: Callable[[int], Content],
        store: EmbeddingStore,
        bar: tqdm,
    ) -> tuple[np.ndarray | list[np.ndarray], dict[int, VLM2VecError]]:
        """Vectors in order, and by place what was wrong where there is none; NaN stands for it."""
        names = [f"{role} {digest}" for digest in digests]
        errors = embed(names, content_of, self.encoder, store, role=role, processes=self.processes, bar=bar)
        failed = {place: errors[name] for place, name in enumerate(names) if name in errors}
        if failed and not self.tolerant:
            place, error = next(iter(failed.items()))
            error.index = None
            raise error.at(None, f"{role} {place}")
        made = [name for name in dict.fromkeys(names) if name not in errors]
        vectors = dict(zip(made, store.vectors(made), strict=True))
        nothing = np.full_like(vectors[made[0]], np.nan) if made else np.full(1, np.nan, np.float32)
        rows = [vectors.get(name, nothing) for name in names]
        return rows if self.encoder.late_interaction else np.stack(rows), failed


def _ranked(
    data: TaskData,
    queries: np.ndarray | list[np.ndarray],
    candidates: np.ndarray | list[np.ndarray],
    *,
    without: Mapping[int, VLM2VecError],
) -> list[tuple[Key, ...]]:
    """Keys of the first candidates of each query, none for those without a vector."""
    keys = list(data.candidates)
    places = {key: place for place, key in enumerate(keys)}
    pools = None
    if any(query.candidates is not None for query in data.queries):
        pools = [
            np.array([places[key] for key in (keys if query.candidates is None else query.candidates)])
            for query in data.queries
        ]
    ranked = rank(queries, candidates, pools, k=_TOP)
    return [
        () if place in without else tuple(keys[int(found)] for found in row)
        for place, row in enumerate(ranked)
    ]
