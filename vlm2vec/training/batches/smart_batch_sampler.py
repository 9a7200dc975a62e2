"""Batches made of groups that were mined: each sub-batch is one of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from vlm2vec.errors import InputError
from vlm2vec.training.batches.smart_batches import SmartBatches
from vlm2vec.training.batches.sub_batch_sampler import SubBatchSampler
from vlm2vec.training.batches.sub_batch_settings import SubBatchSettings

__all__ = ["SmartBatchSampler"]


class SmartBatchSampler(Iterator[list[tuple[int, int]]]):
    """A `SubBatchSampler` whose sub-batches are the groups of `SmartBatches`.

    Groups take the place of rows: a group is drawn again only when all of its source have been, and twice in
    one batch only when its source has fewer groups than the batch takes from it. All else is as there: one
    source for each sub-batch, drawn by weight; the same global batch for any number of ranks; a state that
    resumes with the very next batch, also on another number of ranks.

    Args:
        groups: The groups, of the same rows that are trained on.
        weights: Weight of each source, of any sum; by default the number of its groups.
        batch_size: Rows of a global batch, over all ranks: a multiple of the size of a group.
        seed: Seed of all draws and shuffles.
        rank: Number of this process among `world_size`.
        world_size: Number of processes; it divides the number of groups in a batch.

    Raises:
        InputError: A setting has no meaning; the message names the source and the fix.

    Example:
        >>> import numpy as np
        >>> from vlm2vec.training.batches.smart_batches import GroupedSource
        >>> pets = GroupedSource("pets", 5, np.array([[0, 3], [1, 4]]), np.array([2]))
        >>> sampler = SmartBatchSampler(SmartBatches((pets,), neighbours=1, skip=0), batch_size=4)
        >>> sorted(next(sampler))
        [(0, 0), (0, 1), (0, 3), (0, 4)]
    """

    def __init__(
        self,
        groups: SmartBatches,
        weights: Iterable[float] | None = None,
        *,
        batch_size: int = 1024,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if not isinstance(groups, SmartBatches):
            raise InputError(
                f"groups is of the type {type(groups).__name__}", fix="Pass what mine_sub_batches returned."
            )
        self._groups = [source.groups for source in groups.sources]
        size = groups.sub_batch_size
        # Checked in numbers of rows, so that messages speak of those.
        settings = SubBatchSettings.checked(
            [source.size for source in self._groups], weights, batch_size, size, seed
        )
        settings.part_of(rank, world_size)
        self._settings = {**settings.as_dict(), "groups": groups.digest}
        self._sampler = SubBatchSampler(
            [len(source) for source in self._groups],
            settings.weights,
            batch_size=settings.batch_size // size,
            sub_batch_size=1,
            seed=seed,
            rank=rank,
            world_size=world_size,
        )

    @property
    def step(self) -> int:
        """Number of batches drawn so far."""
        return self._sampler.step

    def __iter__(self) -> SmartBatchSampler:
        return self

    def __next__(self) -> list[tuple[int, int]]:
        return [
            (source, row)
            for source, group in next(self._sampler)
            for row in self._groups[source][group].tolist()
        ]

    def advance(self, steps: int) -> None:
        """Pass over batches as if they had been drawn.

        Args:
            steps: How many batches to pass over.

        Raises:
            InputError: `steps` is negative or not a whole number.
        """
        self._sampler.advance(steps)

    def state_dict(self) -> dict[str, Any]:
        """Where the sampler is: the step, and what the batches depend on, as plain numbers and a digest."""
        return {"step": self.step, **self._settings}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to the place of a `state_dict()`, of a sampler with any rank and number of ranks.

        Args:
            state: What `state_dict()` returned.

        Raises:
            InputError: The state is of a sampler with other groups or settings, or has no step.
        """
        for name, value in self._settings.items():
            if state.get(name) != value:
                raise InputError(
                    f"the state is of a sampler with other {name}",
                    fix="Resume with the settings and groups that the run began with.",
                )
        self._sampler.load_state_dict({**self._sampler.state_dict(), "step": state.get("step")})
