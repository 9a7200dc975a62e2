"""`Batcher`: inputs of requests that wait are encoded together, by one thread that has the model.

    embed -> admitted, or refused -> planned, by a few threads -> lines, one for each request
          -> groups, one input of each line in turn -> the model's thread -> rows -> Embedded

Planning is all that comes before the model: inputs are parsed, their URLs fetched, headers of media read and
texts tokenised. It says how many tokens an input has, and finds most of what can be wrong with one.

What waits is bounded in inputs and in bytes as they were sent (`max_waiting`, `max_waiting_bytes`). Decoded
from base64 these are held once more; pictures are decoded when their group is computed. Of what URLs lead to,
so many are held at a time as `_MAX_URLS` says, over all requests, each of 256 MiB at most.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers.util import truncate_embeddings

from vlm2vec.arguments import whole_number
from vlm2vec.describe import describe_value
from vlm2vec.encoding.plan import Failed, Planned
from vlm2vec.encoding.prompt import with_default_instruction, with_role
from vlm2vec.errors import InputError, VLM2VecError
from vlm2vec.inputs.parse import fetched, parse_input
from vlm2vec.inputs.parts import Input, Text
from vlm2vec.inputs.replace import sources_of
from vlm2vec.media.cores import core_count
from vlm2vec.media.deadline import Cancelled, cancellable
from vlm2vec.model import VLM2Vec
from vlm2vec.serve.asked import Asked, Embedded
from vlm2vec.serve.errors import QueueFullError, StoppedError
from vlm2vec.serve.settings import ServeSettings

__all__ = ["BatchObserver", "Batcher"]

logger = logging.getLogger(__name__)

Answer: TypeAlias = "npt.NDArray[np.float32] | Exception"

_MAX_PLANNERS = 4
_PLANNED_AT_ONCE = 64  # inputs of a request, before it is another's turn
_INSTRUCTION_AT_ONCE = 2**22  # characters of the request's instruction, which each input repeats
_MAX_URLS = 16
_URLS_AT_ONCE = 4  # inputs of one request whose URLs are fetched at the same time
_RETRY_SECONDS = 1.0, 60.0  # at least, and at most
_NEWEST = 0.3  # weight of the last group in the measured rate


class BatchObserver(Protocol):
    """Who is told what a batcher does; it must return at once."""

    def batch(self, *, inputs: int, tokens: int, seconds: float) -> None:
        """A group was computed."""

    def waiting(self, inputs: int) -> None:
        """So many inputs wait now."""


@dataclass(eq=False)
class _Request:
    """A request that is not answered yet.

    Attributes:
        asked: What it asks for.
        loop: Where it is awaited.
        answer: Its vectors, `(n, dim)` as the model gives them, or what went wrong.
        first: The number of its first input among all inputs of all requests.
        size: Of its inputs, in bytes as they were sent.
        tokens: Of each input, as far as they are planned.
        line: Its inputs that are planned and wait.
        parsed: How many inputs are parsed.
        urls: Inputs whose URLs are not fetched yet.
        fetchers: How many threads fetch some, or are about to.
        held: How many URLs what was fetched came from, for inputs without a row.
        vectors: Rows so far.
        begun: How many inputs the model has got.
        done: How many have a row.
        over: Set when it is answered, or given up.
    """

    asked: Asked
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[npt.NDArray[np.float32]]
    first: int
    size: int
    tokens: list[int]
    vectors: npt.NDArray[np.float32]
    line: deque[Planned] = field(default_factory=deque)
    parsed: int = 0
    urls: deque[Input] = field(default_factory=deque)
    fetchers: int = 0
    held: dict[int, int] = field(default_factory=dict)
    begun: int = 0
    done: int = 0
    over: threading.Event = field(default_factory=threading.Event)


@dataclass(eq=False)
class _Group:
    """What the model got at once: when, how much, and how many rows are still to come."""

    start: float
    inputs: int = 0
    tokens: int = 0
    left: int = 0


@dataclass(frozen=True, eq=False)
class _Begun:
    """An input that the model has got."""

    plan: Planned
    request: _Request
    group: _Group


class Batcher:
    """Encodes inputs of requests that wait together. Vectors are those of `encode`.

    Args:
        model: The model, which no one else trains or moves meanwhile.
        settings: Of the server.
        observer: Who is told of groups and of what waits.
    """

    def __init__(
        self, model: VLM2Vec, settings: ServeSettings, observer: BatchObserver | None = None
    ) -> None:
        model.eval()
        self._width = model.full_width
        self._dimensions = model.truncate_dim
        self._prompts = {
            role: model.resolved_prompt(None, role if role in model.prompts else None)
            for role in (None, "query", "document")
        }
        self._engine = model.engine(
            device=model.device, save_to_cpu=True, normalize_embeddings=False, truncate_dim=None
        )
        self._settings = settings
        self._observer = observer
        # Guards all below; notified when there is more to do, and when something is over.
        self._changed = threading.Condition()
        self._requests = set[_Request]()
        self._lines = deque[_Request]()  # those with something in their line, the next one first
        self._begun: dict[int, _Begun] = {}
        self._suspects = deque[_Begun]()  # of a group that could not be computed; each is tried alone
        self._numbers = 0  # inputs so far
        self._waiting = 0
        self._size = 0
        self._urls = 0
        self._rate = 0.0  # inputs a second
        self._measured = 0.0  # when a group was last done
        self._refusal: Callable[[], StoppedError] | None = None  # why nothing more is taken
        self._ended = False
        self._planners = ThreadPoolExecutor(min(_MAX_PLANNERS, core_count()), "vlm2vec-plan")
        self._fetchers = ThreadPoolExecutor(_MAX_URLS, "vlm2vec-fetch")
        self._thread = threading.Thread(target=self._run, name="vlm2vec-model", daemon=True)
        self._thread.start()
        atexit.register(self.stop, 1.0)  # an interpreter that ends while it computes would abort

    @property
    def is_alive(self) -> bool:
        """Whether the thread that has the model is there."""
        return self._thread.is_alive()

    @property
    def waiting(self) -> int:
        """Inputs that the model has not got yet."""
        return self._waiting

    async def embed(self, asked: Asked) -> Embedded:
        """The vectors of a request's inputs; when it is cancelled, what was not begun is dropped.

        Raises:
            VLM2VecError: Something is wrong with an input; `index` is its position in the request.
            QueueFullError: Too much waits.
            StoppedError: The server is stopping, or the model's thread has ended.
        """
        dimensions = asked.dimensions
        if dimensions is not None and whole_number("dimensions", dimensions) > self._width:
            shown = describe_value(dimensions)
            raise InputError(
                f"dimensions is {shown}, and vectors of this model have {self._width} components",
                fix=f"Ask for at most {self._width}, or leave it out.",
            )
        request = self._admitted(asked)
        try:
            if asked.inputs:
                self._submit(self._planners, request, self._plan)
                await request.answer
        finally:
            self._end(request)
        vectors = truncate_embeddings(torch.from_numpy(request.vectors), dimensions or self._dimensions)
        return Embedded(torch.nn.functional.normalize(vectors, dim=1).numpy(), request.tokens)

    def stop(self, seconds: float) -> None:
        """Take nothing more, finish what waits, and end the threads.

        Args:
            seconds: After which requests that still wait get a `StoppedError`.
        """
        atexit.unregister(self.stop)
        end = time.monotonic() + seconds
        with self._changed:
            self._refusal = self._refusal or _stopping
            self._changed.wait_for(lambda: not self._requests, seconds)
            self._end_all()
        self._thread.join(max(0.0, end - time.monotonic()))
        for pool in (self._planners, self._fetchers):
            pool.shutdown(wait=False, cancel_futures=True)

    def _admitted(self, asked: Asked) -> _Request:
        """The request, with its place among all."""
        count, size = len(asked.inputs), _size(asked.inputs)
        loop = asyncio.get_running_loop()
        with self._changed:
            if self._refusal is not None:
                raise self._refused()
            too_many = self._waiting + count > self._settings.max_waiting
            too_large = self._size + size > self._settings.max_waiting_bytes
            # What is more than may wait is taken when nothing else is there; other limits are not for here.
            if self._requests and (too_many or too_large):
                raise self._full()
            request = _Request(
                asked,
                loop,
                loop.create_future(),
                self._numbers,
                size,
                [0] * count,
                np.empty((count, self._width), np.float32),
            )
            self._numbers += count
            self._size += size
            self._requests.add(request)
            self._count_waiting(count)
        return request

    def _full(self) -> QueueFullError:
        least, most = _RETRY_SECONDS
        error = QueueFullError(
            f"{self._waiting:,} inputs wait already, and no more are taken", fix="Send it again later."
        )
        error.retry_after = min(max(self._waiting / self._rate if self._rate else least, least), most)
        return error

    def _submit(self, pool: ThreadPoolExecutor, request: _Request, work: Callable[[_Request], None]) -> None:
        try:
            pool.submit(self._guarded, request, work)
        except RuntimeError:  # it was stopped meanwhile
            self._end(request, self._refused())

    def _guarded(self, request: _Request, work: Callable[[_Request], None]) -> None:
        """Work on a request in a thread: what goes wrong ends this request and no other."""
        try:
            with cancellable(request.over):
                work(request)
        except Cancelled:
            pass
        except VLM2VecError as error:
            self._end(request, error.without_frames())
        except Exception as error:  # of our own making: that one is told, and the rest goes on
            logger.exception("a request could not be planned")
            self._end(request, error)

    def _plan(self, request: _Request) -> None:
        """Everything ahead of the model for the next inputs; those with URLs are fetched meanwhile."""
        asked = request.asked
        items: list[Input] = []
        count = min(_PLANNED_AT_ONCE, max(1, _INSTRUCTION_AT_ONCE // max(1, len(asked.instruction or ""))))
        for given in asked.inputs[request.parsed : request.parsed + count]:
            if request.over.is_set():
                return
            item = parse_input(
                given,
                index=request.parsed,
                instruction=asked.instruction,
                allow_urls=self._settings.allow_urls,
                allow_files=False,
            )
            items.append(with_role(with_default_instruction(item, self._prompts[asked.role]), asked.role))
            request.parsed += 1
        self._line_up(request, [item for item in items if not _url_count(item)])
        with self._changed:
            request.urls.extend(item for item in items if _url_count(item))
            more = min(_URLS_AT_ONCE, len(request.urls)) - request.fetchers
            request.fetchers += max(more, 0)
        for _ in range(more):
            self._submit(self._fetchers, request, self._fetch)
        if request.parsed < len(asked.inputs):
            self._submit(self._planners, request, self._plan)

    def _fetch(self, request: _Request) -> None:
        """What the URLs of one input lead to, as soon as so much may be held; then the next input's."""
        with self._changed:
            if not request.urls:
                request.fetchers -= 1
                return
            item = request.urls.popleft()
        count = _url_count(item)
        if count > _MAX_URLS:
            raise InputError(
                f"it has {count} URLs, and at most {_MAX_URLS} are fetched for one input",
                fix="Send the data itself, as data-URIs.",
                index=item.index,
                source=item.describe(),
            )
        with self._changed:
            self._changed.wait_for(lambda: request.over.is_set() or self._urls + count <= _MAX_URLS)
            if request.over.is_set():
                return
            assert item.index is not None  # noqa: S101  # _plan numbers them
            request.held[item.index] = count
            self._urls += count
        arrived = fetched(item)
        if isinstance(arrived, VLM2VecError):
            raise arrived
        self._line_up(request, [arrived])
        self._submit(self._fetchers, request, self._fetch)

    def _line_up(self, request: _Request, items: Iterable[Input]) -> None:
        """Plan inputs of a request, and let them wait for the model."""
        numbered = [(request.first + (item.index or 0), item) for item in items]
        plans: list[Planned] = []
        for plan in self._engine.preparer.planner.plan(numbered, truncate=request.asked.truncate):
            if isinstance(plan, Failed):
                raise plan.error
            request.tokens[plan.index - request.first] = plan.tokens
            plans.append(plan)
        with self._changed:
            if plans and not request.over.is_set():
                if not request.line:
                    self._lines.append(request)
                request.line.extend(plans)
                self._changed.notify_all()

    def _run(self) -> None:
        """The thread that has the model."""
        while not self._ended:
            try:
                self._compute()
            except BaseException as error:  # whatever it is: nobody may wait for this thread any more
                logger.exception("a group could not be computed")
                if not (isinstance(error, Exception) and self._goes_on(error)):
                    name = type(error).__name__
                    self._refusal = lambda name=name: StoppedError(
                        f"the thread that has the model has ended ({name})",
                        fix="The server must be started again.",
                    )
                    break
        with self._changed:
            self._refusal = self._refusal or _stopping
            self._end_all()

    def _compute(self) -> None:
        """Groups and their rows, until it is stopped."""
        # While this thread waits for a GPU, the next group is decoded.
        groups_ahead = int(self._engine.overlap)
        with closing(self._engine.rows_of_planned(self._groups(), groups_ahead=groups_ahead)) as rows:
            for number, row in rows:
                self._deliver(number, row)

    def _goes_on(self, error: Exception) -> bool:
        """After something unforeseen: what was begun is computed again, each input alone.

        An input that was alone is to blame, and its request fails, unless the model computes nothing any
        more.
        """
        with self._changed:
            begun = [self._begun.pop(number) for number in list(self._begun)]
            if len(begun) > 1:
                self._suspects += [one for one in begun if not one.request.over.is_set()]
                return True
            for one in begun:
                self._end(one.request, error)
        (plan,) = self._engine.preparer.planner.plan([(-1, Input((Text("a"),)))])
        try:
            return bool(list(self._engine.rows_of_planned([[cast("Planned", plan)]], groups_ahead=0)))
        except Exception:
            logger.exception("nor could a plain text")
            return False

    def _groups(self) -> Iterator[list[Planned]]:
        """What the model computes next, as long as there is something, and an empty group before waiting."""
        # Whoever got the last rows comes again in a moment. Where the model computes in this thread, nothing
        # is computed now, and a moment is less than a group of half the size costs.
        is_idle = True
        while not self._ended:
            with self._changed:
                if is_idle and self._lines:
                    self._changed.wait_for(self._is_enough, self._settings.gather_seconds)
            group = self._next_group()
            is_idle = not group or not self._engine.overlap
            yield group
            if not group:
                with self._changed:
                    self._changed.wait_for(lambda: self._lines or self._suspects or self._ended)

    def _is_enough(self) -> bool:
        """Whether there is no use in waiting for more: it would not be of the same group."""
        cost = sum(plan.cost for request in self._lines for plan in request.line)
        return self._ended or cost >= self._engine.budget.cost

    def _next_group(self) -> list[Planned]:
        """One input of each line in turn, as many as a forward pass takes."""
        group = _Group(time.monotonic())
        plans: list[Planned] = []
        cost = 0
        with self._changed:
            while self._suspects:
                suspect = self._suspects.popleft()
                if not suspect.request.over.is_set():
                    self._begun[suspect.plan.index] = replace(suspect, group=group)
                    group.tokens, group.inputs, group.left = suspect.plan.tokens, 1, 1
                    return [suspect.plan]
            while self._lines:
                request = self._lines.popleft()
                if not request.line:
                    continue  # given up
                cost += request.line[0].cost
                if plans and cost > self._engine.budget.cost:
                    self._lines.appendleft(request)
                    break
                plan = request.line.popleft()
                if request.line:
                    self._lines.append(request)
                request.begun += 1
                self._begun[plan.index] = _Begun(plan, request, group)
                group.tokens += plan.tokens
                plans.append(plan)
            group.inputs = group.left = len(plans)
            self._count_waiting(-len(plans))
        return plans

    def _deliver(self, number: int, row: torch.Tensor | VLM2VecError) -> None:
        """A row to the request that its input belongs to."""
        with self._changed:
            begun = self._begun.pop(number)
            request, group = begun.request, begun.group
            group.left -= 1
            if not group.left:
                self._measure(group)
            index = number - request.first
            self._let_go(request.held.pop(index, 0))
            if request.over.is_set():
                return
            if isinstance(row, VLM2VecError):
                self._end(request, row)
                return
            request.vectors[index] = row.numpy()
            request.done += 1
            if request.done == len(request.tokens):
                self._end(request, request.vectors)

    def _measure(self, group: _Group) -> None:
        now = time.monotonic()
        # Of two groups at once, the time of the second begins when the first is done.
        seconds = max(now - max(group.start, self._measured), 1e-6)
        self._measured = now
        rate = group.inputs / seconds
        self._rate = _NEWEST * rate + (1 - _NEWEST) * self._rate if self._rate else rate
        if self._observer is not None:
            self._observer.batch(inputs=group.inputs, tokens=group.tokens, seconds=seconds)

    def _end(self, request: _Request, answer: Answer | None = None) -> None:
        """The request is answered, or nobody waits for it: nothing of it is begun any more."""
        with self._changed:
            if request.over.is_set():
                return
            request.over.set()
            self._requests.discard(request)
            self._size -= request.size
            self._count_waiting(request.begun - len(request.tokens))
            self._let_go(sum(request.held.values()))
            for left in (request.held, request.line, request.urls):
                left.clear()
            self._changed.notify_all()
        if answer is not None:
            with suppress(RuntimeError):  # its loop is closed: nobody waits
                request.loop.call_soon_threadsafe(_settle, request.answer, answer)

    def _end_all(self) -> None:
        self._ended = True
        self._changed.notify_all()
        for request in list(self._requests):
            self._end(request, self._refused())

    def _refused(self) -> StoppedError:
        return (self._refusal or _stopping)()

    def _count_waiting(self, more: int) -> None:
        self._waiting += more
        if self._observer is not None and more:
            self._observer.waiting(self._waiting)

    def _let_go(self, urls: int) -> None:
        """So many URLs less are held."""
        if urls:
            self._urls -= urls
            self._changed.notify_all()


def _settle(future: asyncio.Future[npt.NDArray[np.float32]], answer: Answer) -> None:
    if future.done():
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)


def _stopping() -> StoppedError:
    return StoppedError("the server is stopping", fix="Send it again later.")


def _url_count(item: Input) -> int:
    return sum(source.url is not None for source in sources_of(item))


def _size(inputs: list[Any]) -> int:
    """Bytes of inputs as they were sent, in memory."""
    size, left = 0, [inputs]
    while left:  # not by recursion: how deep they are is for clients to choose
        value: Any = left.pop()
        size += sys.getsizeof(value)
        if isinstance(value, Mapping):
            left += [*value, *value.values()]
        elif isinstance(value, (list, tuple)):
            left += value
    return size
