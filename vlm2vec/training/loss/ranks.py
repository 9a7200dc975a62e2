"""What ranks exchange: their rows, their gradients, and that one of them cannot go on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F  # noqa: N812

from vlm2vec.errors import VLM2VecError

__all__ = [
    "Gathered",
    "OtherRankError",
    "gathered",
    "on_any_rank",
    "raise_on_all_ranks",
    "sum_gradients",
    "to_rank_0s_values",
]


class OtherRankError(VLM2VecError):
    """What a rank raises where another one has the error."""


@dataclass(frozen=True)
class Gathered:
    """Rows of all ranks.

    Attributes:
        rows: `(sum of sizes, ...)`; gradients reach the rows of this rank.
        sizes: Number of rows of each rank.
        rank: Of this process.
    """

    rows: Tensor
    sizes: list[int]
    rank: int

    @property
    def ranks(self) -> int:
        """Number of ranks."""
        return len(self.sizes)

    @property
    def first(self) -> int:
        """Where the rows of this rank start."""
        return sum(self.sizes[: self.rank])


def gathered(rows: Tensor) -> Gathered:
    """Rows `(n, ...)` of all ranks; `n` may differ. In one process, the rows themselves."""
    if not _has_ranks():
        return Gathered(rows, [len(rows)], 0)
    world, rank = distributed.get_world_size(), distributed.get_rank()
    counts = [torch.zeros(1, dtype=torch.int64, device=rows.device) for _ in range(world)]
    distributed.all_gather(counts, torch.tensor([len(rows)], device=rows.device))
    sizes = [int(count) for count in counts]
    # Collectives want equal shapes.
    filled = F.pad(rows.detach(), (0, 0) * (rows.ndim - 1) + (0, max(sizes) - len(rows))).contiguous()
    parts = [torch.empty_like(filled) for _ in range(world)]
    distributed.all_gather(parts, filled)
    whole = [part[:size] for part, size in zip(parts, sizes, strict=True)]
    whole[rank] = rows
    return Gathered(torch.cat(whole), sizes, rank)


def raise_on_all_ranks(error: VLM2VecError | None, device: torch.device) -> None:
    """Raises where any rank has an error, its own if it has one: none waits for one that has stopped.

    Args:
        error: What went wrong on this rank.
        device: Where this rank computes.

    Raises:
        VLM2VecError: This rank has an error.
        OtherRankError: Another one has.
    """
    if on_any_rank(error is not None, device) and error is None:
        raise OtherRankError("another rank could not embed one of its inputs", fix="See its own error.")
    if error is not None:
        raise error


def on_any_rank(here: bool, device: torch.device) -> bool:
    """Whether something is so on any rank.

    Args:
        here: Whether it is on this one.
        device: Where this rank computes.
    """
    if not _has_ranks():
        return here
    anywhere = torch.tensor(int(here), device=device)
    distributed.all_reduce(anywhere, op=distributed.ReduceOp.MAX)
    return bool(anywhere.item())


def _has_ranks() -> bool:
    return distributed.is_available() and distributed.is_initialized()


_BUCKET = 2**24  # elements that travel at once


def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Give every rank the sum of all ranks' gradients; without ranks, nothing happens.

    A parameter that only some ranks used, as a vision tower where another rank has nothing but text, gets
    their sum everywhere; one that no rank used keeps none, as in one process.

    Args:
        parameters: The same ones in the same order on all ranks.
    """
    learning = [parameter for parameter in parameters if parameter.requires_grad]
    if not (_has_ranks() and learning):
        return
    used = torch.tensor([int(weight.grad is not None) for weight in learning], device=learning[0].device)
    distributed.all_reduce(used, op=distributed.ReduceOp.MAX)
    gradients = []
    for parameter, is_used in zip(learning, used.tolist(), strict=True):
        if is_used:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
    for bucket in _buckets(gradients):
        flat = torch.cat([gradient.reshape(-1) for gradient in bucket])
        distributed.all_reduce(flat)
        parts = torch.split(flat, [gradient.numel() for gradient in bucket])
        for gradient, part in zip(bucket, parts, strict=True):
            gradient.copy_(part.view_as(gradient))


def to_rank_0s_values(parameters: Iterable[nn.Parameter]) -> None:
    """Begin alike: every rank takes the values of the first; without ranks, nothing happens."""
    if _has_ranks():
        for parameter in parameters:
            if parameter.requires_grad:
                distributed.broadcast(parameter.data, src=0)


def _buckets(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    """Neighbours of one type, up to a size."""
    buckets: list[list[Tensor]] = []
    size = 0
    for tensor in tensors:
        if buckets and size + tensor.numel() <= _BUCKET and tensor.dtype == buckets[-1][0].dtype:
            buckets[-1].append(tensor)
            size += tensor.numel()
        else:
            buckets.append([tensor])
            size = tensor.numel()
    return buckets
