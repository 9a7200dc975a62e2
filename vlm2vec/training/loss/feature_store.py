"""Features that wait for the second pass of a step: on their GPU while there is room, else in a file."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from vlm2vec.blocks.memory import free_memory
from vlm2vec.training.loss.tensor_file import TensorFile

__all__ = ["FeatureStore"]

_SHARE = 16
"""The part of free memory that features may take, one by so many: chunks are planned with the rest."""


class FeatureStore:
    """Tensors that are kept for later.

    Args:
        device: Where they are made.
        on_device: Whether they may stay there.

    Attributes:
        held: Bytes that stay on the device.

    Example:
        >>> kept = FeatureStore(torch.device("cpu"), on_device=True).keep(torch.arange(3))
        >>> kept().tolist()
        [0, 1, 2]
    """

    def __init__(self, device: torch.device, *, on_device: bool) -> None:
        self._room = (free_memory(device) or 0) // _SHARE if on_device else 0
        self._file: TensorFile | None = None
        self.held = 0

    def keep(self, tensor: Tensor) -> Callable[[], Tensor]:
        """Keep a tensor, which is not to change; what comes back gives it, on its device or on the CPU."""
        tensor = tensor.detach()
        if self.held + tensor.nbytes <= self._room:
            self.held += tensor.nbytes
            return lambda: tensor
        file = self._file = self._file or TensorFile()
        written = file.write(tensor)
        return lambda: file.read(written)
