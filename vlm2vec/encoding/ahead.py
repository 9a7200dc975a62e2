"""Ahead of the model: worker threads plan and decode the next batches while it computes.

Tokenizers, decoders, Pillow and numpy let other threads run while they work, so threads suffice. A bounded
number of batches is in the air, and a bounded number of URLs and of bytes from them: what they lead to is
fetched beside the model too, before it is planned, and let go of when it is decoded; large files are fetched
one after the other, each when its input is next. Whatever ends the iteration (its end, an error, Ctrl-C, a
caller who stops reading) calls off what is being fetched, planned or decoded and leaves no thread behind.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Any, TypeAlias, TypeVar

from vlm2vec.encoding.batches import Batch
from vlm2vec.encoding.plan import Failed, Planned
from vlm2vec.encoding.prepare import Prepared, Preparer, Visual
from vlm2vec.encoding.prompt import Media
from vlm2vec.errors import VLM2VecError
from vlm2vec.inputs.parse import fetched, fetched_if_small, release
from vlm2vec.inputs.parts import Input
from vlm2vec.inputs.replace import sources_of
from vlm2vec.media.cores import core_count
from vlm2vec.media.deadline import cancellable, events_of_this_thread, raise_if_cancelled

__all__ = ["Workers"]

T = TypeVar("T")
Decoded: TypeAlias = "dict[Hashable, Future[Visual | VLM2VecError]]"
Item: TypeAlias = "Input | VLM2VecError"

_BATCHES_AHEAD = 2
_MAX_THREADS = 16
_URLS_AT_ONCE = 16  # of inputs that are planned together; as many are fetched ahead of them
_BYTES_AT_ONCE = 256 * 2**20  # of what those of inputs that are planned together lead to, but for the last
_BYTES_AHEAD = 32 * 2**20  # of what those of one input lead to, if it is fetched ahead


class Workers:
    """Threads that plan and decode. A context manager, which no thread outlives.

    Args:
        ahead: Whether to prepare batches before they are asked for; without, everything happens when it is
            asked for, in the caller's thread.
        batches: How many are prepared before they are asked for.
    """

    def __init__(self, *, ahead: bool = True, batches: int = _BATCHES_AHEAD) -> None:
        self._ahead = batches if ahead else 0
        self._stop = threading.Event()
        self._stops = (*events_of_this_thread(), self._stop)
        # Threads start when there is something to do.
        self._pool = ThreadPoolExecutor(min(_MAX_THREADS, core_count()), "vlm2vec") if ahead else None
        # These wait for servers and take no core.
        self._fetchers = ThreadPoolExecutor(_URLS_AT_ONCE, "vlm2vec-fetch") if ahead else None
        # This one waits for both.
        self._planner = ThreadPoolExecutor(1, "vlm2vec-plan") if ahead else None

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        # When the interpreter ends, it has waited for the threads itself, and taken the pool's modules apart.
        for pool in (self._planner, self._pool, self._fetchers):
            if pool is not None and not sys.is_finalizing():
                pool.shutdown(cancel_futures=True)

    def map(self, work: Callable[[Any], T], items: Iterable[Any]) -> list[T]:
        """`work` on each item, in order."""
        return [future.result() for future in [self._submit(work, item) for item in items]]

    def one_ahead(self, items: Iterable[T]) -> Iterator[T]:
        """The items, in order: while one is used, a thread gets the next.

        All of them are got by one thread, where `raise_if_cancelled` tells when nobody asks any more.
        """
        if self._planner is None:
            yield from items
            return
        iterator = iter(items)
        coming = self._submit(_next_of, iterator, self._planner)
        while found := coming.result():
            coming = self._submit(_next_of, iterator, self._planner)
            yield found.pop()  # which is held by its user alone

    def fetched(self, items: Iterable[tuple[int, Item]], size: int) -> Iterator[list[tuple[int, Item]]]:
        """Inputs to be planned together, with what their URLs lead to; the next ones' is fetched meanwhile.

        Args:
            items: The inputs, or what was found wrong with them, each with its index.
            size: How many at most.

        Yields:
            Them in order, an error in place of an input whose URL leads nowhere.
        """
        part: list[tuple[int, Item]] = []
        urls = held = 0
        for index, item in self._arriving(items):
            part.append((index, item))
            urls += _url_count(item)
            held += _bytes_held(item)
            if len(part) == size or urls >= _URLS_AT_ONCE or held >= _BYTES_AT_ONCE:
                yield part
                part, urls, held = [], 0, 0
        if part:
            yield part

    def _arriving(self, items: Iterable[tuple[int, Item]]) -> Iterator[tuple[int, Item]]:
        """Each input, in order, with what its URLs lead to; that of a few of them is fetched ahead."""
        waiting: deque[tuple[int, Item, Future[Item | None]]] = deque()
        urls, most = 0, _URLS_AT_ONCE if self._ahead else 0
        for index, item in items:
            urls += _url_count(item)
            waiting.append((index, item, self._fetch_ahead(item)))
            while urls > most:
                urls -= _url_count(waiting[0][1])
                yield _arrived(*waiting.popleft())
        while waiting:
            yield _arrived(*waiting.popleft())

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

    def _fetch_ahead(self, item: Item) -> Future[Item | None]:
        """The input with what its URLs lead to, or nothing, if that is large."""
        if _url_count(item) and self._ahead:
            return self._submit(partial(fetched_if_small, max_bytes=_BYTES_AHEAD), item, self._fetchers)
        known: Future[Item | None] = Future()
        known.set_result(None if _url_count(item) else item)
        return known

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
        with cancellable(*self._stops):
            raise_if_cancelled()
            return work(item)


def _next_of(iterator: Iterator[T]) -> list[T]:
    """The next item, or nothing at the end."""
    return list(islice(iterator, 1))


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


def _arrived(index: int, item: Item, coming: Future[Item | None]) -> tuple[int, Item]:
    """The input with what its URLs lead to. Large files are fetched here."""
    found = coming.result()
    if found is None:
        assert isinstance(item, Input)  # noqa: S101  # an error is there at once
        found = fetched(item)
    return index, found


def _url_count(item: Item) -> int:
    return 0 if isinstance(item, VLM2VecError) else sum(source.url is not None for source in sources_of(item))


def _bytes_held(item: Item) -> int:
    return 0 if isinstance(item, VLM2VecError) else sum(source.bytes_held for source in sources_of(item))
