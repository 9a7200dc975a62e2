"""Linear layers of the inference forward: neighbours as one matrix product, by the faster exact kernel.

Fused (queries, keys and values; gate and up on a GPU) they read their input once and fill the cores
better. The weights of the modules become slices of one tensor, so nothing is held twice, and training,
saving and merging go on as before.

oneDNN's product, mostly with weights that were packed beforehand, is 2 to 3 times as fast as MKL's on AMD's
Zen 5, and a quarter to two thirds faster on Zen 4; on Intel's CPUs it gains little. It is tried once, and
where it wins clearly the packed copies are kept beside the weights; large matrices are multiplied as they
are, for which oneDNN arranges them anew each time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from functools import lru_cache
from itertools import pairwise
from statistics import median
from typing import TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.weak import WeakTensorKeyDictionary

__all__ = [
    "is_faster",
    "looks_of",
    "onednn_product",
    "packed_product",
    "packing_wins",
    "project",
    "rounded_up",
    "row_blocks",
    "uses_onednn",
]

logger = logging.getLogger(__name__)

_SMALLER_BLOCKS = 256, 128, 64
_STEP = 16  # of the rows of the last block
_MOST_PACKED = 4 * 2**20
"""Elements of a matrix that is packed. Of a larger one the copy would cost much memory and gain little."""
_PROBES = 64  # elements by which a packed copy is told to be of older weights
_PAIRS = 11
# A way that needs more memory or more code must win by more than this.
_MARGIN = 1.15

Looks: TypeAlias = tuple[object, ...]


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


def packing_wins(inputs: Tensor) -> bool:
    """Whether `packed_product` is exact for these inputs, and the faster way on this CPU."""
    return (
        inputs.device.type == "cpu"
        and inputs.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and _packing_wins()
    )


def packed_product(
    inputs: Tensor,
    weights: Sequence[nn.Parameter],
    joined: Tensor,
    bias: Tensor | None = None,
    *,
    transposed: bool = False,
) -> Tensor:
    """`inputs @ joined.T + bias`, or `inputs @ joined`, the product that a gradient takes on its way back.

    Args:
        inputs: `(rows, in)`, or `(rows, out)` where transposed.
        weights: The matrices that were joined, one below the other.
        joined: `(out, in)`, all their rows.
        bias: `(out,)`; none where transposed.
        transposed: Multiply by the matrix and not by its transpose.

    Returns:
        `(rows, out)`, or `(rows, in)` where transposed.
    """
    if joined.numel() <= _MOST_PACKED:
        return onednn_product(inputs, _packed(weights, joined, transposed=transposed), bias)
    return inputs @ joined if transposed else onednn_product(inputs, joined, bias)


def onednn_product(inputs: Tensor, matrix: Tensor, bias: Tensor | None = None) -> Tensor:
    """`inputs @ matrix.T + bias` by oneDNN; `packing_wins` says whether to ask for it.

    Args:
        inputs: `(rows, in)`.
        matrix: `(out, in)`, packed or not; packing pays if it is used often.
        bias: `(out,)`.

    Returns:
        `(rows, out)`, through which no gradients flow.
    """
    output: Tensor = torch.ops.mkldnn._linear_pointwise(inputs, matrix, bias, "none", [], "")
    return output


def uses_onednn(inputs: Tensor) -> bool:
    """Whether oneDNN computes products of these inputs, packed or, in half precision, as torch's own.

    It keeps a program, half a megabyte, for each number of rows that a matrix meets. Every batch has another
    number, and memory would grow with them: `row_blocks` and `rounded_up` leave few.
    """
    half = inputs.dtype in (torch.float16, torch.bfloat16) or torch.is_autocast_enabled("cpu")
    return packing_wins(inputs) or (half and inputs.device.type == "cpu")


def row_blocks(count: int, *, largest: int) -> Iterator[slice]:
    """Rows in blocks of few sizes: `largest`, then 256, 128 and 64, and a last one of what is left.

    Args:
        count: Rows.
        largest: Rows of the first blocks.

    Example:
        >>> [block.stop - block.start for block in row_blocks(1750, largest=512)]
        [512, 512, 512, 128, 64, 22]
    """
    begin = 0
    for size in (largest, *_SMALLER_BLOCKS):
        while count - begin >= size:
            yield slice(begin, begin + size)
            begin += size
    if begin < count:
        yield slice(begin, count)


def rounded_up(inputs: Tensor) -> Tensor:
    """The rows of a block of `row_blocks`, and some of zeros, so that last blocks have few sizes as well."""
    missing = -len(inputs) % _STEP
    return F.pad(inputs, (0, 0, 0, missing)) if missing else inputs


def looks_of(weights: Sequence[Tensor], joined: Tensor | None = None) -> Looks:
    """What tells whether weights are still what they were.

    A change through `parameter.data`, as merging an adapter makes, leaves no trace but in the elements, of
    which some in all rows and columns are looked at.

    Args:
        weights: Of a layer.
        joined: A matrix of all their rows, where there is one.
    """
    looks: list[object] = [weight._version for weight in weights]
    for whole in weights if joined is None else (joined,):
        flat = whole.detach().reshape(-1)
        # An odd step, so that the elements do not all lie in one column.
        looks += [whole.data_ptr(), *flat[:: len(flat) // _PROBES | 1].tolist()]
    return tuple(looks)


# Of each first weight, by the number of weights and the direction: what they looked like when they were
# packed, and the packed copy.
_PACKED: MutableMapping[Tensor, dict[tuple[int, bool], tuple[Looks, Tensor]]] = WeakTensorKeyDictionary()


def _packed(weights: Sequence[nn.Parameter], joined: Tensor, *, transposed: bool) -> Tensor:
    """The packed copy of a matrix, made anew when the weights have changed."""
    copies, which = _PACKED.setdefault(weights[0], {}), (len(weights), transposed)
    looks = looks_of(weights, joined)
    known = copies.get(which)
    if known is None or known[0] != looks:
        matrix = joined.t().contiguous() if transposed else joined
        known = copies[which] = (looks, torch.ops.mkldnn._reorder_linear_weight(matrix))
    return known[1]


@lru_cache(maxsize=1)
def _packing_wins() -> bool:
    """Whether oneDNN's packed product beats torch's own, at the size of a batch."""
    with torch.inference_mode():
        weight, inputs = torch.full((1024, 1024), 0.5), torch.full((512, 1024), 0.5)
        try:
            packed = torch.ops.mkldnn._reorder_linear_weight(weight)
            onednn_product(inputs, packed)
        except (AttributeError, RuntimeError, NotImplementedError, TypeError) as error:
            # The operators are private to torch: another release or another CPU may not have them.
            logger.info("Matrix products on this CPU: torch's own (oneDNN cannot be used: %s)", error)
            return False
        win = is_faster(lambda: onednn_product(inputs, packed), lambda: F.linear(inputs, weight))
    logger.info("Matrix products on this CPU: %s", "oneDNN, packed" if win else "torch's own")
    return win


def is_faster(new: Callable[[], object], old: Callable[[], object]) -> bool:
    """Whether `new` beats `old` clearly, by the median ratio of some pairs of runs.

    Pairs, because what else the machine does mostly slows both runs of one. Takes some tenths of a second.
    """
    return median(_seconds(old) / _seconds(new) for _ in range(_PAIRS)) > _MARGIN


def _seconds(way: Callable[[], object]) -> float:
    begin = time.perf_counter()
    way()
    return time.perf_counter() - begin
