"""Decoding ahead of the model: worker threads prepare the next batches while it computes.

Decoders, Pillow and numpy let other threads run while they work, so threads suffice. A bounded number of
batches is in the air. Whatever ends the iteration (its end, an error, Ctrl-C, a caller who stops reading)
calls off what is being decoded and leaves no thread behind.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeAlias, TypeVar

from vlm2vec.encoding.batches import Batch
from vlm2vec.encoding.plan import Failed, Planned
from vlm2vec.encoding.prepare import Prepared, Preparer, Visual
from vlm2vec.errors import VLM2VecError
from vlm2vec.media.cores import core_count
from vlm2vec.media.deadline import Cancelled, cancellable

__all__ = ["Workers"]

T = TypeVar("T")
Decoded: TypeAlias = "dict[Hashable, Future[Visual | VLM2VecError]]"

_BATCHES_AHEAD = 2
_MOST_THREADS = 16


class Workers:
    """Threads that decode. A context manager, which no thread outlives.

    Args:
        ahead: Whether to prepare batches before they are asked for; without, everything happens when it is
            asked for, in the caller's thread.
    """

    def __init__(self, *, ahead: bool = True) -> None:
        self._ahead = _BATCHES_AHEAD if ahead else 0
        self._stop = threading.Event()
        # Threads start when there is something to do.
        self._pool = ThreadPoolExecutor(min(_MOST_THREADS, core_count()), "vlm2vec") if ahead else None

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        # When the interpreter ends, it has waited for the threads itself, and taken the pool's modules apart.
        if self._pool is not None and not sys.is_finalizing():
            self._pool.shutdown(cancel_futures=True)

    def map(self, work: Callable[[Any], T], items: Iterable[Any]) -> list[T]:
        """`work` on each item, in order."""
        return [future.result() for future in [self._submit(work, item) for item in items]]

    def prepared(
        self, batches: Iterable[Batch], preparer: Preparer
    ) -> Iterator[tuple[int, list[tuple[int, Prepared | VLM2VecError]]]]:
        """The cost of each batch, and its inputs with their places; the next ones are decoded meanwhile.

        A medium that several inputs of a batch show is decoded once. An empty batch is a mark: whatever came
        before it is finished before more batches are asked for.
        """
        waiting: deque[tuple[Batch, Decoded]] = deque()
        for batch in batches:
            media = {
                key: piece.part
                for one in batch.inputs
                if isinstance(one, Planned)
                for key, piece in one.media.items()
            }
            waiting.append((batch, {key: self._submit(preparer.see, part) for key, part in media.items()}))
            while len(waiting) > (self._ahead if batch.inputs else 0):
                yield _finished(*waiting.popleft(), preparer)
        while waiting:
            yield _finished(*waiting.popleft(), preparer)

    def _submit(self, work: Callable[[Any], T], item: Any) -> Future[T]:
        if self._pool is not None:
            return self._pool.submit(self._stoppable, work, item)
        future: Future[T] = Future()
        future.set_result(work(item))
        return future

    def _stoppable(self, work: Callable[[Any], T], item: Any) -> T:
        if self._stop.is_set():
            raise Cancelled
        with cancellable(self._stop):
            return work(item)


def _finished(
    batch: Batch, decoded: Decoded, preparer: Preparer
) -> tuple[int, list[tuple[int, Prepared | VLM2VecError]]]:
    visuals = {key: future.result() for key, future in decoded.items()}
    return batch.cost, [
        (one.place, one.error if isinstance(one, Failed) else preparer.lay_out(one, visuals))
        for one in batch.inputs
    ]
