"""Attention in blocks against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from vlm2vec.modeling import cpu_attention
from vlm2vec.modeling.cpu_attention import blocked_attention, prefers_blocks


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("length", "key_length"), [(1, 1), (300, 300), (40, 600), (513, 700)])
def test_equals_torchs_own(length: int, key_length: int, causal: bool) -> None:
    generator = torch.Generator().manual_seed(length)
    query = torch.randn(2, 4, length, 16, generator=generator)
    key, value = torch.randn(2, 2, 2, key_length, 16, generator=generator).unbind()
    mask = torch.ones(length, key_length, dtype=torch.bool)
    if causal:
        mask = mask.tril(key_length - length)
    expected = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=0.3, enable_gqa=True)
    output = blocked_attention(query, key, value, causal=causal, scaling=0.3)
    torch.testing.assert_close(output, expected, atol=2e-6, rtol=1e-5)


def test_is_left_to_long_float32_sequences_without_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_attention, "_blocks_win", lambda: True)
    long = torch.randn(1, 2, 600, 16)
    assert prefers_blocks(long, long)
    assert not prefers_blocks(long[:, :, :100], long)
    assert not prefers_blocks(long.bfloat16(), long.bfloat16())
    assert not prefers_blocks(long.requires_grad_(), long)
    monkeypatch.setattr(cpu_attention, "_blocks_win", lambda: False)
    assert not prefers_blocks(long.detach(), long)
