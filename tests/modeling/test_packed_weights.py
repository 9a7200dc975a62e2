"""Blocks of few sizes, for which oneDNN keeps few programs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers.models.qwen2_vl.modeling_qwen2_vl import PatchMerger

from vlm2vec.modeling import inference, packed_weights, products
from vlm2vec.modeling.packed_weights import packed_product, rounded_up, row_blocks

FEW = {16, 32, 48, 64, 128, 256}


@given(count=st.integers(0, 5000), largest=st.sampled_from([512, 1024, 4608]))
def test_blocks_hold_each_row_once_and_have_few_sizes(count: int, largest: int) -> None:
    blocks = list(row_blocks(count, largest=largest))
    assert [row for block in blocks for row in range(block.start, block.stop)] == list(range(count))
    sizes = {len(rounded_up(torch.empty(block.stop - block.start, 1))) for block in blocks}
    assert sizes - {largest} <= FEW


def test_rows_are_rounded_up_by_zeros() -> None:
    assert rounded_up(torch.ones(3, 2)).tolist() == [[1, 1]] * 3 + [[0, 0]] * 13


@pytest.mark.parametrize(
    ("dtype", "wins", "sizes"),
    [
        (torch.float32, True, [256, 256, 128, 64, 11]),
        (torch.float32, False, [256, 256, 203]),
        (torch.bfloat16, False, [256, 256, 128, 64, 11]),  # torch's own products are oneDNN's there
        (torch.uint8, True, [256, 256, 203]),
        (torch.float64, True, [256, 256, 203]),
    ],
)
def test_rows_are_cut_finer_where_onednn_computes(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, wins: bool, sizes: list[int]
) -> None:
    monkeypatch.setattr(packed_weights, "_packing_wins", lambda: wins)
    rows = torch.empty(715, 1, dtype=dtype)
    assert [len(rows[block]) for block in inference._blocks(rows)] == sizes


@pytest.fixture
def met(packed_operator: None, monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Numbers of rows of all packed products."""
    numbers: set[int] = set()

    def noted(inputs: Tensor, *arguments: Any, **settings: Any) -> Tensor:
        numbers.add(len(inputs))
        return packed_product(inputs, *arguments, **settings)

    monkeypatch.setattr(packed_weights, "_packing_wins", lambda: True)
    monkeypatch.setattr(products, "packed_product", noted)
    return numbers


def test_batches_of_all_sizes_meet_few_numbers_of_rows(met: set[int]) -> None:
    layer = nn.Linear(4, 4)
    with torch.inference_mode():
        for count in range(1, 2000, 7):
            rows = torch.empty(count, 4)
            for block in inference._blocks(rows):
                products.project([layer], rows[block])
    assert met == FEW


def test_pictures_of_all_sizes_meet_few_numbers_of_rows_in_the_merger(met: set[int]) -> None:
    merger = PatchMerger(dim=4, context_dim=8)
    pictures = [torch.randn(4 * count, 8) for count in range(1, 600, 7)]
    activated = set[int]()  # oneDNN computes GELU too
    with torch.inference_mode():
        expected = [merger(patches) for patches in pictures]
        merger.mlp[1].register_forward_hook(lambda _, inputs, output: activated.add(len(output)))
        merged = [inference._merged(merger, patches, fuse=True) for patches in pictures]
    torch.testing.assert_close(merged, expected)
    assert met == activated == FEW


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_a_large_matrix_is_multiplied_without_a_copy_of_it(
    packed_operator: None, monkeypatch: pytest.MonkeyPatch, transposed: bool, bias: bool
) -> None:
    kept: list[Tensor] = []
    reorder = torch.ops.mkldnn._reorder_linear_weight
    monkeypatch.setattr(torch.ops.mkldnn, "_reorder_linear_weight", lambda m: kept.append(m) or reorder(m))
    monkeypatch.setattr(packed_weights, "_MOST_PACKED", 48 * 32)
    for rows, packs in ((48, True), (49, False)):
        weight = nn.Parameter(torch.randn(rows, 32))
        added = torch.randn(rows) if bias and not transposed else None
        inputs = torch.randn(16, rows if transposed else 32)
        with torch.inference_mode():
            output = packed_product(inputs, [weight], weight.detach(), added, transposed=transposed)
        matrix = weight.double() if transposed else weight.double().T
        expected = inputs.double() @ matrix + (0 if added is None else added.double())
        torch.testing.assert_close(output.double(), expected, rtol=1e-5, atol=1e-5)
        assert bool(kept) == packs
        kept.clear()
