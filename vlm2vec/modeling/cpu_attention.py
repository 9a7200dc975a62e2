"""Attention as two matrix products by oneDNN, some queries at a time, for CPUs on which that is faster.

On AMD's Zen 5 torch's kernel does 165 GFLOP/s on two cores and oneDNN's product 430, which leaves 230 to 290
after the softmax: images of 1024 x 768 are encoded 1.2 times as fast. On other CPUs the two are closer, so it
is tried once and used where it wins.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
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
# multiples of `_STEP` up to `_KEYS`.
_QUERIES, _KEYS, _STEP = 512, 2048, 128
_LEAST_LENGTH = 1024


def prefers_blocks(query: Tensor, key: Tensor, *, causal: bool) -> bool:
    """Whether `blocked_attention` is the faster way for `(count, heads, length, head_dim)` tensors."""
    return (
        not causal
        and query.shape[1] == key.shape[1]
        and min(query.shape[2], key.shape[2]) >= _LEAST_LENGTH
        and packing_wins(query)
        and not (torch.is_grad_enabled() and query.requires_grad)
        and _blocks_win()
    )


def blocked_attention(query: Tensor, key: Tensor, value: Tensor, *, scaling: float) -> Tensor:
    """Scaled-dot-product attention in which each query sees all keys, without a graph.

    Args:
        query: `(count, heads, length, head_dim)`.
        key: `(count, heads, key_length, head_dim)`.
        value: As `key`.
        scaling: Factor on the scores.

    Returns:
        `(count, heads, length, head_dim)`.
    """
    output = torch.empty_like(query)
    full = query.shape[2] // _QUERIES * _QUERIES
    heads = (tensor.flatten(0, 1) for tensor in (query, key, value))
    for number, (queries, keys, values) in enumerate(zip(*heads, strict=True)):
        own = output[divmod(number, query.shape[1])]
        parts = list(_parts(keys, values))
        for begin in range(0, full, _QUERIES):
            rows = slice(begin, begin + _QUERIES)
            own[rows] = _seen(queries[rows] * scaling, parts)
    if full < query.shape[2]:
        rest = query[:, :, full:]
        output[:, :, full:] = F.scaled_dot_product_attention(rest, key, value, scale=scaling)
    return output


@dataclass(frozen=True)
class _Part:
    """Some keys and values of a head, with rows of zeros up to a multiple of `_STEP`.

    Attributes:
        keys: `(rows, head_dim)`.
        values: `(head_dim, rows)`.
        count: Rows that are keys.
    """

    keys: Tensor
    values: Tensor
    count: int


def _parts(keys: Tensor, values: Tensor) -> Iterator[_Part]:
    for some, others in zip(torch.split(keys, _KEYS), torch.split(values, _KEYS), strict=True):
        missing = (0, 0, 0, -len(some) % _STEP)
        yield _Part(F.pad(some, missing), F.pad(others, missing).t().contiguous(), len(some))


def _seen(queries: Tensor, parts: Sequence[_Part]) -> Tensor:
    """What queries see in all parts: of each its own softmax, weighted by its share of all exponentials."""
    outputs, logarithms = [], []
    for part in parts:
        scores = onednn_product(queries, part.keys)
        scores[:, part.count :] = float("-inf")
        if len(parts) > 1:
            highest = scores.amax(-1, keepdim=True)
        torch.softmax(scores, -1, out=scores)
        if len(parts) > 1:
            # The largest weight is 1 / (sum of exponentials, the largest of which is 1).
            logarithms.append(highest - scores.amax(-1, keepdim=True).log_())
        outputs.append(onednn_product(scores, part.values))
    if len(parts) == 1:
        return outputs[0]
    shares = torch.cat(logarithms, -1).softmax(-1)
    weighted = [output.mul_(shares[:, [number]]) for number, output in enumerate(outputs)]
    return torch.stack(weighted).sum(0)


@lru_cache(maxsize=1)
@torch.inference_mode()
def _blocks_win() -> bool:
    query, key, value = torch.full((3, 1, 4, 1280, 80), 0.5).unbind()
    win = is_faster(
        lambda: blocked_attention(query, key, value, scaling=0.125),
        lambda: F.scaled_dot_product_attention(query, key, value, scale=0.125),
    )
    logger.info("Long attention on this CPU: %s", "in blocks" if win else "torch's kernel")
    return win
