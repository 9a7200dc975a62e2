"""Moving what a forward pass reads to the device it runs on."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

__all__ = ["to_device"]


def to_device(thing: Any, device: torch.device) -> Any:
    """A tensor, or a dataclass of tensors, on a device; the host does not wait for the copy."""
    if isinstance(thing, Tensor):
        from_host = device.type == "cuda" and thing.device.type == "cpu"
        return (thing.pin_memory() if from_host else thing).to(device, non_blocking=True)
    if is_dataclass(thing) and not isinstance(thing, type):
        parts = {field.name: to_device(getattr(thing, field.name), device) for field in fields(thing)}
        return replace(thing, **parts)
    return thing
