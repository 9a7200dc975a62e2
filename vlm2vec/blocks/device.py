"""The device a model runs on: whether there is one of that name, and moving to it what is read there."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from vlm2vec.describe import literal
from vlm2vec.errors import InputError
from vlm2vec.fork import has_forked

__all__ = [
    "LARGE",
    "as_current",
    "check_device",
    "default_dtype",
    "emulates_bfloat16",
    "has_bfloat16",
    "one_thread_after_fork",
    "to_device",
]

logger = logging.getLogger(__name__)

LARGE = 1_000_000_000
"""Parameters from which a network is a large one, which trains an adapter, and on a CPU may be bfloat16."""


def check_device(name: str | torch.device) -> None:
    """Raise unless torch can compute on the device, before a model is loaded to be moved there.

    Raises:
        InputError: There is no such device.

    Example:
        >>> check_device("gpu")
        Traceback (most recent call last):
        vlm2vec.errors.InputError: there is no device 'gpu'. Pass "cpu", or "cuda", ...
    """
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f"there is no device {literal(name)}",
            fix='Pass "cpu", or "cuda", "cuda:1" or "mps" where there is such a device.',
        ) from error
    if device.type == "cuda":
        there = range(torch.cuda.device_count())
    elif device.type == "mps":
        there = range(torch.backends.mps.is_available())
    else:
        return
    if (device.index or 0) not in there:
        number = f"torch finds {len(there)} of its type" if there else "torch finds none of its type"
        raise InputError(f"there is no device {device}: {number}", fix='Pass another, or "cpu".')


def as_current(device: torch.device) -> AbstractContextManager[Any]:
    """Within it, a CUDA device is the current one, as of this thread; others know of no such thing.

    torch's own kernels go where their tensors are. Triton launches its own on the current device, whatever
    that of their tensors, and libraries ask it for memory and streams.
    """
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device computes bfloat16 in hardware: on CUDA from the Ampere generation on.

    `torch.cuda.is_bf16_supported` also counts emulation, and asks the current device. AMD's GPUs report
    (9, 0) and above, and torch takes all of them for able to.
    """
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def emulates_bfloat16(device: torch.device) -> bool:
    """Whether this is a CPU without instructions for bfloat16, on which torch multiplies it slowly."""
    # The names of AVX-512 and AMX, and of Arm; a torch that cannot be asked is taken for able to.
    has: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    names = "avx512_bf16", "amx_bf16", "bf16", "sve_bf16"
    return device.type == "cpu" and bool(has) and not any(has.get(name) for name in names)


def default_dtype(device: torch.device, own: torch.dtype, *, parameters: int) -> torch.dtype:
    """The type of weights that a network gets where nothing else is asked for.

    Published weights are bfloat16 or float16. Most CPUs compute bfloat16 slowly, and all less exactly than
    float32; but on a CPU a large network in float32 takes more memory than many machines have. In float16
    numbers overflow.

    Args:
        device: Where the network runs.
        own: Type of the weights in the checkpoint.
        parameters: Of the network.
    """
    if has_bfloat16(device):
        return torch.bfloat16
    if device.type == "cpu" and parameters >= LARGE and own in (torch.bfloat16, torch.float16):
        logger.info(
            'The %.1f billion weights %s; dtype="float32" is more exact, in twice the memory.',
            parameters / 1e9,
            "stay bfloat16, as in the checkpoint" if own == torch.bfloat16 else "become bfloat16",
        )
        return torch.bfloat16
    return torch.float32


def one_thread_after_fork() -> None:
    """Let torch compute in this thread alone, if the process was forked from another.

    GNU's OpenMP would wait forever for its threads, which did not come along; torch's own DataLoader does the
    same in its workers. Threads that are started in the forked process are free to have more.
    """
    if has_forked() and torch.get_num_threads() > 1:
        logger.warning(
            "This process was forked, and the threads of torch are not in it: it computes with one from here "
            "on. A process that is started by spawn has as many as usual."
        )
        torch.set_num_threads(1)


def to_device(thing: Any, device: torch.device) -> Any:
    """A tensor, or a dataclass of tensors, on a device; the host does not wait for a copy to CUDA."""
    if isinstance(thing, Tensor):
        on_cuda = device.type == "cuda"
        if on_cuda and thing.device.type == "cpu":
            thing = thing.pin_memory()
        # Elsewhere the copy may read memory that was freed meanwhile (pytorch/pytorch#189690).
        return thing.to(device, non_blocking=on_cuda)
    if is_dataclass(thing) and not isinstance(thing, type):
        parts = {field.name: to_device(getattr(thing, field.name), device) for field in fields(thing)}
        return replace(thing, **parts)
    return thing
