"""An optimizer whose states are spread over ranks: what launching with FSDP gives here.

ZeRO, stage 1 (Rajbhandari et al., arXiv:1910.02054). FSDP itself gathers the weights of a layer whenever a
forward comes to it, which all ranks must do in one order. Here each rank embeds chunks of its own, of other
numbers and modalities than the others', so there is none: weights and gradients are whole on each rank during
a step. What is spread is the largest part, the optimizer's states, twice as large as the weights for AdamW.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.autograd.graph import increment_version
from torch.optim import Optimizer

from vlm2vec.errors import CheckpointError

__all__ = ["OptimizerShare", "launched_with_fsdp", "owners"]

_FLAG = "ACCELERATE_USE_FSDP"  # set by `accelerate launch --use_fsdp`


@contextmanager
def launched_with_fsdp() -> Iterator[bool]:
    """Whether FSDP was asked for; within the block, accelerate and transformers do not know of it."""
    flag = os.environ.pop(_FLAG, None)
    try:
        yield flag is not None and flag.lower() == "true"
    finally:
        os.environ.pop(_FLAG, None)  # accelerate sets it where it is given a plugin
        if flag is not None:
            os.environ[_FLAG] = flag


class OptimizerShare:
    """Makes an optimizer step the parameters of this rank alone, and hand them to the other ranks.

    Its state dict has the states of these parameters, under the numbers that they have among all. Each rank
    writes its own to a checkpoint; they are read together again, by any number of ranks.

    Args:
        optimizer: New, of all parameters, the same on all ranks.
        rank: Of this process.
        ranks: Processes that share the work; 1 leaves all to each.
        checkpoint: Folder of the checkpoint that states will be loaded from.
    """

    def __init__(
        self, optimizer: Optimizer, *, rank: int = 0, ranks: int = 1, checkpoint: Path | None = None
    ) -> None:
        self._rank, self._ranks, self._checkpoint = rank, ranks, checkpoint
        self._optimizer = optimizer
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        self._weights = list(zip(weights, owners([each.numel() for each in weights], ranks), strict=True))
        self._own = [place for place, (_, owner) in enumerate(self._weights) if owner == rank]
        self._groups: list[list[int]] = []  # all places, of each group
        for group in optimizer.param_groups:
            first = sum(map(len, self._groups))
            self._groups.append(list(range(first, first + len(group["params"]))))
            group["params"] = [
                self._weights[place][0] for place in self._groups[-1] if self._weights[place][1] == rank
            ]
        optimizer.register_state_dict_post_hook(self._under_all_places)
        optimizer.register_load_state_dict_pre_hook(self._own_states)
        if ranks > 1:
            optimizer.register_step_post_hook(self._hand_out)

    def save(self, folder: Path) -> None:
        """Write this rank's states to a checkpoint; those of the first are in the trainer's own file."""
        if self._rank:
            folder.mkdir(parents=True, exist_ok=True)
            torch.save(self._optimizer.state_dict(), _file(folder, self._rank))

    def _hand_out(self, *_given: Any) -> None:
        sent = [
            distributed.broadcast(weight.data, src=owner, async_op=True) for weight, owner in self._weights
        ]
        for each in sent:
            each.wait()
        for weight, _ in self._weights:
            increment_version(weight)  # what is made from weights, as DoRA's norms, is told by it to be old

    def _under_all_places(self, _: Optimizer, given: dict[str, Any]) -> dict[str, Any]:
        return {
            "state": {self._own[number]: state for number, state in given["state"].items()},
            "param_groups": self._with_places(given, self._groups),
            "ranks": self._ranks,
        }

    def _own_states(self, _: Optimizer, given: dict[str, Any]) -> dict[str, Any]:
        states = dict(given["state"])
        # accelerate passes a new optimizer's states, of which there are none, through here as well.
        if self._checkpoint is not None and states:
            for rank in range(1, given.get("ranks", 1)):
                file = _file(self._checkpoint, rank)
                if not file.is_file():
                    raise CheckpointError(
                        f"the optimizer's states of rank {rank} are missing: {file.name}",
                        fix="Put the files of all machines into one folder, or use another checkpoint.",
                        source=str(self._checkpoint),
                    )
                others = torch.load(file, map_location="cpu", mmap=True)
                states.update(others["state"])
        numbers = {place: number for number, place in enumerate(self._own)}
        own = [[numbers[place] for place in group if place in numbers] for group in self._groups]
        return {
            "state": {number: states[place] for place, number in numbers.items() if place in states},
            "param_groups": self._with_places(given, own),
        }

    @staticmethod
    def _with_places(given: dict[str, Any], places: Sequence[list[int]]) -> list[dict[str, Any]]:
        return [{**group, "params": each} for group, each in zip(given["param_groups"], places, strict=True)]


def owners(sizes: Sequence[int], ranks: int) -> list[int]:
    """The rank that each parameter goes to: the largest first, each to the rank with least so far.

    Example:
        >>> owners([3, 9, 4, 2], 2)
        [1, 0, 1, 1]
    """
    found, loads = [0] * len(sizes), [0] * ranks
    for place in sorted(range(len(sizes)), key=lambda place: -sizes[place]):
        found[place] = loads.index(min(loads))
        loads[found[place]] += sizes[place]
    return found


def _file(folder: Path, rank: int) -> Path:
    return folder / f"optimizer-{rank}.pt"
