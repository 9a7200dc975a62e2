"""The encode engine: plan, prepare ahead, forward, scatter.

Inputs are taken a window at a time. Of each window, equal inputs are dropped, the rest planned (`plan`) and
cut into `batches`, their media decoded ahead of the model (`ahead`), and each batch computed in one forward
pass. Rows come out as they are ready, with the index of the input they belong to.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from operator import itemgetter
from typing import Any, TypeAlias, TypeVar

import torch

from vlm2vec.blocks.memory import empty_cache, free_memory, is_out_of_memory
from vlm2vec.encoding.ahead import Workers
from vlm2vec.encoding.batches import Batch, batches
from vlm2vec.encoding.plan import Failed, Planned
from vlm2vec.encoding.prepare import Prepared, Preparer
from vlm2vec.encoding.settings import EngineSettings
from vlm2vec.errors import OutOfMemoryError, VLM2VecError
from vlm2vec.inputs.parts import Input
from vlm2vec.media.deadline import raise_if_cancelled
from vlm2vec.notices import between_bars
from vlm2vec.sameness import first_of_each

__all__ = ["Budget", "Engine", "Item", "in_order"]

logger = logging.getLogger(__name__)

T = TypeVar("T")
Item: TypeAlias = "Input | VLM2VecError"
Copies: TypeAlias = "dict[int, list[tuple[int, Input]]]"  # index -> indices of equal inputs, and these
Launched: TypeAlias = "tuple[list[int], Any]"  # indices, and what forward gave or an error

_PLANNED_AT_ONCE = 256, 1024  # inputs: at least, and at most, if a batch may hold so many
_SHORT = 16  # tokens of an input, for that
_DEFAULT_COST = {"cpu": 4096, "mps": 8192}
_DEFAULT_COST_ON_GPU = 32_768
_LEAST_COST_ON_GPU = 1024
# Of the memory that is free: kernels that are loaded on their first use, what libraries take for themselves,
# and what torch rounds up come on top.
_SHARE_OF_MEMORY = 0.5


class Budget:
    """How many tokens and patches a forward pass takes, and what was learned about it.

    Attributes:
        cost: Maximum number of tokens and patches of a batch.
    """

    def __init__(self, cost: int) -> None:
        self.cost = cost
        self._logged = False

    @classmethod
    def of(cls, device: torch.device, *, bytes_per_token: int | None = None) -> Budget:
        """The default of a device: on CUDA as much as its memory holds, of few values.

        Where batches are cut decides over the last bits of a vector, and some megabytes should not.

        Args:
            device: Where the network is.
            bytes_per_token: What a token or patch takes of its memory at the peak, if that is known.
        """
        cost = _DEFAULT_COST.get(device.type, _DEFAULT_COST_ON_GPU)
        free = None if bytes_per_token is None else free_memory(device)
        if free is not None and bytes_per_token is not None:
            while cost > _LEAST_COST_ON_GPU and cost * bytes_per_token > free * _SHARE_OF_MEMORY:
                cost //= 2
        return cls(cost)

    def failed(self, cost: int) -> None:
        """Remember that a batch of this cost was too much, unless that is known."""
        if cost > self.cost:
            return  # cut before the budget was halved
        self.cost = max(1, cost // 2)
        if not self._logged:
            with between_bars():
                logger.warning(
                    "Out of memory with %d tokens and patches in a batch; trying less from here on. "
                    "max_tokens_per_batch=%d avoids the failed attempt.",
                    cost,
                    self.cost,
                )
        self._logged = True


@dataclass(frozen=True, eq=False)
class Engine:
    """Encodes inputs with one model.

    Attributes:
        preparer: Plans and prepares inputs for the model.
        forward: Rows of a batch, one for each input; it may still be computing when it returns.
        collect: Fetches the rows that `forward` gave.
        budget: What fits.
        max_inputs: Maximum number of inputs of a batch; `None` leaves it to the budget.
        truncate: Shorten texts that do not fit the context.
        overlap: Whether `forward` returns before it has computed, and needs no CPU for it: meanwhile the next
            batch is launched, and the inputs behind it are planned.
        settings: Switches.
    """

    preparer: Preparer
    forward: Callable[[Sequence[Prepared]], Any]
    collect: Callable[[Any], Sequence[Any]]
    budget: Budget
    max_inputs: int | None = None
    truncate: bool = False
    overlap: bool = True
    settings: EngineSettings = field(default_factory=EngineSettings)

    def rows(self, items: Iterable[Item], *, window: int | None = None) -> Generator[tuple[int, Any]]:
        """Indices and rows of inputs, in the order in which they are ready; of a failed one, its error.

        Args:
            items: Parsed inputs, or the error that parsing one gave.
            window: Inputs among which equal ones are looked for, and within which rows leave their order;
                `None` for all.
        """
        copies: Copies = {}
        with Workers(ahead=self.settings.prepare_ahead) as workers:
            yield from self._computed(self._batches(items, window, workers, copies), workers, copies)

    def rows_of_planned(
        self, groups: Iterable[Sequence[Planned]], *, groups_ahead: int
    ) -> Generator[tuple[int, Any]]:
        """The same for inputs that are planned already, whose indices differ; groups may come without end.

        Args:
            groups: Inputs that are computed together as far as they fit, and among which equal ones are
                encoded once. An empty one is a mark: rows of what came before it come before the next is
                asked for.
            groups_ahead: How many are asked for, and decoded, before the model is ready for them.
        """
        copies: Copies = {}
        with Workers(ahead=self.settings.prepare_ahead, batches=groups_ahead) as workers:
            yield from self._computed(self._batches_of_planned(groups, copies), workers, copies)

    def _computed(
        self, batches: Iterable[Batch], workers: Workers, copies: Copies
    ) -> Iterator[tuple[int, Any]]:
        launched: list[Launched] = []
        for cost, batch in workers.prepared(batches, self.preparer):
            raise_if_cancelled()
            failed = [(index, ready) for index, ready in batch if isinstance(ready, VLM2VecError)]
            # In order: a caller who raises one raises that of the first input.
            yield from _with_copies(sorted(failed, key=itemgetter(0)), copies)
            good = [(index, ready) for index, ready in batch if isinstance(ready, Prepared)]
            # The next batch is launched before the last one's rows are waited for.
            done, launched = launched, self._launch(good, cost)
            if not self.overlap:
                done, launched = launched, []
            yield from _with_copies(self._collected(done), copies)
        yield from _with_copies(self._collected(launched), copies)

    def _batches(
        self, items: Iterable[Item], window: int | None, workers: Workers, copies: Copies
    ) -> Iterator[Batch]:
        """Batches of what is to be encoded; `copies` gets the indices of inputs that equal another."""
        for part in _parts(enumerate(items), window):
            unique = [part[number] for number in self._firsts(part, copies)]
            planned: Iterable[Sequence[Planned | Failed]] = self._planned(unique, workers)
            if self.overlap:  # a model that computes on the CPU would only lose cores to it
                planned = workers.one_ahead(planned)
            yield from chain.from_iterable(map(self._cut, planned))
            yield Batch([], 0)  # rows of this window come before more inputs are read

    def _batches_of_planned(self, groups: Iterable[Sequence[Planned]], copies: Copies) -> Iterator[Batch]:
        for group in groups:
            unique: list[Planned] = []
            for truncate in (False, True):  # where it is known only later that one does not fit
                alike = [plan for plan in group if plan.truncate == truncate]
                firsts = self._firsts([(plan.index, plan.item) for plan in alike], copies)
                unique += [alike[number] for number in firsts]
            yield from batches(unique, budget=self.budget, max_inputs=self.max_inputs)
            if not group:
                yield Batch([], 0)

    def _firsts(self, pairs: Sequence[tuple[int, Item]], copies: Copies) -> list[int]:
        """Positions of inputs that equal none before; `copies` gets the others."""
        if not self.settings.deduplicate:
            return list(range(len(pairs)))
        firsts = first_of_each([item for _, item in pairs])
        for (index, item), first in zip(pairs, firsts, strict=True):
            if isinstance(item, Input) and pairs[first][0] != index:
                copies.setdefault(pairs[first][0], []).append((index, item))
        return [number for number, first in enumerate(firsts) if first == number]

    def _planned(
        self, items: Sequence[tuple[int, Item]], workers: Workers
    ) -> Iterator[Sequence[Planned | Failed]]:
        """Inputs that are planned together, about as many at a time as a batch may hold."""
        minimum, maximum = _PLANNED_AT_ONCE
        for group in workers.fetched(items, min(max(minimum, self.budget.cost // _SHORT), maximum)):
            raise_if_cancelled()
            yield self.preparer.planner.plan(group, truncate=self.truncate, run=workers.map)

    def _cut(self, planned: Sequence[Planned | Failed]) -> Iterator[Batch]:
        """Batches of inputs that were planned together; no plan outlives them."""
        if failed := [plan for plan in planned if isinstance(plan, Failed)]:
            yield Batch(failed, 0)
        good = [plan for plan in planned if isinstance(plan, Planned)]
        yield from batches(good, budget=self.budget, max_inputs=self.max_inputs)

    def _launch(self, batch: Sequence[tuple[int, Prepared]], cost: int) -> list[Launched]:
        """The forward pass, in as many parts as memory asks for."""
        if not batch:
            return []
        indices = [index for index, _ in batch]
        try:
            return [(indices, self.forward([ready for _, ready in batch]))]
        except VLM2VecError as error:  # one input of the batch is larger than was known before its features
            if len(batch) == 1:
                return [(indices, error.without_frames())]
            reason = None
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            reason = str(error).partition("\n")[0]
        if reason is not None:
            # Out here nothing refers to the failed pass and its tensors any more.
            empty_cache()
            if len(batch) == 1:
                return [(indices, _too_large(batch[0][1], reason))]
            self.budget.failed(cost)
        half = len(batch) // 2
        parts = batch[:half], batch[half:]
        costs = (min(cost, sum(ready.cost for _, ready in part)) for part in parts)
        return [
            launched
            for part, part_cost in zip(parts, costs, strict=True)
            for launched in self._launch(part, part_cost)
        ]

    def _collected(self, launched: Iterable[Launched]) -> Iterator[tuple[int, Any]]:
        for indices, output in launched:
            rows = [output] if isinstance(output, VLM2VecError) else self.collect(output)
            yield from zip(indices, rows, strict=True)


def in_order(rows: Iterable[tuple[int, T]]) -> Generator[T]:
    """Rows in the order of their indices, each as soon as all before it are there."""
    waiting: dict[int, T] = {}
    next_index = 0
    for index, row in rows:
        waiting[index] = row
        while next_index in waiting:
            yield waiting.pop(next_index)
            next_index += 1


def _with_copies(rows: Iterable[tuple[int, Any]], copies: Copies) -> Iterator[tuple[int, Any]]:
    for index, row in rows:
        yield index, row
        for copy, item in copies.pop(index, ()):
            yield copy, _error_of(item, row) if isinstance(row, VLM2VecError) else _cloned(row)


def _error_of(item: Input, error: VLM2VecError) -> VLM2VecError:
    """What went wrong with one input, for another that is equal but for its name."""
    own = error.copy()
    own.source = None
    return own.at(item.index, item.describe())


def _cloned(row: Any) -> Any:
    """A row of its own for an equal input: a caller may write into either."""
    return {name: _cloned(part) for name, part in row.items()} if isinstance(row, dict) else row.clone()


def _parts(items: Iterable[T], size: int | None) -> Iterator[list[T]]:
    """Some items at a time. An error of the iterable comes after what was read before it."""
    iterator = iter(items)
    while True:
        part: list[T] = []
        try:
            part.extend(islice(iterator, size))
        except Exception:
            if part:
                yield part
            raise
        if not part:
            return
        yield part


def _too_large(prepared: Prepared, reason: str) -> OutOfMemoryError:
    return OutOfMemoryError(
        f"with {len(prepared.token_ids):,} tokens it does not fit the device's memory, even alone ({reason})",
        fix="Give fewer pages, frames or max_pixels, a shorter text, or another device.",
        index=prepared.item.index,
        source=prepared.item.describe(),
    )
