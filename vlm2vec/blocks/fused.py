"""What is between matrix products, each in one pass over memory: rotation, gates, and sums with their norms.

On a GPU these steps wait for memory, not for arithmetic, and torch's operators go over it several times: in
a layer of a vision tower they take nearly as long as the products. They are three Triton kernels here, chosen
by `ForwardOptions.fuse_elementwise`. The way by torch's operators is the reference, and is taken where a
kernel cannot be built: each function says whether it did its work.

Kernels of our own, since they are the simplest to keep of three ways:

* `torch.compile` of the same functions needs no kernels, but traces and compiles anew for one row, each type
  and each layout, up to a limit; how it sums a row depends on the sizes that it meets first, so that two
  processes give other vectors; what is computed in place may cost more passes; and its compiler starts
  processes and sets variables of the environment.
* A library of kernels (liger-kernel) has rotation, SwiGLU and sums with norms for training, in shapes that
  would have to be made first, and no quick GELU: another dependency, and most of the passes all the same.
* These are a few lines each, in place, on rows wherever they lie. A row's numbers depend on nothing but the
  row, whatever the batch. Torch for GPUs brings Triton along.

Before they are used on a device, they are tried there against torch's operators.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from vlm2vec.blocks.device import as_current
from vlm2vec.blocks.memory import is_out_of_memory
from vlm2vec.blocks.norms import NormTerms
from vlm2vec.blocks.options import ForwardOptions

__all__ = ["activate", "add_norm", "is_fused", "rotate", "why_not_fused"]

logger = logging.getLogger(__name__)

_AT_ONCE = 1024  # elements of a row that a program computes
_MAX_WIDTH = 16_384  # of a row that one program holds
_TRIED = 5, 48  # rows and columns, the latter no power of two
_NEAR = 1e-5  # as far as float32 may be off where kernels are tried, in numbers of about 1

_REFUSED: dict[torch.device, str] = {}
"""Devices for which a kernel was not built, and why."""


def is_fused(tensor: Tensor, options: ForwardOptions) -> bool:
    """Whether the kernels are asked for, and are there for the device of this tensor."""
    if not options.fuse_elementwise:
        return False
    device = _device_of(tensor)
    reason = why_not_fused(device)
    if reason is not None:
        _say_once(device, reason)
    return reason is None


def why_not_fused(device: torch.device) -> str | None:
    """Why the kernels are not there for a device, on which they are built and tried the first time.

    Returns:
        A few words; `None` where they are there.
    """
    if device not in _REFUSED:
        if (missing := _missing(device)) is not None:
            _REFUSED[device] = missing
        elif not _is_tried(device):
            _REFUSED.setdefault(device, "they give other numbers than torch's operators")
    return _REFUSED.get(device)


def activate(gate: Tensor, *, factor: float = 1.0, up: Tensor | None = None) -> bool:
    """`gate * sigmoid(factor * gate)`, times `up` where it is given, in place of `gate`.

    With a factor of 1 it is SiLU, and with `up` SwiGLU; with 1.702 it is quick GELU.

    Args:
        gate: `(rows, columns)`.
        factor: In the sigmoid.
        up: `(rows, columns)`.

    Returns:
        Whether it was done; otherwise nothing was.
    """
    rows, columns = gate.shape
    up_or_none = gate if up is None else up
    if not _lie_in_rows(gate, up_or_none):
        return False
    block = min(_AT_ONCE, _power_of_two(columns))
    return _launch(
        "activate",
        (rows, -(-columns // block)),
        [gate] if up is None else [gate, up],
        (gate, up_or_none, gate.stride(0), up_or_none.stride(0), columns),
        FACTOR=factor,
        GATED=up is not None,
        BLOCK=block,
    )


def rotate(
    heads: Tensor,
    cos: Tensor,
    sin: Tensor,
    *,
    queries: int,
    norms: tuple[NormTerms, NormTerms] | None = None,
) -> bool:
    """Turn heads by the angles of their rows, in place: what `Heads` computes by torch's operators.

    Args:
        heads: `(rows, heads, head_dim)`, first those of queries and then those of keys.
        cos: `(rows, head_dim / 2)`.
        sin: `(rows, head_dim / 2)`.
        queries: How many heads are queries'.
        norms: Of each head of queries and of each of keys, before it is turned.

    Returns:
        Whether it was done; otherwise nothing was.
    """
    rows, count, head_dim = heads.shape
    if heads.stride()[1:] != (head_dim, 1) or not _lie_in_rows(cos, sin) or cos.stride() != sin.stride():
        return False
    if norms is not None and not (all(map(_is_root_mean_square, norms)) and norms[0].eps == norms[1].eps):
        return False
    block = _power_of_two(head_dim // 2)
    at_once = min(_power_of_two(count), max(1, _AT_ONCE // block))
    weights = [cos, cos] if norms is None else [terms.weight for terms in norms]
    return _launch(
        "rotate",
        (rows, -(-count // at_once)),
        [heads, cos, sin, *(() if norms is None else weights)],
        (heads, cos, sin, *weights, heads.stride(0), cos.stride(0), 0.0 if norms is None else norms[0].eps),
        QUERIES=queries,
        COUNT=count,
        HALF=head_dim // 2,
        NORMED=norms is not None,
        HEADS_AT_ONCE=at_once,
        BLOCK=block,
    )


def add_norm(hidden: Tensor, branch: Tensor, terms: NormTerms, *, out: Tensor) -> bool:
    """`hidden += branch`, and the norm of that into `out`.

    Args:
        hidden: `(rows, features)`.
        branch: `(rows, features)`.
        terms: The norm.
        out: `(rows, features)`, which may not share memory with the others.

    Returns:
        Whether it was done; otherwise nothing was.
    """
    rows, width = hidden.shape
    if width > _MAX_WIDTH or not _lie_in_rows(hidden, branch, out):
        return False
    bias = terms.bias
    block = _power_of_two(width)
    return _launch(
        "add_norm",
        (rows,),
        [hidden, branch, out, terms.weight, *([] if bias is None else [bias])],
        (
            *(hidden, branch, out, terms.weight, terms.weight if bias is None else bias),
            *(hidden.stride(0), branch.stride(0), out.stride(0), width, terms.eps),
        ),
        CENTRED=terms.centred,
        BIASED=bias is not None,
        BLOCK=block,
        num_warps=min(16, max(4, block // 512)),
    )


def _launch(
    name: str, grid: tuple[int, ...], tensors: Sequence[Tensor], arguments: tuple[Any, ...], **constants: Any
) -> bool:
    """Start a kernel; `False` where that fails, and from then on none is started on that device.

    Args:
        name: The kernel.
        grid: How many programs; the first number is of rows.
        tensors: What it reads and writes, each once; the first one is changed in place.
        arguments: As the kernel takes them.
        **constants: What it is compiled for.
    """
    if not grid[0]:
        return True
    try:
        with as_current(tensors[0].device):
            getattr(_kernels(), name)[grid](*arguments, **constants)
    # Triton has errors of many types, and so have its compiler, the C compiler and the driver behind it.
    except Exception as error:
        if is_out_of_memory(error):
            raise
        _REFUSED[_device_of(tensors[0])] = _described(error)
        return False
    return True


@cache
def _kernels() -> ModuleType:
    return import_module("vlm2vec.blocks.fused_kernels")


def _missing(device: torch.device) -> str | None:
    """Why the kernels are not worth a trial on a device."""
    try:
        is_interpreted = type(_kernels().activate).__name__ == "InterpretedFunction"
    except ModuleNotFoundError:
        return "there is no Triton, which torch for NVIDIA's and AMD's GPUs brings along"
    except Exception as error:  # an installation that does not work fails in many ways
        return _described(error)
    return None if device.type == "cuda" or is_interpreted else "they are for GPUs"


def _device_of(tensor: Tensor) -> torch.device:
    return tensor.device


@cache
def _say_once(device: torch.device, reason: str) -> None:
    logger.warning("Without fused kernels on %s, by torch's operators: %s", device, reason)


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


@cache
def _is_tried(device: torch.device) -> bool:
    """Whether the kernels give what torch's operators do on some numbers."""
    rows, columns = _TRIED
    numbers = torch.linspace(-3, 3, 4 * rows * columns, device=device).view(4, rows, columns)
    hidden, branch, normed, gate = numbers.clone()
    cos, sin = numbers[0, :, :4].cos(), numbers[0, :, :4].sin()
    terms = NormTerms(numbers[1, 0].clone(), None, 1e-6, centred=False)
    heads = numbers[2].clone().view(rows, -1, 8)
    (first, second), total = numbers[2].view(rows, -1, 8).chunk(2, dim=-1), numbers[0] + numbers[1]
    expected = [
        F.silu(numbers[3]) * numbers[1],
        torch.cat(
            [
                first * cos[:, None] - second * sin[:, None],
                second * cos[:, None] + first * sin[:, None],
            ],
            dim=-1,
        ),
        total,
        F.rms_norm(total, (columns,), terms.weight, terms.eps),
    ]
    done = (
        activate(gate, up=branch)
        and rotate(heads, cos, sin, queries=2)
        and add_norm(hidden, branch, terms, out=normed)
    )
    found = [gate, heads, hidden, normed]
    return done and all(map(_is_near, found, expected))


def _is_near(found: Tensor, expected: Tensor) -> bool:
    return torch.allclose(found, expected, rtol=_NEAR, atol=_NEAR)


def _lie_in_rows(*tensors: Tensor) -> bool:
    return all(tensor.ndim == 2 and tensor.stride(1) == 1 for tensor in tensors)


def _is_root_mean_square(terms: NormTerms) -> bool:
    return not terms.centred and terms.bias is None


def _power_of_two(number: int) -> int:
    return 1 << max(0, number - 1).bit_length()
