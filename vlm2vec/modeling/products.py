"""Linear maps at inference: neighbours fused into one matrix product, by the fastest exact kernel at hand.

Fused (queries, keys and values; gate and up on a GPU) they read their input once and fill the cores
better. The weights of the modules become slices of one tensor, so nothing is held twice, and training,
saving and merging go on as before.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from vlm2vec.modeling.packed_weights import packed_product, packing_wins, rounded_up, uses_onednn

__all__ = ["project"]


def project(modules: Sequence[nn.Module], inputs: Tensor, *, fuse: bool = True) -> Tensor:
    """Outputs of several linear modules on the same input, side by side.

    Args:
        modules: Linear layers; what wraps one, such as an adapter, is called as it is.
        inputs: `(rows, features)`.
        fuse: Compute them as one product where all are plain.

    Returns:
        `(rows, sum of the modules' outputs)`.
    """
    rows = len(inputs)
    if uses_onednn(inputs):
        inputs = rounded_up(inputs)
    return _projected(modules, inputs, fuse=fuse, packs=fuse and packing_wins(inputs))[:rows]


def _projected(modules: Sequence[nn.Module], inputs: Tensor, *, fuse: bool, packs: bool) -> Tensor:
    if not (fuse and all(_is_plain(module) for module in modules)):
        outputs = [module(inputs) for module in modules]
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=-1)
    linears = [cast(nn.Linear, module) for module in modules]
    weights = [cast(nn.Parameter, linear.weight) for linear in linears]
    weight = weights[0] if len(weights) == 1 else _joined(weights)
    biases: list[Tensor] = [linear.bias for linear in linears if linear.bias is not None]
    bias = None if not biases else biases[0] if len(biases) == 1 else torch.cat(biases)
    if not packs or weight.dtype != torch.float32:
        return F.linear(inputs, weight, bias)
    return packed_product(inputs, weights, weight, bias)


def _is_plain(module: nn.Module) -> bool:
    # Weights made in inference mode have no version, and cannot be pointed elsewhere.
    return (
        type(module) is nn.Linear
        and type(module.weight) is nn.Parameter
        and module.weight.is_contiguous()
        and not module.weight.is_inference()
    )


def _joined(weights: Sequence[nn.Parameter]) -> Tensor:
    """One matrix over all rows. The weights are made slices of it, unless they are so already."""
    ends = pairwise(weights)
    if not all(one.data_ptr() + one.nbytes == other.data_ptr() and _share(one, other) for one, other in ends):
        # Outside inference mode, or the weights could never be trained again.
        with torch.inference_mode(False), torch.no_grad():
            joined = torch.cat([weight.detach() for weight in weights])
            parts = torch.split(joined, [len(weight) for weight in weights])
            for weight, part in zip(weights, parts, strict=True):
                weight.data = part
    first = weights[0].detach()
    return first.as_strided((sum(len(weight) for weight in weights), first.shape[1]), first.stride())


def _share(one: Tensor, other: Tensor) -> bool:
    return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()
