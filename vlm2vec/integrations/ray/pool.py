"""`WorkerPool`: actors, and which of them does which shard."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayActorError, RayTaskError

from vlm2vec.errors import VLM2VecError
from vlm2vec.integrations.ray.pieces import Piece
from vlm2vec.integrations.ray.shard_worker import Counts, ShardWorker, WorkerSettings

__all__ = ["WorkerPool"]

_SHARDS_PER_WORKER = 2  # one is computed while the rows of the next are fetched
_RETRIES = 3  # of a shard whose actor died


class WorkerPool:
    """Some actors, which end with it. One gets shards once it has started, for which others do not wait.

    Args:
        settings: What they are told.
        count: How many.
        num_cpus: That each takes.
        num_gpus: That each takes.
    """

    def __init__(self, settings: WorkerSettings, count: int, *, num_cpus: float, num_gpus: float) -> None:
        resources = {"num_cpus": num_cpus, "num_gpus": num_gpus}
        actor = ray.remote(**resources, max_restarts=-1, max_task_retries=_RETRIES)(ShardWorker)
        self._workers = [actor.remote(settings) for _ in range(count)]
        self._starting = {worker.start.remote(): number for number, worker in enumerate(self._workers)}
        self._loads: dict[int, int] = {}  # of those that have started, how many shards each has
        self._busy: dict[Any, tuple[int, str]] = {}  # by what will come: the worker, and which rows it does

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            ray.kill(worker)

    def start(self) -> int:
        """Wait for the first that has started, and tell how many rows a shard has.

        Raises:
            VLM2VecError: What `ShardWorker.start` raises.
        """
        (ready, *_), _ = ray.wait([*self._starting])
        return self._has_started(ready)

    def run(self, shards: Iterable[list[Piece]], size: int) -> Iterator[Counts]:
        """Have shards done.

        Args:
            shards: Their pieces, in order; as many are taken as there are workers for.
            size: Rows of a shard.

        Yields:
            What was done of each, in the order in which they are done.

        Raises:
            VLM2VecError: An actor died again and again, or there are vectors of other inputs.
            OSError: A shard could not be written.
        """
        for number, pieces in enumerate(shards):
            while min(self._loads.values()) == _SHARDS_PER_WORKER:
                yield from self._next()
            worker = min(self._loads, key=lambda worker: self._loads[worker])
            self._loads[worker] += 1
            spans = [(piece.start, piece.stop) for piece in pieces]
            call = self._workers[worker].do.remote(number, spans, *(piece.block for piece in pieces))
            last = number * size + sum(stop - start for start, stop in spans) - 1
            self._busy[call] = worker, f"rows {number * size:,} to {last:,}"
        while self._busy:
            yield from self._next()

    def finish(self, rows: int) -> None:
        """Note how many rows all shards together have.

        Raises:
            VectorsMismatchError: There are vectors of more.
        """
        _result(self._workers[min(self._loads)].finish.remote(rows))

    def _next(self) -> Iterator[Counts]:
        """Wait until a shard is done, or one more worker has started."""
        (ready, *_), _ = ray.wait([*self._starting, *self._busy])
        if ready in self._starting:
            self._has_started(ready)
            return
        worker, rows = self._busy.pop(ready)
        self._loads[worker] -= 1
        yield _result(ready, rows)

    def _has_started(self, ready: Any) -> int:
        self._loads[self._starting.pop(ready)] = 0
        size: int = _result(ready)
        return size


def _result(call: Any, rows: str | None = None) -> Any:
    """What a call gave; an error is raised as it was where it happened."""
    try:
        return ray.get(call)
    except RayTaskError as error:
        if isinstance(error.cause, Exception):
            raise error.cause from None
        raise
    except (RayActorError, OutOfMemoryError) as error:
        raise VLM2VecError(
            f"an actor died, and again when it was started anew: {str(error).strip().rstrip('.')}",
            fix="If memory was short, pass a smaller concurrency. If an input does it, leave that out.",
            source=rows,
        ) from error
