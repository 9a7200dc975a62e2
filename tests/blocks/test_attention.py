"""Packed attention against a naive loop with a full mask."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F  # noqa: N812

from vlm2vec.blocks.attention import Segments, packed_attention
from vlm2vec.blocks.device import to_device


def naive(query, key, value, lengths, causal, scaling):
    """Full scores, everything outside a segment masked out."""
    heads, tokens = query.shape[1], query.shape[2]
    key = key.repeat_interleave(heads // key.shape[1], dim=1)
    value = value.repeat_interleave(heads // value.shape[1], dim=1)
    segment = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    allowed = segment[:, None] == segment[None, :]
    if causal:
        allowed &= torch.ones(tokens, tokens).tril().bool()
    scores = (query @ key.transpose(-1, -2) * scaling).masked_fill(~allowed, float("-inf"))
    return (scores.softmax(-1) @ value).transpose(1, 2)


@settings(max_examples=40)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    causal=st.booleans(),
    key_heads=st.sampled_from([1, 2, 4]),
)
def test_equals_the_naive_version(lengths: list[int], causal: bool, key_heads: int) -> None:
    generator = torch.Generator().manual_seed(len(lengths))
    tokens = sum(lengths)
    query = torch.randn(1, 4, tokens, 8, generator=generator)
    key, value = (torch.randn(1, key_heads, tokens, 8, generator=generator) for _ in range(2))
    module = SimpleNamespace(is_causal=causal)
    output, weights = packed_attention(module, query, key, value, segments=Segments.of(lengths), scaling=0.3)
    assert weights is None
    torch.testing.assert_close(output, naive(query, key, value, lengths, causal, 0.3), atol=2e-6, rtol=1e-5)


def test_gradients_equal_those_of_the_naive_version() -> None:
    lengths = [3, 3, 5]
    tensors = [torch.randn(1, heads, 11, 8, requires_grad=True) for heads in (4, 2, 2)]
    weights = torch.randn(1, 11, 4, 8)
    output, _ = packed_attention(
        SimpleNamespace(is_causal=True), *tensors, segments=Segments.of(lengths), scaling=0.3
    )
    ours = torch.autograd.grad((output * weights).sum(), tensors)
    theirs = torch.autograd.grad((naive(*tensors, lengths, True, 0.3) * weights).sum(), tensors)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("key_heads", [1, 2])
def test_off_the_cpu_no_call_asks_torch_to_share_key_heads(
    key_heads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU that leads float32 to the kernel that keeps all scores."""
    lengths = [3, 3, 5]
    tensors = [torch.randn(1, heads, sum(lengths), 8) for heads in (4, key_heads, key_heads)]
    compute = F.scaled_dot_product_attention
    asked: list[bool] = []

    def counted(*given: torch.Tensor, enable_gqa: bool, **options: Any) -> torch.Tensor:
        asked.append(enable_gqa)
        assert len({each.shape[1] for each in given}) == 1
        return compute(*given, **options)

    monkeypatch.setattr(F, "scaled_dot_product_attention", counted)
    monkeypatch.setattr(torch.Tensor, "is_cpu", False)
    module = SimpleNamespace(is_causal=True)
    output, _ = packed_attention(module, *tensors, segments=Segments.of(lengths), scaling=0.3)
    assert asked == [False, False]
    torch.testing.assert_close(output, naive(*tensors, lengths, True, 0.3), atol=2e-6, rtol=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("causal", [True, False])
def test_the_kernel_on_cuda_equals_the_loop(causal: bool) -> None:
    lengths = [7, 64, 1, 200]
    tensors = [torch.randn(1, heads, sum(lengths), 64) for heads in (4, 2, 2)]
    module = SimpleNamespace(is_causal=causal)
    expected, _ = packed_attention(module, *tensors, segments=Segments.of(lengths), scaling=0.125)
    device = torch.device("cuda")
    output, _ = packed_attention(
        module,
        *(tensor.to(device, torch.bfloat16) for tensor in tensors),
        segments=to_device(Segments.of(lengths), device),
        scaling=0.125,
    )
    torch.testing.assert_close(output.float().cpu(), expected, atol=3e-2, rtol=3e-2)
