"""Root-mean-square norms, in fewer passes over memory than transformers' own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

__all__ = ["rms_norm"]


def rms_norm(norm: Any, hidden: Tensor, plain: type[nn.Module]) -> Tensor:
    """What `norm(hidden)` gives, and as exact.

    Args:
        norm: The norm; what wraps one, such as an adapter, is called as it is.
        hidden: `(..., features)`.
        plain: transformers' class of it, which has `weight` and `variance_epsilon`.
    """
    is_plain = type(norm) is plain
    if is_plain and hidden.is_cuda:
        return F.rms_norm(hidden, hidden.shape[-1:], norm.weight, norm.variance_epsilon)
    if not is_plain or hidden.dtype != torch.float32:
        normed: Tensor = norm(hidden)
        return normed
    mean_square = torch.linalg.vector_norm(hidden, dim=-1, keepdim=True).square_().div_(hidden.shape[-1])
    scaled: Tensor = hidden * mean_square.add_(norm.variance_epsilon).rsqrt_()
    return scaled.mul_(norm.weight)
