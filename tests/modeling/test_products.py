"""Fused and packed linear maps against the modules one by one."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from vlm2vec.modeling import packed_weights
from vlm2vec.modeling.products import project


@pytest.fixture
def modules() -> list[nn.Linear]:
    torch.manual_seed(0)
    return [nn.Linear(24, width) for width in (32, 8, 8)]


def naive(modules: list[nn.Linear], inputs: torch.Tensor) -> torch.Tensor:
    return torch.cat([module(inputs) for module in modules], dim=-1)


@pytest.mark.parametrize("rows", [1, 7, 64, 300])
@torch.inference_mode()
def test_equals_the_modules_one_by_one(kernel: str, modules: list[nn.Linear], rows: int) -> None:
    inputs = torch.randn(rows, 24)
    torch.testing.assert_close(project(modules, inputs), naive(modules, inputs))
    torch.testing.assert_close(project(modules[:1], inputs), naive(modules[:1], inputs))
    torch.testing.assert_close(project(modules, inputs, fuse=False), naive(modules, inputs))


@torch.inference_mode()
def test_sees_every_way_of_changing_weights(kernel: str, modules: list[nn.Linear]) -> None:
    inputs = torch.randn(5, 24)
    project(modules, inputs)
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
        torch.testing.assert_close(project(modules, inputs), naive(modules, inputs))


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
    packed_weights._packing_wins.cache_clear()
    assert packed_weights._packing_wins() is False
    packed_weights._packing_wins.cache_clear()
