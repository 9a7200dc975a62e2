"""What the batches of a sub-batch sampler depend on, checked."""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Iterable, Mapping
from numbers import Real
from typing import Any

from vlm2vec.errors import InputError

__all__ = ["SubBatchSettings", "whole_number"]


@dataclasses.dataclass(frozen=True)
class SubBatchSettings:
    """The settings that decide the global batches; the ranks are not among them.

    Example:
        >>> settings = SubBatchSettings.checked([300, 100], None, 8, 2, seed=0)
        >>> settings.weights, settings.part_of(rank=1, world_size=2)
        ([300.0, 100.0], slice(4, 8, None))
    """

    source_sizes: list[int]
    weights: list[float]
    batch_size: int
    sub_batch_size: int
    seed: int
    shuffle: bool = True

    @classmethod
    def checked(
        cls,
        source_sizes: Iterable[int],
        weights: Iterable[float] | None,
        batch_size: int,
        sub_batch_size: int,
        seed: int,
        *,
        shuffle: bool = True,
    ) -> SubBatchSettings:
        """The settings, or an `InputError` that names the source and the fix."""
        sizes = _checked_sizes(source_sizes)
        settings = cls(
            source_sizes=sizes,
            weights=_checked_weights(sizes if weights is None else weights, len(sizes)),
            batch_size=whole_number("batch_size", batch_size, least=1),
            sub_batch_size=whole_number("sub_batch_size", sub_batch_size, least=0),
            seed=whole_number("seed", seed, least=0),
            shuffle=bool(shuffle),
        )
        settings._check_batch()
        return settings

    @property
    def run(self) -> int:
        """How many rows in sequence are of one drawn source."""
        return self.sub_batch_size or 1

    def as_dict(self) -> dict[str, Any]:
        """The settings as plain numbers and lists of them."""
        return dataclasses.asdict(self)

    def part_of(self, rank: int, world_size: int) -> slice:
        """Which rows of the global batch a rank gets: as many as any other, in whole sub-batches."""
        world = whole_number("world_size", world_size, least=1)
        rank = whole_number("rank", rank, least=0)
        if rank >= world:
            raise InputError(
                f"rank {rank} does not exist among {world} processes",
                fix=f"Pass a rank from 0 to {world - 1}.",
            )
        pieces = self.batch_size // self.run
        if pieces % world:
            raise InputError(
                f"the {pieces} {'sub-batches' if self.sub_batch_size else 'rows'} of a batch cannot be "
                f"shared out evenly among {world} processes",
                fix=self._fixes(pieces, world),
            )
        share = self.batch_size // world
        return slice(rank * share, (rank + 1) * share)

    def _fixes(self, pieces: int, world: int) -> str:
        fixes = [f"Make batch_size {math.ceil(pieces / world) * world * self.run}"]
        if self.batch_size % world == 0:
            fixes.append(f"choose a sub_batch_size that divides {self.batch_size // world}")
        fixes.append(f"use {f'as many processes as divide {pieces}' if pieces > 1 else 'one process'}")
        return f"{', '.join(fixes[:-1])}, or {fixes[-1]}."

    def _check_batch(self) -> None:
        if self.batch_size % self.run:
            below = self.batch_size // self.run * self.run
            better = f"{below} or {below + self.run}" if below else f"{self.run}"
            raise InputError(
                f"batch_size {self.batch_size} is not a multiple of sub_batch_size {self.run}",
                fix=f"Make batch_size {better}, or choose a sub_batch_size that divides {self.batch_size}.",
            )


def whole_number(name: str, value: object, *, least: int) -> int:
    """The value as an `int`, or an `InputError` that calls it by its name.

    Example:
        >>> whole_number("rank", 2, least=0)
        2
    """
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or number < least:
        raise InputError(f"{name} is {_short(value)}", fix=f"Pass a whole number, {least} or more.")
    return number


def _checked_sizes(source_sizes: Iterable[int]) -> list[int]:
    given = _listed("source_sizes", source_sizes)
    if not given:
        raise InputError("there are no sources", fix="Pass the size of at least one source.")
    sizes = [whole_number(f"the size of source {source}", size, least=0) for source, size in enumerate(given)]
    if 0 in sizes:
        empty = f"source {sizes.index(0)}"
        raise InputError("it has no rows", fix="Leave the source out, or give it rows.", source=empty)
    return sizes


def _checked_weights(weights: Iterable[float], sources: int) -> list[float]:
    given = _listed("weights", weights)
    if len(given) != sources:
        raise InputError(
            f"there are {len(given)} weights for {sources} sources",
            fix="Pass one weight for each source, in the same order.",
        )
    floats = [_as_float(weight) for weight in given]
    for source, weight in enumerate(floats):
        if not 0 <= weight < math.inf:
            raise InputError(
                f"its weight is {_short(given[source])}",
                fix="Pass a finite number, 0 or more.",
                source=f"source {source}",
            )
    if not any(floats):
        raise InputError("all weights are 0", fix="Give at least one source a weight above 0.")
    return floats


def _as_float(weight: Any) -> float:
    if not isinstance(weight, Real) or isinstance(weight, bool):
        return math.nan
    try:
        return float(weight)
    except OverflowError:
        return math.inf


def _listed(name: str, values: object) -> list[Any]:
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise InputError(f"{name} is {_short(values)}", fix="Pass a list with one number for each source.")
    return list(values)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
