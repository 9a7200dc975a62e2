"""Gradients summed over ranks, once a step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, distributed, nn

__all__ = ["sum_gradients", "to_rank_0s_values"]

_BUCKET = 2**24  # elements that travel at once


def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Give every rank the sum of all ranks' gradients; without ranks, nothing happens.

    A parameter that only some ranks used, as a vision tower where another rank has nothing but text, gets
    their sum everywhere; one that no rank used keeps none, as in one process.

    Args:
        parameters: The same ones in the same order on all ranks.
    """
    learning = [parameter for parameter in parameters if parameter.requires_grad]
    if not (distributed.is_available() and distributed.is_initialized() and learning):
        return
    used = torch.tensor([int(one.grad is not None) for one in learning], device=learning[0].device)
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
    if distributed.is_available() and distributed.is_initialized():
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
