"""Fused kernels, interpreted on the CPU, against the same in torch's operators and in float64."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from vlm2vec.blocks import fused
from vlm2vec.blocks.norms import NormTerms, norm_terms
from vlm2vec.blocks.options import AUTO, ForwardOptions

CPU = torch.device("cpu")
FUSED = ForwardOptions(fuse_elementwise=True)
DTYPES = [torch.float32, torch.bfloat16, torch.float16]


@pytest.fixture
def untried() -> Iterator[None]:
    """Devices are tried anew, before and after."""

    def forget() -> None:
        fused._REFUSED.clear()
        fused._is_tried.cache_clear()
        fused._say_once.cache_clear()

    forget()
    yield
    forget()


def drawn(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return (2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))).to(dtype)


def assert_no_worse(found: Tensor, eager: Tensor, exact: Tensor) -> None:
    """As near to float64 as torch's operators, but for a small factor, and for one rounding of the type."""
    assert found.dtype == eager.dtype
    error, allowed = (found.double() - exact).norm(), (eager.double() - exact).norm()
    assert error <= 1.2 * allowed + torch.finfo(found.dtype).eps / 4 * exact.norm()
    if found.dtype == torch.float32:
        torch.testing.assert_close(found.double(), exact, rtol=1e-6, atol=2e-6)


@pytest.mark.usefixtures("interpreted_kernels")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("columns", [24, 1100])
@pytest.mark.parametrize("rows", [1, 7])
def test_swiglu_and_quick_gelu(rows: int, columns: int, dtype: torch.dtype) -> None:
    both = drawn(rows, 2 * columns, dtype=dtype)
    gate, up = both.chunk(2, dim=-1)  # halves of one product: rows that lie apart
    expected, exact = F.silu(gate) * up, F.silu(gate.double()) * up.double()
    untouched = up.clone()
    assert fused.activate(gate, up=up)
    assert_no_worse(gate, expected, exact)
    assert torch.equal(up, untouched)
    gate = drawn(rows, columns, dtype=dtype)
    expected, exact = (each * torch.sigmoid(1.702 * each) for each in (gate, gate.double()))
    assert fused.activate(gate, factor=1.702)
    assert_no_worse(gate, expected, exact)


@pytest.mark.usefixtures("interpreted_kernels")
def test_an_activation_of_large_numbers_is_finite() -> None:
    gate = torch.tensor([[-3e38, -1e4, -90.0, 0.0, 90.0, 1e4, 3e38]])
    expected = F.silu(gate)
    assert fused.activate(gate)
    torch.testing.assert_close(gate, expected)


def turned(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = heads.chunk(2, dim=-1)
    cos, sin = cos[:, None], sin[:, None]
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


@pytest.mark.usefixtures("interpreted_kernels")
@pytest.mark.parametrize("normed", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("queries", "keys", "head_dim"), [(3, 1, 12), (16, 16, 80), (12, 2, 128)])
def test_rotation(queries: int, keys: int, head_dim: int, dtype: torch.dtype, normed: bool) -> None:
    rows, count = 5, queries + 2 * keys
    packed = drawn(rows, count, head_dim, dtype=dtype)
    heads, values = packed.split([queries + keys, keys], dim=1)
    whole = drawn(rows, head_dim, seed=1)
    # Half of each row of angles, as `Heads` has them, in float32 in a tower and else in the type of weights.
    cos, sin = (
        angles.to(torch.float32 if queries == keys else dtype) for angles in (whole.cos(), whole.sin())
    )
    cos, sin = cos[:, : head_dim // 2], sin[:, : head_dim // 2]
    norms, weight, key_weight = (
        None,
        drawn(head_dim, dtype=dtype, seed=2),
        drawn(head_dim, dtype=dtype, seed=3),
    )
    eager, exact = heads.clone(), heads.double()
    if normed:
        norms = tuple(NormTerms(each, None, 1e-6, centred=False) for each in (weight, key_weight))
        eager, exact = (
            torch.cat(
                [
                    F.rms_norm(query, (head_dim,), weight.to(query.dtype), 1e-6),
                    F.rms_norm(key, (head_dim,), key_weight.to(key.dtype), 1e-6),
                ],
                dim=1,
            )
            for query, key in (each.split([queries, keys], dim=1) for each in (eager, exact))
        )
    eager, exact = turned(eager, cos, sin).to(dtype), turned(exact, cos.double(), sin.double())
    untouched = values.clone()
    assert fused.rotate(heads, cos, sin, queries=queries, norms=norms)
    assert_no_worse(heads, eager, exact)
    assert torch.equal(values, untouched)


@pytest.mark.usefixtures("interpreted_kernels")
@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [12, 1280])
def test_a_sum_and_its_norm(width: int, dtype: torch.dtype, centred: bool) -> None:
    hidden, branch = drawn(6, width + 4, dtype=dtype)[:, :width], drawn(6, width, dtype=dtype, seed=1)
    weight, bias = drawn(width, dtype=dtype, seed=2), drawn(width, dtype=dtype, seed=3)
    terms = NormTerms(weight, bias if centred else None, 1e-6, centred=centred)
    total, out = hidden + branch, torch.empty(6, width, dtype=dtype)

    def norm(rows: Tensor) -> Tensor:
        of_rows = weight.to(rows.dtype)
        if centred:
            return F.layer_norm(rows, (width,), of_rows, bias.to(rows.dtype), 1e-6)
        return F.rms_norm(rows, (width,), of_rows, 1e-6)

    assert fused.add_norm(hidden, branch, terms, out=out)
    assert torch.equal(hidden, total)  # rounded as torch rounds it
    assert_no_worse(out, norm(total), norm(total.double()))


@pytest.mark.usefixtures("interpreted_kernels")
def test_a_row_is_the_same_to_the_last_bit_whatever_is_beside_it() -> None:
    terms = NormTerms(drawn(40), None, 1e-6, centred=False)
    cos, sin = drawn(9, 4).cos(), drawn(9, 4).sin()

    def computed(rows: slice) -> list[Tensor]:
        gate, hidden, heads = drawn(9, 40)[rows], drawn(9, 40, seed=1)[rows], drawn(9, 5, 8)[rows]
        out = torch.empty_like(hidden)
        assert fused.activate(gate)
        assert fused.rotate(heads, cos[rows], sin[rows], queries=3)
        assert fused.add_norm(hidden, drawn(9, 40, seed=2)[rows], terms, out=out)
        return [gate, heads, hidden, out]

    for whole, alone in zip(computed(slice(None)), computed(slice(3, 4)), strict=True):
        assert torch.equal(whole[3:4], alone)


@pytest.mark.usefixtures("interpreted_kernels")
def test_no_rows_are_no_work() -> None:
    terms = NormTerms(torch.ones(8), None, 1e-6, centred=False)
    none = torch.empty(0, 8)
    assert fused.activate(none)
    assert fused.rotate(torch.empty(0, 2, 8), none[:, :4], none[:, :4], queries=1)
    assert fused.add_norm(none, none, terms, out=none)


@pytest.mark.usefixtures("interpreted_kernels")
def test_what_no_kernel_is_for_is_left_alone() -> None:
    terms = NormTerms(torch.ones(8), None, 1e-6, centred=False)
    columns, rows = drawn(8, 5).T, drawn(5, 8)
    before = columns.clone()
    wide = torch.zeros(1, 2 * fused._MAX_WIDTH)
    centred, other = (
        NormTerms(torch.ones(8), None, 1e-6, centred=True),
        NormTerms(torch.ones(8), None, 1e-5, False),
    )
    angles = torch.zeros(5, 4)
    assert not fused.activate(columns)
    assert not fused.activate(rows, up=columns)
    assert not fused.add_norm(rows, columns, terms, out=torch.empty(5, 8))
    assert not fused.add_norm(wide, wide, terms, out=wide)
    assert not fused.rotate(rows.view(5, 1, 8).expand(5, 2, 8), angles, angles, queries=1)
    for norms in ((centred, terms), (terms, other)):
        assert not fused.rotate(rows.view(5, 1, 8), angles, angles, queries=1, norms=norms)
    assert torch.equal(columns, before)
    assert fused.why_not_fused(CPU) is None  # none of this says that kernels cannot be built


def test_terms_are_those_of_plain_norms() -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.variance_epsilon = nn.Parameter(torch.ones(3)), 1e-3

    class Wrapped(Plain):
        pass

    plain, layer = Plain(), nn.LayerNorm(3)
    assert norm_terms(plain, Plain) == NormTerms(plain.weight, None, 1e-3, centred=False)
    assert norm_terms(layer, Plain) == NormTerms(layer.weight, layer.bias, 1e-5, centred=True)
    for other in (Wrapped(), nn.LayerNorm((2, 3)), nn.LayerNorm(3, elementwise_affine=False), nn.Identity()):
        assert norm_terms(other, Plain) is None


# Where kernels are not there


def broken(*_: Any, **__: Any) -> Any:
    class Kernel:
        def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
            raise FileNotFoundError("Failed to find C compiler.\nSet CC.")

    return SimpleNamespace(activate=Kernel(), rotate=Kernel(), add_norm=Kernel())


def wrong() -> Any:
    class Kernel:
        def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
            return lambda *_, **__: None

    return SimpleNamespace(activate=Kernel(), rotate=Kernel(), add_norm=Kernel())


def missing() -> Any:
    raise ModuleNotFoundError("No module named 'triton'")


def damaged() -> Any:
    raise AttributeError("module 'triton' has no attribute 'jit'")


@pytest.mark.usefixtures("untried")
@pytest.mark.parametrize(
    ("kernels", "device", "reason"),
    [
        (broken, "cuda:0", "FileNotFoundError: Failed to find C compiler."),
        (wrong, "cuda:0", "they give other numbers than torch's operators"),
        (missing, "cuda:0", "there is no Triton, which torch for NVIDIA's and AMD's GPUs brings along"),
        (damaged, "cuda:0", "AttributeError: module 'triton' has no attribute 'jit'"),
        (wrong, "cpu", "they are for GPUs"),
    ],
)
def test_it_is_said_once_why_torchs_operators_are_taken(
    kernels: Callable[[], Any],
    device: str,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(fused, "_kernels", kernels)
    linspace = torch.linspace
    # What would be on the GPU is on the CPU, under the GPU's name.
    monkeypatch.setattr(torch, "linspace", lambda *given, **_: linspace(*given))
    monkeypatch.setattr(fused, "_device_of", lambda tensor: torch.device(device))
    with caplog.at_level(logging.DEBUG, logger="vlm2vec"):
        assert not fused.is_fused(torch.ones(1), AUTO)
        assert not caplog.messages
        for _ in range(3):
            assert not fused.is_fused(torch.ones(1), FUSED)
    assert caplog.messages == [f"Without fused kernels on {device}, by torch's operators: {reason}"]
    assert fused.why_not_fused(torch.device(device)) == reason


@pytest.mark.usefixtures("interpreted_kernels")
def test_out_of_memory_is_not_taken_for_a_kernel_that_cannot_be_built(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Kernel:
        def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(fused, "_kernels", lambda: SimpleNamespace(activate=Kernel()))
    with pytest.raises(torch.OutOfMemoryError):
        fused.activate(torch.ones(2, 3))
    assert CPU not in fused._REFUSED  # kernels stay in use
