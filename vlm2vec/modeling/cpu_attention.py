"""Attention as two matrix products by oneDNN, some queries at a time, for CPUs on which that is faster.

It is where oneDNN's product is much faster than torch's kernel for attention, as on AMD's Zen 5
(`docs/design.md`). So it is tried once, and used where it wins.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from vlm2vec.modeling.packed_weights import onednn_product, packing_wins
from vlm2vec.modeling.probe import is_faster

__all__ = ["blocked_attention", "prefers_blocks"]

logger = logging.getLogger(__name__)

# oneDNN keeps a program for each size of a product, so there are few: one number of queries, and of keys the
# multiples of `_STEP` from half of `_KEYS` to all.
_QUERIES, _KEYS, _STEP = 512, 2048, 128
_LEAST_LENGTH = 1536  # below, it gains too little (`benchmarks/attention.py`) for two programs a size


def prefers_blocks(query: Tensor, key: Tensor, value: Tensor, *, causal: bool) -> bool:
    """Whether `blocked_attention` is the faster way for `(count, heads, length, head_dim)` tensors."""
    learns = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (query, key, value))
    return (
        not causal
        and not learns
        and query.shape[1] == key.shape[1]
        and min(query.shape[2], key.shape[2]) >= _LEAST_LENGTH
        and packing_wins(query)
        and _blocks_win()
    )


def blocked_attention(
    query: Tensor, key: Tensor, value: Tensor, *, scaling: float, out: Tensor | None = None
) -> Tensor:
    """Scaled-dot-product attention in which each query sees all keys; no gradients flow through it.

    Args:
        query: `(count, heads, length, head_dim)`, float32 on a CPU.
        key: `(count, heads, key_length, head_dim)`.
        value: As `key`.
        scaling: Factor on the scores.
        out: Where the output goes; it may be `query` itself.

    Returns:
        `(count, heads, length, head_dim)`.
    """
    output = torch.empty_like(query) if out is None else out
    full = query.shape[2] // _QUERIES * _QUERIES
    all_heads = zip(*(tensor.flatten(0, 1) for tensor in (query, key, value)), strict=True)
    for number, (queries, keys, values) in enumerate(all_heads):
        own = output[divmod(number, query.shape[1])]
        parts = _parts(keys, values)
        for begin in range(0, full, _QUERIES):
            rows = slice(begin, begin + _QUERIES)
            own[rows] = _seen(queries[rows] * scaling, parts)
        del parts  # or the next head's would be held beside them
    if full < query.shape[2]:
        rest = query[:, :, full:]
        output[:, :, full:] = F.scaled_dot_product_attention(rest, key, value, scale=scaling)
    return output


@dataclass(frozen=True)
class _Part:
    """Some keys and values of a head, with rows of zeros up to the size of all its parts.

    Attributes:
        keys: `(rows, head_dim)`.
        values: `(head_dim, rows)`.
        count: Rows that are keys.
    """

    keys: Tensor
    values: Tensor
    count: int


def _parts(keys: Tensor, values: Tensor) -> list[_Part]:
    count = -(-len(keys) // _KEYS)
    size = -(-len(keys) // (count * _STEP)) * _STEP  # so that all parts have one
    parts = []
    for some, others in zip(torch.split(keys, size), torch.split(values, size), strict=True):
        zeros = (0, 0, 0, size - len(some))
        parts.append(_Part(F.pad(some, zeros), F.pad(others, zeros).t().contiguous(), len(some)))
    return parts


def _seen(queries: Tensor, parts: Sequence[_Part]) -> Tensor:
    """What scaled queries see in all parts.

    As in FlashAttention (arXiv:2205.14135), each part has a softmax of its own, and its output weighs as much
    as the sum of its exponentials has of them all.
    """
    outputs, sums = [], []  # the sums as logarithms
    for part in parts:
        scores = onednn_product(queries, part.keys)
        scores[:, part.count :] = float("-inf")
        highest = scores.amax(-1, keepdim=True)
        torch.softmax(scores, -1, out=scores)
        # The largest weight is 1 over the sum of exponentials, of which the largest is 1.
        sums.append(highest - scores.amax(-1, keepdim=True).log_())
        outputs.append(onednn_product(scores, part.values))
        del scores  # or two would be held at once
    shares = torch.split(torch.cat(sums, -1).softmax(-1), 1, -1)
    # In place: a new tensor would be cut out of the block that the scores left, and the next need another.
    total = outputs[0].mul_(shares[0])
    for output, share in zip(outputs[1:], shares[1:], strict=True):
        total += output.mul_(share)
    return total


@lru_cache(maxsize=1)
@torch.inference_mode()
def _blocks_win() -> bool:
    query, key, value = torch.full((3, 1, 2, 2048, 80), 0.5).unbind()
    win = is_faster(
        lambda: blocked_attention(query, key, value, scaling=0.125),
        lambda: F.scaled_dot_product_attention(query, key, value, scale=0.125),
    )
    logger.info("Long attention on this CPU: %s", "in blocks" if win else "torch's kernel")
    return win
