"""`Run`: task after task, its data read, what is new embedded, everything scored and kept."""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from tqdm.auto import tqdm

from vlm2vec.errors import VLM2VecError
from vlm2vec.mmeb.data.record import revisions_of
from vlm2vec.mmeb.digests import Digests
from vlm2vec.mmeb.encoders import Described, Encoder
from vlm2vec.mmeb.loaders import DataFolder, load
from vlm2vec.mmeb.metrics import mean_scores, query_scores
from vlm2vec.mmeb.processes import Processes
from vlm2vec.mmeb.ranking import rank_task
from vlm2vec.mmeb.store import EmbeddingStore, embed, vectors_of
from vlm2vec.mmeb.task_result import Failure, TaskResult
from vlm2vec.mmeb.task_samples import Samples, TaskSamples, task_samples
from vlm2vec.mmeb.tasks import Task
from vlm2vec.sameness import digest_of

__all__ = ["Run"]

logger = logging.getLogger(__name__)

_PROTOCOL = {None: 2, "v2.0": 1}
"""Number of the way in which scores are made from vectors here, by `compat`; results of another one are made
again, from the vectors that are kept."""


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
        devices: How many the encoder of one process has.
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
    devices: int = 1
    keeps_digests: bool = True

    def results(self, tasks: Sequence[Task], *, show: bool = False) -> Iterator[TaskResult]:
        """A result for each task, in order.

        Raises:
            StaleResultError: The folder holds one of another model, other data or other settings.
            VLM2VecError: Data are missing, or a sample cannot be embedded.
        """
        digests, store = self.processes.here_and_there(self._kept_parts)
        tasks = [task.as_of(self.compat) for task in tasks]
        changes = {task.name: self._changes(task) for task in tasks}
        tasks = [task.changed(changes[task.name]) for task in tasks]
        guesses = [task.queries + (task.candidates or 0) for task in tasks]
        show = show and self.processes.rank == 0
        with tqdm(total=sum(guesses), unit=" samples", disable=not show, smoothing=0.02) as bar:
            for number, (task, guess) in enumerate(zip(tasks, guesses, strict=True), start=1):
                start = time.perf_counter()
                bar.set_description(f"{task.name}, reading")
                samples = self._samples(task, digests)
                # Now it is known, so the time that remains is estimated better from here on.
                queries, candidates = len(samples.data.queries), len(samples.data.candidates)
                bar.total += queries + candidates - guess
                bar.set_description(task.name)
                label = f"{number} of {len(tasks)}, {task.name}"
                self._log(f"{label}: {queries:,} queries, {candidates:,} candidates")
                result = self._result(task, samples, store, bar, start, changes=changes[task.name])
                failed = f", {len(result.failures):,} samples failed" if result.failures else ""
                seconds = time.perf_counter() - start
                self._log(f"{label}: {result.metric} {result.percentage:.2f}, {seconds:,.0f} s{failed}")
                yield result

    def _changes(self, task: Task) -> dict[str, Any]:
        return dict(self.encoder.changes(task)) if isinstance(self.encoder, Described) else {}

    def _log(self, news: str) -> None:
        if self.processes.rank == 0:
            logger.info(news)

    def _kept_parts(self) -> tuple[Digests, EmbeddingStore]:
        digests = Digests(self.folder / "digests.json" if self.keeps_digests else None)
        return digests, EmbeddingStore(self.folder / "embeddings" / digest_of(dict(self.identity)))

    def _samples(self, task: Task, digests: Digests) -> TaskSamples:
        data = self.processes.here_and_there(lambda: load(task, self.data_of(task), compat=self.compat))
        try:
            samples = task_samples(task.name, data, digests, self.processes, tolerant=self.tolerant)
        except VLM2VecError:
            if self.processes.rank == 0:
                digests.save()  # files that were read need not be read again
            raise
        self.processes.first(digests.save)
        return samples

    def _result(
        self,
        task: Task,
        samples: TaskSamples,
        store: EmbeddingStore,
        bar: tqdm,
        start: float,
        *,
        changes: Mapping[str, Any],
    ) -> TaskResult:
        data = samples.data
        path = self.folder / "tasks" / f"{task.name}.json"
        made_of = {
            "protocol": _PROTOCOL[self.compat],
            "compat": self.compat,
            "model": self.identity,
            "data": samples.digest,
            **({"task": changes} if changes else {}),
        }
        described = dict(self.encoder.described()) if isinstance(self.encoder, Described) else {}
        kept = self.processes.first(lambda: TaskResult.kept(path, made_of, recompute=self.recompute))
        if kept is not None:
            bar.update(len(data.queries) + len(data.candidates))
            return replace(kept, settings=described)
        revisions = revisions_of(self.data_of(task).folder, task)
        query_errors = self._embed(samples.queries, store, bar)
        candidate_errors = self._embed(samples.candidates, store, bar)

        def scored() -> TaskResult:
            top = rank_task(
                data,
                vectors_of(samples.queries, query_errors, store),
                vectors_of(samples.candidates, candidate_errors, store),
                late_interaction=self.encoder.late_interaction,
                compat=self.compat,
            )
            scores = [
                query_scores(found, query.labels, query.grades, compat=self.compat)
                for found, query in zip(top, data.queries, strict=True)
            ]
            result = TaskResult(
                task=task.name,
                model=self.encoder.name,
                metric=task.metric,
                scores=mean_scores(scores),
                per_query=tuple(float(query_score[task.metric]) for query_score in scores),
                top=tuple(top),
                candidates=len(data.candidates),
                expected_queries=task.queries,
                seconds=time.perf_counter() - start,
                made_of=made_of,
                failures=(
                    *_failures(samples.queries, query_errors),
                    *_failures(samples.candidates, candidate_errors),
                ),
                revisions=revisions,
                versions=_versions(),
                settings=described,
            )
            result.save(path)
            return result

        return self.processes.first(scored)

    def _embed(self, samples: Samples, store: EmbeddingStore, bar: tqdm) -> list[VLM2VecError | None]:
        return embed(
            samples,
            self.encoder,
            store,
            tolerant=self.tolerant,
            processes=self.processes,
            bar=bar,
            devices=self.devices,
        )


def _versions() -> dict[str, str]:
    """What software a result is made by."""
    packages = ("vlm2vec", "torch", "transformers", "sentence-transformers")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def _failures(samples: Samples, errors: Sequence[VLM2VecError | None]) -> Iterator[Failure]:
    for label, error in zip(samples.labels, errors, strict=True):
        if error is not None:
            yield Failure(samples.role, label, str(error))
