"""Fused and packed linear maps against the modules one by one, and the choice of the kernel."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from itertools import cycle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from transformers.models.qwen2_vl.modeling_qwen2_vl import PatchMerger

from vlm2vec.backbones import encode_forward
from vlm2vec.backbones.qwen2_vl.network import NETWORK
from vlm2vec.blocks import linear
from vlm2vec.blocks.linear import project, rounded_up, row_blocks, some_rows
from vlm2vec.blocks.options import ForwardOptions, Kernel
from vlm2vec.encoding.settings import EngineSettings
from vlm2vec.errors import InputError

FEW = {16, 32, 48, 64, 128, 256}


@pytest.fixture
def modules() -> list[nn.Linear]:
    torch.manual_seed(0)
    return [nn.Linear(24, width) for width in (32, 8, 8)]


def naive(modules: list[nn.Linear], inputs: torch.Tensor) -> torch.Tensor:
    return torch.cat([module(inputs) for module in modules], dim=-1)


@pytest.mark.parametrize("rows", [1, 7, 64, 300])
@torch.inference_mode()
def test_equals_the_modules_one_by_one(kernel: Kernel, modules: list[nn.Linear], rows: int) -> None:
    inputs, fused, apart = (
        torch.randn(rows, 24),
        ForwardOptions(kernel=kernel),
        ForwardOptions(fuse_projections=False, kernel=kernel),
    )
    torch.testing.assert_close(project(modules, inputs, fused), naive(modules, inputs))
    torch.testing.assert_close(project(modules[:1], inputs, fused), naive(modules[:1], inputs))
    torch.testing.assert_close(project(modules, inputs, apart), naive(modules, inputs))


@torch.inference_mode()
def test_sees_every_way_of_changing_weights(kernel: Kernel, modules: list[nn.Linear]) -> None:
    inputs, options = torch.randn(5, 24), ForwardOptions(kernel=kernel)
    project(modules, inputs, options)
    changes = [
        lambda: modules[0].weight.mul_(2),
        lambda: modules[1].weight.data.add_(1),  # as merging an adapter does
        lambda: modules[2].weight.data.copy_(torch.ones(8, 24)),
        lambda: setattr(modules[1].weight, "data", torch.randn(8, 24)),
        lambda: setattr(modules[0], "weight", nn.Parameter(torch.randn(32, 24))),
    ]
    for change in changes:
        with torch.inference_mode(False), torch.no_grad():
            change()
        torch.testing.assert_close(project(modules, inputs, options), naive(modules, inputs))


def test_fused_weights_are_held_once_and_stay_trainable(modules: list[nn.Linear]) -> None:
    parameters = [module.weight for module in modules]
    with torch.inference_mode():
        project(modules, torch.randn(2, 24))
    assert [module.weight for module in modules] == parameters
    assert len({parameter.untyped_storage().data_ptr() for parameter in parameters}) == 1
    inputs = torch.randn(5, 24)
    naive(modules, inputs).sum().backward()
    assert all(parameter.is_leaf and parameter.grad is not None for parameter in parameters)
    torch.optim.SGD(parameters, lr=0.1).step()
    copied, sent = copy.deepcopy(modules), pickle.loads(pickle.dumps(modules))  # noqa: S301
    with torch.inference_mode():
        for same in (modules, copied, sent, copy.deepcopy(modules)):
            torch.testing.assert_close(project(same, inputs), naive(modules, inputs))


@torch.inference_mode()
def test_a_wrapped_module_is_called(modules: list[nn.Linear]) -> None:
    class Doubled(nn.Linear):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(inputs)

    inputs, wrapped = torch.randn(3, 24), Doubled(24, 8)
    expected = torch.cat([modules[0](inputs), wrapped(inputs)], dim=-1)
    torch.testing.assert_close(project([modules[0], wrapped], inputs), expected)


def test_without_onednn_torch_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.ops, "mkldnn", object())
    linear.onednn_wins.cache_clear()
    assert linear.onednn_wins() is False
    linear.onednn_wins.cache_clear()


def test_a_kernel_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r'kernel is text .mkl.\. Pass one of "auto", "torch", "onednn"'):
        EngineSettings(kernel="mkl")  # type: ignore[arg-type]
    monkeypatch.setattr(torch.ops, "mkldnn", object())
    with pytest.raises(InputError, match="no products by oneDNN"):
        EngineSettings(kernel="onednn")


@pytest.mark.parametrize("kernel", ["auto", "torch", "onednn"])
@pytest.mark.parametrize("emulated", [True, False])
def test_emulated_bfloat16_is_multiplied_in_float32(
    modules: list[nn.Linear], emulated: bool, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules, inputs = [module.bfloat16() for module in modules], torch.randn(7, 24).bfloat16()
    with torch.no_grad():
        expected = naive([copy.deepcopy(module).double() for module in modules], inputs.double())
    types: set[torch.dtype] = set()

    def noted(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        types.add(rows.dtype)
        return multiply(rows, weight, bias)

    multiply = F.linear
    monkeypatch.setattr(F, "linear", noted)
    monkeypatch.setattr(linear, "emulates_bfloat16", lambda device: emulated)
    monkeypatch.setattr(linear, "_MAX_CONVERTED", 5 * 24)  # some rows at a time
    with torch.inference_mode():
        output = project(modules, inputs, ForwardOptions(kernel=kernel))
    assert types == {torch.float32 if emulated and kernel == "auto" else torch.bfloat16}
    assert output.dtype == torch.bfloat16
    torch.testing.assert_close(output.double(), expected, rtol=0.01, atol=0.01)


@pytest.fixture
def onednn(packed_operator: None) -> ForwardOptions:
    return ForwardOptions(kernel="onednn")


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
    monkeypatch.setattr(linear, "onednn_wins", lambda: wins)
    rows = torch.empty(715, 1, dtype=dtype)
    assert [len(rows[block]) for block in some_rows(rows)] == sizes


@pytest.fixture
def met(onednn: ForwardOptions, monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Numbers of rows of all packed products."""
    numbers: set[int] = set()

    def noted(inputs: Tensor, matrix: Tensor, bias: Tensor | None = None) -> Tensor:
        numbers.add(len(inputs))
        return onednn_product(inputs, matrix, bias)

    onednn_product = linear._onednn_product
    monkeypatch.setattr(linear, "_onednn_product", noted)
    return numbers


def test_batches_of_all_sizes_meet_few_numbers_of_rows(met: set[int], onednn: ForwardOptions) -> None:
    layer = nn.Linear(4, 4)
    with torch.inference_mode():
        for count in range(1, 2000, 7):
            rows = torch.empty(count, 4)
            for block in some_rows(rows, onednn):
                project([layer], rows[block], onednn)
    assert met == FEW


def test_pictures_of_all_sizes_meet_few_numbers_of_rows_in_the_merger(
    met: set[int], onednn: ForwardOptions
) -> None:
    merger = PatchMerger(dim=4, context_dim=8)
    pictures = [torch.randn(4 * count, 8) for count in range(1, 600, 7)]
    activated = set[int]()  # oneDNN computes GELU too
    with torch.inference_mode():
        expected = [merger(patches) for patches in pictures]
        merger.mlp[1].register_forward_hook(lambda _, inputs, output: activated.add(len(output)))
        merged = [encode_forward._merged(NETWORK, merger, patches, onednn) for patches in pictures]
    torch.testing.assert_close(merged, expected)
    assert met == activated == FEW


@pytest.mark.parametrize("bias", [False, True])
def test_a_large_matrix_is_multiplied_without_a_copy_of_it(
    onednn: ForwardOptions, monkeypatch: pytest.MonkeyPatch, bias: bool
) -> None:
    kept: list[Tensor] = []
    reorder = torch.ops.mkldnn._reorder_linear_weight
    monkeypatch.setattr(torch.ops.mkldnn, "_reorder_linear_weight", lambda m: kept.append(m) or reorder(m))
    monkeypatch.setattr(linear, "_MAX_PACKED", 48 * 32)
    for rows, packs in ((48, True), (49, False)):
        layer = nn.Linear(32, rows, bias=bias)
        inputs = torch.randn(16, 32)
        with torch.inference_mode():
            output = project([layer], inputs, onednn)
        expected = layer.double()(inputs.double())
        torch.testing.assert_close(output.double(), expected, rtol=1e-5, atol=1e-5)
        assert bool(kept) == packs
        kept.clear()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds since the start, in the only element; `linear` reads it."""
    now = [0.0]
    monkeypatch.setattr(linear.time, "perf_counter", lambda: now[0])
    return now


def way(clock: list[float], seconds: Iterator[float]) -> Callable[[], object]:
    def run() -> None:
        clock[0] += next(seconds)

    return run


@pytest.mark.parametrize(("new", "wins"), [(0.5, True), (0.8, True), (0.9, False), (2.0, False)])
def test_a_clear_win_is_one(clock: list[float], new: float, wins: bool) -> None:
    assert linear._is_faster(way(clock, cycle([new])), way(clock, cycle([1.0]))) is wins


@pytest.mark.parametrize(("new", "wins"), [(0.77, True), (1.0, False)])
def test_a_busy_machine_gives_the_same_answer(clock: list[float], new: float, wins: bool) -> None:
    # Some pairs are slowed down threefold, and one run of the other was lucky, so that the fastest runs tie.
    slowed = [3.0, 1.0, 1.0] * 4
    of_old = [0.77 if number == 1 else factor for number, factor in enumerate(slowed)]
    assert (
        linear._is_faster(way(clock, (new * factor for factor in slowed)), way(clock, iter(of_old))) is wins
    )
