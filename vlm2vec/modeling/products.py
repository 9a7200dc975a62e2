"""Linear maps at inference: neighbours fused into one matrix product, by the fastest exact kernel at hand.

Fused (queries, keys and values; gate and up) they read their input once and fill the cores better. The
weights of the modules become slices of one tensor, so nothing is held twice, and training, saving and
merging go on as before. oneDNN's kernel with weights packed beforehand is 2 to 3 times as fast as MKL's on
AMD's Zen 5 and a quarter faster on Zen 4; on Intel's CPUs it gains little. It is tried once, and where it
wins clearly the packed copies are kept beside the weights.
"""

from __future__ import annotations

import logging
import math
from collections.abc import MutableMapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.weak import WeakTensorKeyDictionary

from vlm2vec.modeling.probe import is_faster

__all__ = ["project"]

logger = logging.getLogger(__name__)

_ROW_STEPS = (128, 16), (256, 32), (math.inf, 64)  # up to how many rows, in what steps
_PROBES = 64  # elements by which a packed copy is told to be of older weights


def project(modules: Sequence[nn.Module], inputs: Tensor, *, fuse: bool = True) -> Tensor:
    """Outputs of several linear modules on the same input, side by side.

    Args:
        modules: Linear layers; what wraps one, such as an adapter, is called as it is.
        inputs: `(rows, features)`.
        fuse: Compute them as one product where all are plain.

    Returns:
        `(rows, sum of the modules' outputs)`.
    """
    on_cpu = inputs.device.type == "cpu"
    exact = inputs.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    packs = on_cpu and exact and fuse and _packing_wins()
    rows = len(inputs)
    if packs or (on_cpu and not exact):  # in half precision torch's own products are oneDNN's as well
        inputs = _rounded_up(inputs)
    return _projected(modules, inputs, fuse=fuse, packs=packs)[:rows]


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
    product = torch.ops.mkldnn._linear_pointwise
    output: Tensor = product(inputs, _packed(weights, weight), bias, "none", [], "")
    return output


def _rounded_up(inputs: Tensor) -> Tensor:
    """Some rows of zeros added: oneDNN keeps a program, half a megabyte, for each number of rows it meets."""
    step = next(step for most, step in _ROW_STEPS if len(inputs) <= most)
    missing = -len(inputs) % step
    return F.pad(inputs, (0, 0, 0, missing)) if missing else inputs


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


# Of each first weight: what it looked like when it was packed, and the packed copy.
_PACKED: MutableMapping[Tensor, tuple[tuple[object, ...], Tensor]] = WeakTensorKeyDictionary()


def _packed(weights: Sequence[nn.Parameter], joined: Tensor) -> Tensor:
    """The packed copy of a matrix, made anew when the weights have changed.

    A change through `parameter.data`, as merging an adapter makes, leaves no trace but in the elements, of
    which some in all rows and columns are looked at.
    """
    flat = joined.view(-1)
    # An odd step, so that the elements do not all lie in one column.
    sample = flat[:: len(flat) // _PROBES | 1]
    looks = (joined.data_ptr(), *(weight._version for weight in weights), *sample.tolist())
    known = _PACKED.get(weights[0])
    if known is None or known[0] != looks:
        known = _PACKED[weights[0]] = (looks, torch.ops.mkldnn._reorder_linear_weight(joined))
    return known[1]


@lru_cache(maxsize=1)
def _packing_wins() -> bool:
    """Whether oneDNN's packed product beats torch's own, at the size of a batch."""
    with torch.inference_mode():
        weight, inputs = torch.full((1024, 1024), 0.5), torch.full((512, 1024), 0.5)
        try:
            packed = torch.ops.mkldnn._reorder_linear_weight(weight)
            product = torch.ops.mkldnn._linear_pointwise
            product(inputs, packed, None, "none", [], "")
        except (AttributeError, RuntimeError, NotImplementedError, TypeError) as error:
            # The operators are private to torch: another release or another CPU may not have them.
            logger.info("Matrix products on this CPU: torch's own (oneDNN cannot be used: %s)", error)
            return False
        win = is_faster(
            lambda: product(inputs, packed, None, "none", [], ""), lambda: F.linear(inputs, weight)
        )
    logger.info("Matrix products on this CPU: %s", "oneDNN, packed" if win else "torch's own")
    return win
