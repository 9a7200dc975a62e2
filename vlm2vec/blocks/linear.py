"""Linear layers of the inference forward: neighbours as one matrix product, by the faster exact kernel.

Fused (queries, keys and values; gate and up on a GPU) they read their input once and fill the cores
better. The weights of the modules become slices of one tensor, so nothing is held twice, and training,
saving and merging go on as before.

In float32 on a CPU there are two kernels. oneDNN's, with weights that were packed beforehand, is 2 to 3 times
as fast as torch's own on AMD's Zen 5, and a quarter to two thirds faster on Zen 4; on Intel's CPUs it gains
little. On a CPU without instructions for bfloat16, such weights are converted and multiplied in float32.
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

from vlm2vec.blocks.device import emulates_bfloat16
from vlm2vec.blocks.options import AUTO, ForwardOptions, Kernel

__all__ = [
    "fingerprint",
    "onednn_wins",
    "project",
    "rounded_up",
    "row_blocks",
    "some_rows",
    "uses_onednn",
]

logger = logging.getLogger(__name__)

Fingerprint: TypeAlias = tuple[object, ...]

_BLOCK_ROWS, _BLOCK_ROWS_ON_GPU = 256, 16_384
_SMALLER_BLOCKS = 256, 128, 64
_STEP = 16  # of the rows of the last block
_MAX_PACKED = 4 * 2**20
"""Elements of a matrix that is packed. Of a larger one the copy would cost much memory and gain little."""
_MAX_CONVERTED = 2 * 2**20  # elements of a weight that are float32 at a time
_SAMPLES = 64  # elements by which a change of a weight is found
_PAIRS = 11  # of runs, when kernels are compared
_MARGIN = 1.15  # by which the kernel that needs more memory must win


def project(modules: Sequence[nn.Module], inputs: Tensor, options: ForwardOptions = AUTO) -> Tensor:
    """Outputs of several linear modules on the same input, side by side.

    Args:
        modules: Linear layers; what wraps one, such as an adapter, is called as it is.
        inputs: `(rows, features)`.
        options: How to compute them.

    Returns:
        `(rows, sum of the modules' outputs)`.
    """
    rows = len(inputs)
    if uses_onednn(inputs, options.kernel):
        inputs = rounded_up(inputs)
    if not (options.fuse_projections and all(_is_plain(module) for module in modules)):
        outputs = [module(inputs) for module in modules]
        return (outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=-1))[:rows]
    linears = [cast(nn.Linear, module) for module in modules]
    weights = [cast(nn.Parameter, linear.weight) for linear in linears]
    weight = weights[0] if len(weights) == 1 else _joined(weights)
    biases: list[Tensor] = [linear.bias for linear in linears if linear.bias is not None]
    bias = None if not biases else biases[0] if len(biases) == 1 else torch.cat(biases)
    if weight.dtype == torch.float32 and _packs(inputs, options.kernel):
        # A matrix that is not packed is arranged anew by each call.
        matrix = weight if weight.numel() > _MAX_PACKED else _packed(weights, weight)
        return _onednn_product(inputs, matrix, bias)[:rows]
    if weight.dtype == torch.bfloat16 and options.kernel == "auto" and emulates_bfloat16(inputs.device):
        return _product_in_float32(inputs, weight, bias)[:rows]
    return F.linear(inputs, weight, bias)[:rows]


def uses_onednn(inputs: Tensor, kernel: Kernel) -> bool:
    """Whether oneDNN computes products of these inputs, packed or, in half precision, as torch's own.

    It keeps a program, half a megabyte, for each number of rows that a matrix meets. Every batch has another
    number, and memory would grow with them: `row_blocks` and `rounded_up` leave few.
    """
    half = inputs.dtype in (torch.float16, torch.bfloat16) or torch.is_autocast_enabled("cpu")
    return (half and inputs.device.type == "cpu") or _packs(inputs, kernel)


def some_rows(tensor: Tensor, options: ForwardOptions = AUTO) -> Iterator[slice]:
    """The rows of a tensor, some at a time, so that what is wide in between never exists for all."""
    if uses_onednn(tensor, options.kernel):
        return row_blocks(len(tensor), largest=_BLOCK_ROWS)
    size = _BLOCK_ROWS_ON_GPU if tensor.is_cuda else _BLOCK_ROWS
    return (slice(start, start + size) for start in range(0, len(tensor), size))


def row_blocks(count: int, *, largest: int) -> Iterator[slice]:
    """Rows in blocks of few sizes: `largest`, then 256, 128 and 64, and a last one of what is left.

    Args:
        count: Rows.
        largest: Rows of the first blocks.

    Example:
        >>> [block.stop - block.start for block in row_blocks(1750, largest=512)]
        [512, 512, 512, 128, 64, 22]
    """
    start = 0
    for size in (largest, *_SMALLER_BLOCKS):
        while count - start >= size:
            yield slice(start, start + size)
            start += size
    if start < count:
        yield slice(start, count)


def rounded_up(inputs: Tensor) -> Tensor:
    """The rows of a block of `row_blocks`, and some of zeros, so that last blocks have few sizes as well."""
    missing = -len(inputs) % _STEP
    return F.pad(inputs, (0, 0, 0, missing)) if missing else inputs


def fingerprint(weights: Sequence[Tensor], joined: Tensor | None = None) -> Fingerprint:
    """Equal while weights are what they were.

    A change through `parameter.data`, as merging an adapter makes, leaves no trace but in the elements, of
    which some in all rows and columns are compared.

    Args:
        weights: Of a layer.
        joined: A matrix of all their rows, where there is one.
    """
    parts: list[object] = [weight._version for weight in weights]
    for whole in weights if joined is None else (joined,):
        flat = whole.detach().reshape(-1)
        # An odd step, so that the elements do not all lie in one column.
        parts += [whole.data_ptr(), *flat[:: len(flat) // _SAMPLES | 1].tolist()]
    return tuple(parts)


def _product_in_float32(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`F.linear` of bfloat16 tensors by float32 products: 3 to 5 times as fast where bfloat16 is emulated.

    The weight is converted a part at a time: that takes little memory, which serves the next part again.
    """
    exact = inputs.float()
    parts = torch.split(weight, max(1, _MAX_CONVERTED // weight.shape[1]))
    output = torch.cat([F.linear(exact, part.float()) for part in parts], dim=-1)
    return (output if bias is None else output.add_(bias)).to(inputs.dtype)


@lru_cache(maxsize=1)
@torch.inference_mode()
def onednn_wins() -> bool:
    """Whether oneDNN's packed product clearly beats torch's own on this CPU, at the size of a batch."""
    weight, inputs = torch.full((1024, 1024), 0.5), torch.full((512, 1024), 0.5)
    try:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight)
        _onednn_product(inputs, packed)
    except (AttributeError, RuntimeError, NotImplementedError, TypeError) as error:
        # The operators are private to torch: another release or another CPU may not have them.
        logger.info("Matrix products on this CPU: torch's own (oneDNN cannot be used: %s)", error)
        return False
    wins = _is_faster(lambda: _onednn_product(inputs, packed), lambda: F.linear(inputs, weight))
    logger.info("Matrix products on this CPU: %s", "oneDNN, packed" if wins else "torch's own")
    return wins


def _is_faster(new: Callable[[], object], old: Callable[[], object]) -> bool:
    """Whether `new` beats `old` clearly, by the median ratio of some pairs of runs.

    Pairs, because what else the machine does mostly slows both runs of one. Takes some tenths of a second.
    """
    return median(_seconds(old) / _seconds(new) for _ in range(_PAIRS)) > _MARGIN


def _seconds(product: Callable[[], object]) -> float:
    start = time.perf_counter()
    product()
    return time.perf_counter() - start


def _packs(inputs: Tensor, kernel: Kernel) -> bool:
    """Whether oneDNN multiplies these inputs by packed weights, in float32."""
    return (
        kernel != "torch"
        and inputs.device.type == "cpu"
        and inputs.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and (kernel == "onednn" or onednn_wins())
    )


def _onednn_product(inputs: Tensor, matrix: Tensor, bias: Tensor | None = None) -> Tensor:
    """`inputs @ matrix.T + bias`, the matrix packed or not; no gradients flow through it."""
    output: Tensor = torch.ops.mkldnn._linear_pointwise(inputs, matrix, bias, "none", [], "")
    return output


# Of each first weight, its fingerprint when it was packed, and the packed copy.
_PACKED: MutableMapping[Tensor, tuple[Fingerprint, Tensor]] = WeakTensorKeyDictionary()


def _packed(weights: Sequence[nn.Parameter], joined: Tensor) -> Tensor:
    """The packed copy of a matrix, made anew when the weights have changed."""
    known, current = _PACKED.get(weights[0]), fingerprint(weights, joined)
    if known is None or known[0] != current:
        known = _PACKED[weights[0]] = current, torch.ops.mkldnn._reorder_linear_weight(joined)
    return known[1]


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
    if not all(
        first.data_ptr() + first.nbytes == second.data_ptr() and _share(first, second)
        for first, second in pairwise(weights)
    ):
        # Outside inference mode, or the weights could never be trained again.
        with torch.inference_mode(False), torch.no_grad():
            joined = torch.cat([weight.detach() for weight in weights])
            parts = torch.split(joined, [len(weight) for weight in weights])
            for weight, part in zip(weights, parts, strict=True):
                weight.data = part
    first = weights[0].detach()
    return first.as_strided((sum(len(weight) for weight in weights), first.shape[1]), first.stride())


def _share(first: Tensor, second: Tensor) -> bool:
    return first.untyped_storage().data_ptr() == second.untyped_storage().data_ptr()
