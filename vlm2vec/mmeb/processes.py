"""The processes of a run: those that a launcher started, and workers for the devices of one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, is_dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import gather_object

from vlm2vec.errors import InputError, VLM2VecError
from vlm2vec.launch import launched
from vlm2vec.mmeb.encoders import Encoder

__all__ = ["Processes", "spread"]

T = TypeVar("T")

_LONGEST_WAIT = timedelta(days=1)
"""Of a process for the slowest. By itself NCCL gives up after ten minutes, which one task may take longer."""


@dataclass(frozen=True)
class Processes:
    """The processes of a run, as a launcher started them.

    Each step below is one for all of them. If it fails in one, it fails in all: none waits for what never
    comes.

    Attributes:
        rank: Of this one.
        count: How many.

    Example:
        >>> Processes().gather(lambda: 3)
        [3]
    """

    rank: int = 0
    count: int = 1

    @classmethod
    def here(cls) -> Processes:
        """Those that `accelerate launch`, `torchrun` or MPI started; one if none did."""
        if launched()[1] == 1:
            return cls()
        # Without a GPU accelerate looks for other processes only if it is asked to.
        state = PartialState(cpu=not torch.cuda.is_available(), timeout=_LONGEST_WAIT)
        return cls(state.process_index, state.num_processes)

    def gather(self, work: Callable[[], T]) -> list[T]:
        """What `work` gives in each process, in order.

        Raises:
            Exception: That of this process, or word of another's.
        """
        given: list[T] = []
        crash: Exception | None = None
        try:
            given.append(work())
        except Exception as error:  # the other processes wait for this one
            crash = error
        outcome = given, None if crash is None else f"{type(crash).__name__}: {crash}"
        found = [outcome] if self.count == 1 else gather_object([outcome])
        if crash is not None:
            if self.count > 1 and isinstance(crash, VLM2VecError):
                crash.source = ", ".join(filter(None, (self._name(self.rank), crash.source)))
            raise crash
        for rank, (_, failed) in enumerate(found):
            if failed is not None:
                raise VLM2VecError(f"{self._name(rank)} could not go on: {failed}")
        return [item for part, _ in found for item in part]

    def here_and_there(self, work: Callable[[], T]) -> T:
        """What `work` gives here, once no process has failed in it."""
        given: list[T] = []
        self.gather(lambda: given.append(work()))
        return given[0]

    def first(self, work: Callable[[], T]) -> T:
        """What `work` gives in the first process, which alone does it."""
        return self.gather(lambda: [work()] if self.rank == 0 else [])[0][0]

    def same(self, what: str, work: Callable[[], T]) -> T:
        """What `work` gives, which has to be equal in all processes.

        Raises:
            VLM2VecError: It is not.
        """
        found = self.gather(work)
        for rank, value in enumerate(found):
            if value != found[0]:
                raise VLM2VecError(
                    f"{self._name(rank)} has other {what} than the first",
                    fix="Give all processes the same arguments, and folders that hold the same.",
                )
        return found[0]

    def _name(self, rank: int) -> str:
        return f"process {rank} of {self.count}"


@contextmanager
def spread(encoder: Encoder, devices: Sequence[Any]) -> Iterator[Encoder]:
    """The same encoder on worker processes, which end with the block, however it ends.

    Args:
        encoder: One that wraps a model of sentence-transformers.
        devices: One for each worker, such as "cuda:0" and "cuda:1"; none leaves the encoder as it is.

    Raises:
        InputError: It is no such encoder.
    """
    if not devices:
        yield encoder
        return
    model = getattr(encoder, "model", None)
    if not (
        is_dataclass(encoder) and hasattr(encoder, "settings") and hasattr(model, "stop_multi_process_pool")
    ):
        raise InputError(
            f"{encoder.name} cannot be spread over devices",
            fix="Leave out devices, and start the script with `accelerate launch`.",
        )
    home = model.device
    pool = model.start_multi_process_pool([str(device) for device in devices])
    try:
        yield replace(encoder, settings={**encoder.settings, "pool": pool})
    finally:
        model.stop_multi_process_pool(pool)
        model.to(home)  # the pool has taken it to the CPU
