"""Attention in blocks against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from vlm2vec.modeling import cpu_attention, packed_weights
from vlm2vec.modeling.cpu_attention import blocked_attention, prefers_blocks


def heads(length: int, key_length: int, *, spread: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values as layers hand them over: `(count, heads, length, head_dim)`, heads last."""
    generator = torch.Generator().manual_seed(length)
    query = torch.randn(2, length, 3, 16, generator=generator) * spread
    key, value = torch.randn(2, 2, key_length, 3, 16, generator=generator).unbind()
    return query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)


@pytest.mark.usefixtures("packed_operator")
@pytest.mark.parametrize(
    ("length", "key_length"),
    [
        (512, 512),
        (1024, 1000),  # keys are rounded up
        (1100, 1100),  # some queries are left over
        (512, 2048 + 17),  # two parts of keys
        (600, 3 * 2048),
        (100, 2100),  # all queries are
    ],
)
@torch.inference_mode()
def test_equals_torchs_own(length: int, key_length: int) -> None:
    query, key, value = heads(length, key_length)
    expected = F.scaled_dot_product_attention(query, key, value, scale=0.3)
    output = blocked_attention(query, key, value, scaling=0.3)
    torch.testing.assert_close(output, expected, atol=2e-6, rtol=1e-5)


@pytest.mark.usefixtures("packed_operator")
@torch.inference_mode()
def test_scores_far_apart_leave_parts_of_the_keys_without_weight() -> None:
    query, key, value = heads(512, 5000, spread=30.0)
    expected = F.scaled_dot_product_attention(query.double(), key.double(), value.double(), scale=0.3)
    output = blocked_attention(query, key, value, scaling=0.3)
    torch.testing.assert_close(output.double(), expected, atol=5e-4, rtol=0)


@pytest.mark.usefixtures("packed_operator")
@torch.inference_mode()
def test_the_output_may_take_the_queries_place() -> None:
    query, key, value = heads(1100, 2100)  # two parts of keys
    expected = blocked_attention(query, key, value, scaling=0.3)
    assert blocked_attention(query, key, value, scaling=0.3, out=query) is query
    assert torch.equal(query, expected)


@pytest.mark.slow
@pytest.mark.usefixtures("packed_operator")
@torch.inference_mode()
def test_products_have_few_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = set()
    product = packed_weights.onednn_product

    def noted(inputs: Tensor, matrix: Tensor) -> Tensor:
        sizes.add((len(inputs), *sorted(matrix.shape)))
        return product(inputs, matrix)

    monkeypatch.setattr(cpu_attention, "onednn_product", noted)
    for length in range(1536, 5200, 165):
        blocked_attention(*heads(length, length), scaling=1.0)
    assert sizes == {(512, 16, keys) for keys in range(1152, 2049, 128)}


def test_is_left_to_long_float32_sequences_without_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_attention, "_blocks_win", lambda: True)
    monkeypatch.setattr(packed_weights, "_packing_wins", lambda: True)
    long = torch.randn(1, 2, 1536, 16)
    learns = long.clone().requires_grad_()

    def preferred(
        query: Tensor = long, key: Tensor = long, value: Tensor = long, causal: bool = False
    ) -> bool:
        return prefers_blocks(query, key, value, causal=causal)

    assert preferred()
    assert not preferred(causal=True)
    assert not preferred(query=long[:, :, :1535])
    assert not preferred(key=long[:, :1])
    assert not preferred(query=long.bfloat16())
    assert not preferred(query=learns)
    assert not preferred(key=learns)
    assert not preferred(value=learns)
    with torch.no_grad():
        assert preferred(query=learns)
    monkeypatch.setattr(cpu_attention, "_blocks_win", lambda: False)
    assert not preferred()
    monkeypatch.setattr(cpu_attention, "_blocks_win", lambda: True)
    monkeypatch.setattr(packed_weights, "_packing_wins", lambda: False)
    assert not preferred()
