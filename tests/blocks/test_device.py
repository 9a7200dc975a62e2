"""What is chosen by device, and how tensors get there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from vlm2vec.blocks.device import LARGE, default_dtype, emulates_bfloat16, has_bfloat16, to_device

V100, T4, A100, H200, MI300 = (7, 0), (7, 5), (8, 0), (9, 0), (9, 4)


def gpus(monkeypatch: pytest.MonkeyPatch, *capabilities: tuple[int, int]) -> None:
    """A machine with these GPUs, the first of which is current; torch emulates bfloat16 on the older ones."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capabilities[device.index or 0])
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)


@pytest.mark.parametrize(
    ("capability", "dtype"),
    [
        (V100, torch.float32),
        (T4, torch.float32),
        (A100, torch.bfloat16),
        (H200, torch.bfloat16),
        (MI300, torch.bfloat16),
    ],
)
def test_bfloat16_is_the_default_where_a_gpu_has_it(
    capability: tuple[int, int], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus(monkeypatch, capability)
    for parameters in (LARGE - 1, LARGE):
        assert default_dtype(torch.device("cuda"), torch.bfloat16, parameters=parameters) == dtype


def test_the_gpu_is_asked_that_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, H200, T4)
    assert [has_bfloat16(torch.device("cuda", number)) for number in (0, 1)] == [True, False]


@pytest.mark.parametrize("device", ["cpu", "mps", "xpu"])
def test_float32_is_the_default_elsewhere(device: str) -> None:
    assert default_dtype(torch.device(device), torch.bfloat16, parameters=LARGE - 1) == torch.float32


@pytest.mark.parametrize(
    ("own", "dtype"),
    [
        (torch.float32, torch.float32),
        (torch.bfloat16, torch.bfloat16),
        (torch.float16, torch.bfloat16),  # float16 overflows, and is slow on a CPU
        (torch.float64, torch.float32),
    ],
)
def test_on_a_cpu_a_large_network_in_half_precision_is_bfloat16(own: torch.dtype, dtype: torch.dtype) -> None:
    assert default_dtype(torch.device("cpu"), own, parameters=LARGE) == dtype


@pytest.mark.parametrize(
    ("capabilities", "emulates"),
    [
        ({"avx2": True, "avx512_bf16": False, "amx_bf16": False}, True),  # Zen 3
        ({"avx512_f": True, "avx512_bf16": False}, True),  # Cascade Lake
        ({"avx512_f": True, "avx512_bf16": True, "amx_bf16": False}, False),  # Zen 4
        ({"neon": True, "bf16": False}, True),  # Neoverse N1
        ({"neon": True, "bf16": True}, False),  # Neoverse V1
    ],
)
def test_a_cpu_says_whether_it_has_bfloat16(
    capabilities: dict[str, bool], emulates: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert emulates_bfloat16(torch.device("cpu")) == emulates
    assert not emulates_bfloat16(torch.device("cuda"))


def test_a_torch_that_cannot_be_asked_is_taken_for_able_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not emulates_bfloat16(torch.device("cpu"))


@dataclass(frozen=True)
class Parts:
    first: Tensor
    second: Tensor | None


@pytest.mark.parametrize("device", ["cpu", "mps", "xpu", "cuda"])
def test_the_host_goes_on_before_a_copy_is_made_only_from_pinned_memory_to_cuda(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned: list[Tensor] = []
    copies: list[tuple[bool, bool]] = []  # from pinned memory, without waiting

    def pin_memory(tensor: Tensor) -> Tensor:
        pinned.append(tensor.clone())
        return pinned[-1]

    def to(tensor: Tensor, _: Any, *, non_blocking: bool = False) -> Tensor:
        copies.append((any(tensor is each for each in pinned), non_blocking))
        return tensor

    monkeypatch.setattr(Tensor, "pin_memory", pin_memory)
    monkeypatch.setattr(Tensor, "to", to)
    moved = to_device(Parts(torch.arange(3), None), torch.device(device))
    assert moved.first.tolist() == [0, 1, 2]
    assert moved.second is None
    assert copies == [(device == "cuda", device == "cuda")]
