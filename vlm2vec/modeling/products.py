"""Linear maps at inference: neighbours fused into one matrix product, by the fastest exact kernel at hand.

Fused (queries, keys and values; gate and up) they read their input once and fill the cores better. The
weights of the modules become slices of one tensor, so nothing is held twice, and training, saving and
merging go on as before. On CPUs oneDNN's kernel is tried once against torch's own, which is MKL's. On AMD's
Zen 4 it is 1.05 to 1.25 times as fast, on Zen 5, with weights packed beforehand, 2 to 3 times; on Intel's it
gains nothing. Packed copies are kept beside the weights, and so must win clearly.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, MutableMapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Literal, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.weak import WeakTensorKeyDictionary

from vlm2vec.modeling.probe import is_faster

__all__ = ["project"]

logger = logging.getLogger(__name__)

Kernel: TypeAlias = Literal["torch", "onednn", "packed"]

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
    if not (fuse and all(_is_plain(module) for module in modules)):
        outputs = [module(inputs) for module in modules]
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=-1)
    linears = [cast(nn.Linear, module) for module in modules]
    weights = [cast(nn.Parameter, linear.weight) for linear in linears]
    weight = weights[0] if len(weights) == 1 else _joined(weights)
    biases: list[Tensor] = [linear.bias for linear in linears if linear.bias is not None]
    bias = None if not biases else biases[0] if len(biases) == 1 else torch.cat(biases)
    exact = weight.dtype == inputs.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    kernel = _fastest_kernel() if exact and weight.device.type == "cpu" else "torch"
    if kernel == "torch":
        return F.linear(inputs, weight, bias)
    return _by_onednn(inputs, _packed(weights, weight) if kernel == "packed" else weight, bias)


def _by_onednn(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    output: Tensor = torch.ops.mkldnn._linear_pointwise(inputs, weight, bias, "none", [], "")
    return output


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
@torch.inference_mode()
def _fastest_kernel() -> Kernel:
    """The product that wins on this CPU, at the size of a batch."""
    weight, inputs = torch.full((1024, 1024), 0.5), torch.full((512, 1024), 0.5)
    try:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight)
        for each in (weight, packed):
            _by_onednn(inputs, each, None)
    except (AttributeError, RuntimeError, NotImplementedError, TypeError) as error:
        # The operators are private to torch: another release or another CPU may not have them.
        logger.info("Matrix products on this CPU: torch's own (oneDNN cannot be used: %s)", error)
        return "torch"
    ways: dict[Kernel, Callable[[], Tensor]] = {
        "torch": lambda: F.linear(inputs, weight),
        "onednn": lambda: _by_onednn(inputs, weight, None),
        "packed": lambda: _by_onednn(inputs, packed, None),
    }
    kernel: Kernel = "torch"
    if is_faster(ways["onednn"], ways["torch"], margin=1.05):
        kernel = "onednn"
    if is_faster(ways["packed"], ways[kernel], margin=1.2):
        kernel = "packed"
    logger.info("Matrix products on this CPU: %s", kernel)
    return kernel
