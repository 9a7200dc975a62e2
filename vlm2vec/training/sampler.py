"""Which rows make each global batch: sub-batches of one source each, the sources drawn by weight.

VLM2Vec-V2 (section 3.4) trains on batches of 1,024 made of sub-batches of 64. Within a sub-batch the
negatives are alike and so hard; across the batch the tasks stay mixed.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from vlm2vec.arguments import is_number, whole_number
from vlm2vec.describe import shorten
from vlm2vec.errors import InputError
from vlm2vec.training.source_passes import SourcePasses

__all__ = ["SubBatchSampler", "SubBatchSettings"]

_STREAM = 0  # the second number of the seed; the shuffles of the rows have 1


class SubBatchSampler(Iterator[list[tuple[int, int]]]):
    """Endless iterator of batches of `(source index, row index)`, this rank's part of each global batch.

    Each sub-batch holds rows of one source, drawn independently with probability `weight / sum(weights)`,
    so one source may fill several sub-batches. It stays whole, on one rank, contiguous in its list; the
    parts of the ranks, one after the other, are the global batch, which is the same for any number of
    ranks. A row is drawn again only when its source has been used up, and twice in one global batch only
    when its source has fewer rows than the batch takes from it.

    A batch depends on the settings and its step alone, so a run resumes with the very next batch, also on
    another number of ranks. Give it to a `DataLoader` as `batch_sampler`, and keep one iterator of that for
    the whole training: a loader with workers draws batches ahead of their use. What such a loader has used
    is known to the training loop only: save `{**sampler.state_dict(), "step": used}`.

    Args:
        source_sizes: Number of rows of each source.
        weights: Weight of each source, of any sum; a source of weight 0 is never drawn. By default the
            size of the source, so that every row is drawn about equally often.
        batch_size: Rows of a global batch, over all ranks.
        sub_batch_size: Rows of a sub-batch, a divisor of `batch_size`. With 0 each row draws its own
            source; with `batch_size` the whole batch is of one source.
        seed: Seed of all draws and shuffles.
        rank: Number of this process among `world_size`.
        world_size: Number of processes; it divides the number of sub-batches.
        shuffle: Whether each pass over a source has a random order of its own; otherwise rows come in the
            order of the source.

    Raises:
        InputError: A setting has no meaning; the message names the source and the fix.

    Example:
        >>> sampler = SubBatchSampler([1000, 50], batch_size=8, sub_batch_size=4)
        >>> batch = next(sampler)
        >>> [len({source_index for source_index, row in batch[start : start + 4]}) for start in (0, 4)]
        [1, 1]
    """

    def __init__(  # noqa: PLR0917 - callers rely on this order
        self,
        source_sizes: Iterable[int],
        weights: Iterable[float] | None = None,
        batch_size: int = 1024,
        sub_batch_size: int = 64,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        *,
        shuffle: bool = True,
    ) -> None:
        self._settings = SubBatchSettings.checked(
            source_sizes, weights, batch_size, sub_batch_size, seed, shuffle=shuffle
        )
        self._mine = self._settings.part_of(rank, world_size)
        # Divided by the largest first: the sum of weights near the largest float would be infinite.
        shares = np.array(self._settings.weights)
        bounds = np.cumsum(shares / shares.max())
        self._bounds = bounds / bounds[-1]
        self._restart()

    @property
    def step(self) -> int:
        """Number of batches drawn so far.

        Example:
            >>> sampler = SubBatchSampler([100], batch_size=8, sub_batch_size=0)
            >>> _ = next(sampler), next(sampler)
            >>> sampler.step
            2
        """
        return self._step

    def __iter__(self) -> SubBatchSampler:
        return self

    def __next__(self) -> list[tuple[int, int]]:
        sources = np.repeat(self._drawn_sources(), self._settings.run)
        rows = np.empty(self._settings.batch_size, dtype=np.int64)
        for source_index in np.unique(sources).tolist():
            is_drawn = sources == source_index
            rows[is_drawn] = self._passes[source_index].take(int(is_drawn.sum()))
        self._step += 1
        return list(zip(sources[self._mine].tolist(), rows[self._mine].tolist(), strict=True))

    def advance(self, steps: int) -> None:
        """Pass over batches as if they had been drawn.

        Only sources with fewer rows than two batches are shuffled on the way, so a thousand steps take a
        fraction of a second.

        Args:
            steps: How many batches to pass over.

        Raises:
            InputError: `steps` is negative or not a whole number.

        Example:
            >>> straight = SubBatchSampler([100, 30], batch_size=8, sub_batch_size=4)
            >>> _ = next(straight), next(straight)
            >>> resumed = SubBatchSampler([100, 30], batch_size=8, sub_batch_size=4)
            >>> resumed.advance(2)
            >>> next(resumed) == next(straight)
            True
        """
        for _ in range(whole_number("steps", steps, minimum=0)):
            sources, counts = np.unique(self._drawn_sources(), return_counts=True)
            for source_index, count in zip(sources.tolist(), counts.tolist(), strict=True):
                self._passes[source_index].skip(count * self._settings.run)
            self._step += 1

    def state_dict(self) -> dict[str, Any]:
        """Where the sampler is: the step, and the settings that the batches depend on, as plain numbers.

        Example:
            >>> SubBatchSampler([100], batch_size=8, sub_batch_size=4).state_dict()["step"]
            0
        """
        return {"step": self._step, **self._settings.as_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to the step of a `state_dict()`, of a sampler with any rank and number of ranks.

        Args:
            state: What `state_dict()` returned.

        Raises:
            InputError: The state is of a sampler with other settings, or has no step.

        Example:
            >>> saved = SubBatchSampler([100], batch_size=8, sub_batch_size=4)
            >>> saved.advance(3)
            >>> rank_1 = SubBatchSampler([100], batch_size=8, sub_batch_size=4, rank=1, world_size=2)
            >>> rank_1.load_state_dict(saved.state_dict())
            >>> next(rank_1) == next(saved)[4:]
            True
        """
        for name, value in self._settings.as_dict().items():
            if state.get(name) != value:
                raise InputError(
                    f"the state is of a sampler with other {name}: {shorten(str(state.get(name)))}, and not "
                    f"{shorten(str(value))}",
                    fix="Resume with the settings and sources that the run began with.",
                )
        step = whole_number("the step of the state", state.get("step"), minimum=0)
        if step < self._step:
            self._restart()
        self.advance(step - self._step)

    def _restart(self) -> None:
        self._step = 0
        self._passes = [
            SourcePasses(
                size,
                source_index=source_index,
                seed=self._settings.seed,
                max_count=self._settings.batch_size,
                shuffle=self._settings.shuffle,
            )
            for source_index, size in enumerate(self._settings.source_sizes)
        ]

    def _drawn_sources(self) -> npt.NDArray[np.intp]:
        """The sources of this step's sub-batches, or rows where `sub_batch_size` is 0."""
        settings = self._settings
        generator = np.random.default_rng([settings.seed, _STREAM, self._step])
        draws = generator.random(settings.batch_size // settings.run)
        return np.searchsorted(self._bounds, draws, side="right")


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
            batch_size=whole_number("batch_size", batch_size, minimum=1),
            sub_batch_size=whole_number("sub_batch_size", sub_batch_size, minimum=0),
            seed=whole_number("seed", seed, minimum=0),
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
        world = whole_number("world_size", world_size, minimum=1)
        rank = whole_number("rank", rank, minimum=0)
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


def _checked_sizes(source_sizes: Iterable[int]) -> list[int]:
    given = _listed("source_sizes", source_sizes)
    if not given:
        raise InputError("there are no sources", fix="Pass the size of at least one source.")
    sizes = [
        whole_number(f"the size of source {source_index}", size, minimum=0)
        for source_index, size in enumerate(given)
    ]
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
    for source_index, weight in enumerate(floats):
        if not 0 <= weight < math.inf:
            raise InputError(
                f"its weight is {_short(given[source_index])}",
                fix="Pass a finite number, 0 or more.",
                source=f"source {source_index}",
            )
    if not any(floats):
        raise InputError("all weights are 0", fix="Give at least one source a weight above 0.")
    return floats


def _as_float(weight: Any) -> float:
    if not is_number(weight):
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
