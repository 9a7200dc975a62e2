"""The memory of a device: how much is free, whether an error says that there was none, and giving it back."""

from __future__ import annotations

import torch

__all__ = ["empty_cache", "free_memory", "is_out_of_memory"]

# What torch says where it has no error of its own for it: on a CPU (Linux, Windows), on Apple's GPUs, and of
# memory that CUDA or ROCm and their libraries take beside torch.
_NO_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "MPS backend out of memory",
    "error: out of memory",
    "BLAS_STATUS_ALLOC_FAILED",
    "BLAS_STATUS_NOT_INITIALIZED",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device, or the host, had no memory left; torch has no type of its own for the latter."""
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)
    )


def free_memory(device: torch.device) -> int | None:
    """Bytes that tensors may still take on a CUDA device, with what torch holds there and does not use.

    `None` for other devices: memory that all programs share is nobody's to plan with.
    """
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def empty_cache() -> None:
    """Give back what torch holds on CUDA devices and does not use, so that other shapes find room."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
