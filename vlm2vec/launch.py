"""Which of several processes this is, as the launcher says, before torch is there to ask."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

__all__ = ["launched"]

# Of torchrun and accelerate, Intel MPI and MPICH, Open MPI, and MVAPICH: those that accelerate takes up
# (accelerate/utils/environment.py, get_cpu_distributed_information). Processes that srun alone starts know
# nothing of one another.
_RANKS = ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK")
_COUNTS = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")


def launched(environment: Mapping[str, str] | None = None, *, on_gpu: bool = False) -> tuple[int, int]:
    """The rank of this process, and how many there are: (0, 1) where it works by itself.

    Args:
        environment: Its environment variables.
        on_gpu: Whether it computes on a GPU; there, accelerate takes up those processes alone that have a
            local rank from torchrun or its own launcher (accelerate/state.py, PartialState).

    Example:
        >>> launched({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "4"})
        (1, 4)
        >>> launched({})
        (0, 1)
    """
    given = os.environ if environment is None else environment
    if on_gpu and "LOCAL_RANK" not in given:
        return 0, 1
    return _number(given, _RANKS, 0), _number(given, _COUNTS, 1)


def _number(environment: Mapping[str, str], names: Sequence[str], default: int) -> int:
    return next((int(environment[name]) for name in names if environment.get(name, "").isdecimal()), default)
