"""Attention as two matrix products, a block of queries at a time, for CPUs on which that is faster.

What it buys depends on the CPU: 1.5 to 1.9 times on long sequences where the kernel is far from the speed
of a matrix product (AMD), nothing where it is not (Intel). So it is tried once and used where it wins.
"""

from __future__ import annotations

import logging
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from vlm2vec.modeling.probe import is_faster

__all__ = ["blocked_attention", "prefers_blocks"]

logger = logging.getLogger(__name__)

_BLOCK = 256
_LEAST_LENGTH = 512


def prefers_blocks(query: Tensor, key: Tensor) -> bool:
    """Whether `blocked_attention` is the faster way for `(count, heads, length, head_dim)` tensors."""
    return (
        query.device.type == "cpu"
        and query.dtype == torch.float32
        and min(query.shape[2], key.shape[2]) >= _LEAST_LENGTH
        and not (torch.is_grad_enabled() and query.requires_grad)
        and _blocks_win()
    )


def blocked_attention(query: Tensor, key: Tensor, value: Tensor, *, causal: bool, scaling: float) -> Tensor:
    """Scaled-dot-product attention; a causal query sees the keys up to its place, counted from the end.

    Args:
        query: `(count, heads, length, head_dim)`.
        key: `(count, key_heads, key_length, head_dim)`.
        value: As `key`.
        causal: Whether a query sees nothing behind itself.
        scaling: Factor on the scores.

    Returns:
        `(count, heads, length, head_dim)`.
    """
    count, heads, length, _ = query.shape
    key, value = (tensor.repeat_interleave(heads // key.shape[1], dim=1) for tensor in (key, value))
    query, key, value = (tensor.flatten(0, 1) for tensor in (query, key, value))
    ahead = key.shape[1] - length
    output = torch.empty_like(query)
    for begin in range(0, length, _BLOCK):
        end = min(begin + _BLOCK, length)
        seen = ahead + end if causal else key.shape[1]
        scores = torch.bmm(query[:, begin:end] * scaling, key[:, :seen].transpose(1, 2))
        if causal:
            hidden = torch.ones(end - begin, seen, dtype=torch.bool).triu_(ahead + begin + 1)
            scores.masked_fill_(hidden, float("-inf"))
        torch.bmm(torch.softmax(scores, -1, out=scores), value[:, :seen], out=output[:, begin:end])
    return output.view(count, heads, length, -1)


@lru_cache(maxsize=1)
@torch.inference_mode()
def _blocks_win() -> bool:
    query, key, value = torch.full((3, 1, 4, 1024, 64), 0.5).unbind()
    win = is_faster(
        lambda: blocked_attention(query, key, value, causal=False, scaling=0.125),
        lambda: F.scaled_dot_product_attention(query, key, value, scale=0.125),
    )
    logger.info("Long attention on this CPU: %s", "in blocks" if win else "torch's kernel")
    return win
