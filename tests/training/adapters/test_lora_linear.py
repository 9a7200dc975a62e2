"""Leaner LoRA and DoRA layers against peft's own."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from adapted_layers import assert_equal, network, step
from peft import LoraConfig
from torch import nn
from torch.utils.checkpoint import checkpoint

from vlm2vec.modeling.frozen_linear import use_frozen_linear
from vlm2vec.training.adapters import lora_linear
from vlm2vec.training.adapters.dora_norm import use_dora_norm
from vlm2vec.training.adapters.lora_linear import LoraLinear, use_lora_linear

pytestmark = pytest.mark.usefixtures("kernel")


def changed(adapted: Any) -> Any:
    ours = copy.deepcopy(adapted)
    for change in (use_frozen_linear, use_lora_linear, use_dora_norm):
        change(ours)
    assert sum(type(module) is LoraLinear for module in ours.modules()) == 2
    return ours


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with each layer that is not left to peft."""
    calls: list[int] = []
    whole = lora_linear._adapted

    def counting(*arguments: Any) -> torch.Tensor:
        calls.append(1)
        return whole(*arguments)

    monkeypatch.setattr(lora_linear, "_adapted", counting)
    return calls


@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(48,), (7, 48), (1, 70, 48), (2, 3, 5, 48)])
def test_output_and_gradients_are_peft_s(
    shape: tuple[int, ...], bias: bool, dora: bool, counted: list[int]
) -> None:
    adapted = network(bias=bias, use_dora=dora)
    inputs = torch.randn(shape)
    ours = changed(adapted)
    assert_equal(step(ours, inputs), step(adapted, inputs))
    assert len(counted) == 2


def test_inputs_that_do_not_learn_get_no_gradient() -> None:
    adapted = network()
    inputs = torch.randn(5, 48)
    gradients = []
    for model in (changed(adapted), adapted):
        model(inputs).sum().backward()
        gradients.append({name: w.grad for name, w in model.named_parameters() if w.grad is not None})
    assert_equal(*gradients)


def test_without_dropout_a_training_layer_is_lean_and_with_it_peft_s_own(counted: list[int]) -> None:
    adapted = network(lora_dropout=0.5)
    inputs = torch.randn(5, 48)
    for training, layers in ((True, 0), (False, 2)):
        ours = changed(adapted.train(training))
        assert_equal(step(ours, inputs), step(adapted, inputs))
        assert len(counted) == layers


def two_adapters(model: Any) -> None:
    model.add_adapter("other", LoraConfig(r=2, target_modules=["0"], init_lora_weights=False))
    model.base_model.set_adapter(["default", "other"])


def learning_base(model: Any) -> None:
    model.requires_grad_(True)


@pytest.mark.parametrize(
    "change",
    [
        two_adapters,
        learning_base,
        lambda model: model.merge_adapter(),
        lambda model: model.disable_adapter_layers(),
    ],
    ids=["two adapters", "a base that learns", "merged", "switched off"],
)
def test_what_is_not_plain_is_left_to_peft(change: Callable[[Any], None]) -> None:
    adapted = network()
    ours = changed(adapted)
    inputs = torch.randn(5, 48)
    torch.manual_seed(2)
    change(adapted)
    torch.manual_seed(2)
    change(ours)
    use_lora_linear(ours)
    assert_equal(step(ours, inputs), step(adapted, inputs))


def test_half_precision_is_peft_s_own() -> None:
    adapted = network()
    ours = changed(adapted)
    inputs = torch.randn(5, 48)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(ours(inputs), adapted(inputs))


@pytest.mark.parametrize("reentrant", [True, False])
def test_gradient_checkpointing(reentrant: bool) -> None:
    class Recomputed(nn.Module):
        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.model = model

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            output: torch.Tensor = checkpoint(self.model, inputs, use_reentrant=reentrant)
            return output

    adapted = network(use_dora=True)
    inputs = torch.randn(5, 48)
    assert_equal(step(Recomputed(changed(adapted)), inputs), step(Recomputed(adapted), inputs))


def test_saving_merging_copying_and_pickling_go_on() -> None:
    adapted = network(use_dora=True)
    inputs = torch.randn(5, 48)
    expected = adapted(inputs)
    ours = changed(adapted)
    assert ours.state_dict().keys() == adapted.state_dict().keys()
    for same in (ours, copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):  # noqa: S301
        torch.testing.assert_close(same(inputs), expected)
        torch.testing.assert_close(same.merge_and_unload()(inputs), expected)
