"""The device a model runs on: whether there is one of that name, and moving to it what is read there."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from vlm2vec.errors import InputError
from vlm2vec.inputs.describe import shorten

__all__ = ["check_device", "default_dtype", "has_bfloat16", "to_device"]


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
    except (RuntimeError, TypeError) as error:
        raise InputError(
            f"there is no device {shorten(repr(name))}",
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


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device computes bfloat16 in hardware: on CUDA from the Ampere generation on.

    `torch.cuda.is_bf16_supported` also counts emulation, and asks the current device. AMD's GPUs report
    (9, 0) and above, and torch takes all of them for able to.
    """
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def default_dtype(device: torch.device) -> torch.dtype:
    """The type of weights that a device computes best.

    Published weights are bfloat16, which most CPUs compute slowly and all less exactly than float32.
    """
    return torch.bfloat16 if has_bfloat16(device) else torch.float32


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
