"""Torch's variable-length attention written out in float64, for tests without a GPU."""

from __future__ import annotations

import torch
from torch import Tensor


def varlen_reference(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seq_q: Tensor,
    cu_seq_k: Tensor,
    max_q: int,
    max_k: int,
    *,
    scale: float | None = None,
    window_size: tuple[int, int] = (-1, -1),
    enable_gqa: bool = False,
    num_splits: int | None = None,
) -> Tensor:
    """What `varlen_attn` computes, after the checks that it makes but for those of type and device.

    The checks are those of `mha_varlen_fwd` in torch's `flash_api.cpp`, and of `varlen.py` since torch 2.12;
    besides, the longest lengths are exact, and offsets cover all rows.
    """
    check_rows(query, key, value)
    assert enable_gqa or query.shape[1] == key.shape[1]
    check_offsets(cu_seq_q, max_q, query)
    check_offsets(cu_seq_k, max_k, key)
    assert window_size in ((-1, -1), (-1, 0))
    scale = query.shape[2] ** -0.5 if scale is None else scale
    lengths, key_lengths = cu_seq_q.diff().tolist(), cu_seq_k.diff().tolist()
    parts = zip(query.split(lengths), key.split(key_lengths), value.split(key_lengths), strict=True)
    return torch.cat([attended(*part, scale=scale, causal=window_size == (-1, 0)) for part in parts])


def attended(query: Tensor, key: Tensor, value: Tensor, *, scale: float, causal: bool) -> Tensor:
    """Attention within one sequence; the last query sees all keys."""
    queries, keys, values = (rows.double().transpose(0, 1) for rows in (query, key, value))
    shared_by = len(queries) // len(keys)
    keys, values = (each.repeat_interleave(shared_by, dim=0) for each in (keys, values))
    scores = queries @ keys.transpose(1, 2) * scale  # (heads, queries, keys)
    if causal:
        assert len(query) <= len(key)
        seen = torch.ones(scores.shape[1:], dtype=torch.bool).tril(len(key) - len(query))
        scores = scores.masked_fill(~seen, float("-inf"))
    return (scores.softmax(-1) @ values).transpose(0, 1).to(query.dtype)


def check_rows(query: Tensor, key: Tensor, value: Tensor) -> None:
    heads, head_dim = query.shape[1:]
    for rows in (query, key, value):
        assert rows.ndim == 3
        assert rows.stride(-1) == 1
        assert rows.dtype == query.dtype
        assert rows.device == query.device
    assert key.shape == value.shape
    assert key.shape[2] == head_dim
    assert head_dim % 8 == 0
    assert head_dim <= 256
    assert heads % key.shape[1] == 0


def check_offsets(offsets: Tensor, longest: int, rows: Tensor) -> None:
    assert offsets.ndim == 1
    assert len(offsets) > 1
    assert offsets.dtype == torch.int32
    assert offsets.is_contiguous()
    assert offsets.device == rows.device
    assert type(longest) is int
    lengths = offsets.diff()
    assert lengths.min() > 0
    assert lengths.max() == longest
    assert offsets[0] == 0
    assert offsets[-1] == len(rows)
