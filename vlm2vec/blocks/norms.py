"""Norms: what they consist of, and root-mean-square ones in fewer passes than transformers' own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

__all__ = ["NormTerms", "norm_terms", "rms_norm"]


@dataclass(frozen=True)
class NormTerms:
    """What a norm over features is computed from.

    Attributes:
        weight: `(features,)`.
        bias: `(features,)`, or `None`.
        eps: Added to the mean square.
        centred: Whether the mean is taken away first, as in a LayerNorm.
    """

    weight: Tensor
    bias: Tensor | None
    eps: float
    centred: bool


def norm_terms(norm: Any, plain: type[Any]) -> NormTerms | None:
    """The terms of a root-mean-square norm or a LayerNorm; `None` of any other, such as what wraps one.

    Args:
        norm: The norm.
        plain: As `rms_norm` takes it.
    """
    if type(norm) is plain:
        return NormTerms(norm.weight, None, norm.variance_epsilon, centred=False)
    if type(norm) is nn.LayerNorm and norm.elementwise_affine and len(norm.normalized_shape) == 1:
        return NormTerms(norm.weight, norm.bias, norm.eps, centred=True)
    return None


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
