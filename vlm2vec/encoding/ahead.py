"""Decoding ahead of the model: worker threads prepare the next batches while it computes.

Decoders, Pillow and numpy let other threads run while they work, so threads suffice. A bounded number of
batches is in the air, and a bounded number of URLs: what they lead to is fetched beside the model too, before
it is planned, and let go of when it is decoded. Whatever ends the iteration (its end, an error, Ctrl-C, a
caller who stops reading) calls off what is being fetched or decoded and leaves no thread behind.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeAlias, TypeVar

from vlm2vec.encoding.batches import Batch
from vlm2vec.encoding.plan import Failed, Planned
from vlm2vec.encoding.prepare import Prepared, Preparer, Visual
from vlm2vec.encoding.prompt import Media
from vlm2vec.errors import VLM2VecError
from vlm2vec.inputs.parse import fetched, release
from vlm2vec.inputs.parts import Input
from vlm2vec.inputs.replace import sources_of
from vlm2vec.media.cores import core_count
from vlm2vec.media.deadline import Cancelled, cancellable

__all__ = ["Workers"]

T = TypeVar("T")
Decoded: TypeAlias = "dict[Hashable, Future[Visual | VLM2VecError]]"
Item: TypeAlias = "Input | VLM2VecError"

_BATCHES_AHEAD = 2
_MAX_THREADS = 16
_URLS_AT_ONCE = 16  # of inputs that are planned together; as many are fetched ahead of them


class Workers:
    """Threads that decode. A context manager, which no thread outlives.

    Args:
        ahead: Whether to prepare batches before they are asked for; without, everything happens when it is
            asked for, in the caller's thread.
        batches: How many are prepared before they are asked for.
    """

    def __init__(self, *, ahead: bool = True, batches: int = _BATCHES_AHEAD) -> None:
        self._ahead = batches if ahead else 0
        self._stop = threading.Event()
        # Threads start when there is something to do.
        self._pool = ThreadPoolExecutor(min(_MAX_THREADS, core_count()), "vlm2vec") if ahead else None
        # These wait for servers and take no core.
        self._fetchers = ThreadPoolExecutor(_URLS_AT_ONCE, "vlm2vec-fetch") if ahead else None

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        # When the interpreter ends, it has waited for the threads itself, and taken the pool's modules apart.
        for pool in (self._pool, self._fetchers):
            if pool is not None and not sys.is_finalizing():
                pool.shutdown(cancel_futures=True)

    def map(self, work: Callable[[Any], T], items: Iterable[Any]) -> list[T]:
        """`work` on each item, in order."""
        return [future.result() for future in [self._submit(work, item) for item in items]]

    def fetched(self, items: Sequence[tuple[int, Item]], size: int) -> Iterator[list[tuple[int, Item]]]:
        """Inputs to be planned together, with what their URLs lead to; the next ones' is fetched meanwhile.

        Args:
            items: The inputs, or what was found wrong with them, each with its index.
            size: How many at most.

        Yields:
            Them in order, an error in place of an input whose URL leads nowhere.
        """
        waiting: deque[list[tuple[int, Item | Future[Item]]]] = deque()
        for group in _with_few_urls(items, size):
            waiting.append([(index, self._fetch(item)) for index, item in group])
            if len(waiting) > min(1, self._ahead):
                yield _arrived(waiting.popleft())
        while waiting:
            yield _arrived(waiting.popleft())

    def prepared(
        self, batches: Iterable[Batch], preparer: Preparer, *, again: bool = False
    ) -> Iterator[tuple[int, list[tuple[int, Prepared | VLM2VecError]]]]:
        """The cost of each batch, and its inputs with their indices; the next ones are decoded meanwhile.

        A medium that several inputs of a batch show is decoded once. An empty batch is a mark: whatever came
        before it is finished before more batches are asked for.

        Args:
            batches: The batches.
            preparer: Of the model.
            again: Whether they will be decoded again: then what their URLs led to stays.
        """
        waiting: deque[tuple[Batch, Decoded]] = deque()
        for batch in batches:
            media = {
                key: piece.part
                for planned in batch.inputs
                if isinstance(planned, Planned)
                for key, piece in planned.media.items()
            }
            decode = preparer.decode if again else partial(_decode_and_release, preparer)
            waiting.append((batch, {key: self._submit(decode, part) for key, part in media.items()}))
            while len(waiting) > (self._ahead if batch.inputs else 0):
                yield _finished(*waiting.popleft(), preparer, again=again)
        while waiting:
            yield _finished(*waiting.popleft(), preparer, again=again)

    def _fetch(self, item: Item) -> Item | Future[Item]:
        return self._submit(fetched, item, self._fetchers) if _url_count(item) else item

    def _submit(
        self, work: Callable[[Any], T], item: Any, pool: ThreadPoolExecutor | None = None
    ) -> Future[T]:
        pool = pool or self._pool
        if pool is not None:
            return pool.submit(self._stoppable, work, item)
        future: Future[T] = Future()
        future.set_result(work(item))
        return future

    def _stoppable(self, work: Callable[[Any], T], item: Any) -> T:
        if self._stop.is_set():
            raise Cancelled
        with cancellable(self._stop):
            return work(item)


def _decode_and_release(preparer: Preparer, part: Media) -> Visual | VLM2VecError:
    """As `Preparer.decode`; what the URLs of the medium led to is not held until its batch is computed."""
    visual = preparer.decode(part)
    release(Input((part,)))
    return visual


def _finished(
    batch: Batch, decoded: Decoded, preparer: Preparer, *, again: bool
) -> tuple[int, list[tuple[int, Prepared | VLM2VecError]]]:
    visuals = {key: future.result() for key, future in decoded.items()}
    for planned in batch.inputs:
        if isinstance(planned, Planned) and not again:
            release(planned.item)
    return batch.cost, [
        (planned.index, planned.error if isinstance(planned, Failed) else preparer.lay_out(planned, visuals))
        for planned in batch.inputs
    ]


def _with_few_urls(items: Iterable[tuple[int, Item]], size: int) -> Iterator[list[tuple[int, Item]]]:
    """Parts of at most `size` inputs and `_URLS_AT_ONCE` URLs; an input alone may have more."""
    part: list[tuple[int, Item]] = []
    urls = 0
    for pair in items:
        own = _url_count(pair[1])
        if part and (len(part) == size or urls + own > _URLS_AT_ONCE):
            yield part
            part, urls = [], 0
        part.append(pair)
        urls += own
    if part:
        yield part


def _url_count(item: Item) -> int:
    return 0 if isinstance(item, VLM2VecError) else sum(source.url is not None for source in sources_of(item))


def _arrived(part: list[tuple[int, Item | Future[Item]]]) -> list[tuple[int, Item]]:
    return [(index, item.result() if isinstance(item, Future) else item) for index, item in part]
