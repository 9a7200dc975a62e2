"""DoRA with its norm computed once, against peft's own DoRA and against the formula written out."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from adapted_layers import assert_equal, network, step
from peft import LoraConfig, get_peft_model
from peft.tuners.lora.dora import DoraLinearLayer
from torch import nn

from vlm2vec.training import dora_norm
from vlm2vec.training.dora_norm import OnceNormedDora, row_norms, use_dora_norm


def changed(adapted: Any) -> Any:
    ours = copy.deepcopy(adapted)
    use_dora_norm(ours)
    assert any(type(module) is OnceNormedDora for module in ours.modules())
    return ours


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("training", [True, False])
def test_output_and_gradients_are_peft_s(bias: bool, dropout: float, training: bool) -> None:
    adapted = network(bias=bias, lora_dropout=dropout, use_dora=True).train(training)
    inputs = torch.randn(3, 7, 48)
    expected = step(adapted, inputs)
    assert sum("lora_" in name for name in expected) == 6
    assert_equal(step(changed(adapted), inputs), expected)


@pytest.mark.parametrize("half", [False, True])
def test_norms_are_those_of_the_whole_matrix_under_autocast_too(half: bool) -> None:
    weight, down, up = torch.randn(30, 50), torch.randn(4, 50), torch.randn(30, 4)
    expected = (weight.double() + 2.5 * up.double() @ down.double()).norm(dim=1)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        norms = row_norms(weight, down, up, 2.5)
    torch.testing.assert_close(norms.double(), expected, rtol=1e-6, atol=0)


def test_the_norm_is_computed_once_for_any_number_of_passes_and_again_after_a_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[int] = []

    def counted(*arguments: Any) -> torch.Tensor:
        calls.append(1)
        return row_norms(*arguments)

    monkeypatch.setattr(dora_norm, "row_norms", counted)
    adapted = network(use_dora=True)
    ours = changed(adapted)
    inputs = torch.randn(5, 48)
    for _ in range(3):
        ours(inputs)
    assert len(calls) == 2  # one a layer
    for model in (adapted, ours):
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
        step(model, inputs)
        optimizer.step()
    assert_equal(step(ours, inputs), step(adapted, inputs))
    assert len(calls) == 4
    for model in (adapted, ours):  # some optimisers write past autograd
        for weight in model.parameters():
            weight.data.mul_(1.5)
    use_dora_norm(ours)  # as each step begins
    assert_equal(step(ours, inputs), step(adapted, inputs))


def test_outside_training_any_change_of_the_weights_is_seen() -> None:
    adapted = network(use_dora=True).eval()
    ours = changed(adapted)
    inputs = torch.randn(5, 48)
    for _ in range(2):
        torch.testing.assert_close(ours(inputs), adapted(inputs))
        for model in (adapted, ours):
            for weight in model.parameters():
                weight.data.mul_(1.5)


def test_what_is_not_a_plain_linear_layer_is_left_to_peft(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other(nn.Linear):
        """A layer of some other package, as a quantised one."""

    monkeypatch.delattr(dora_norm, "row_norms")
    torch.manual_seed(0)
    config = LoraConfig(r=4, use_dora=True, target_modules=["0", "1"], init_lora_weights=False)
    adapted = get_peft_model(nn.Sequential(Other(8, 8), nn.Embedding(3, 5)), config)
    before = [type(module) for module in adapted.modules()]
    expected = adapted.base_model.model[0](torch.ones(2, 8))
    use_dora_norm(adapted)
    assert torch.equal(adapted.base_model.model[0](torch.ones(2, 8)), expected)
    after = [type(module) for module in adapted.modules()]
    assert [kind if kind is not OnceNormedDora else DoraLinearLayer for kind in after] == before


def test_saving_merging_copying_and_pickling_go_on() -> None:
    adapted = network(use_dora=True)
    inputs = torch.randn(5, 48)
    expected = adapted(inputs)
    ours = changed(adapted)
    assert ours.state_dict().keys() == adapted.state_dict().keys()
    for same in (ours, copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):  # noqa: S301
        torch.testing.assert_close(same(inputs), expected)
        torch.testing.assert_close(same.merge_and_unload()(inputs), expected)


def test_under_autocast_no_graph_holds_a_copy_of_a_frozen_weight_in_half_precision() -> None:
    adapted = network(use_dora=True, lora_dropout=0.5).train()
    frozen = [weight for name, weight in adapted.named_parameters() if "lora_" not in name]
    for weight in frozen:
        weight.data = weight.data.bfloat16()
    ours = changed(adapted)
    shapes = [weight.shape for name, weight in ours.named_parameters() if name.endswith("base_layer.weight")]
    own = {weight.data_ptr() for weight in ours.parameters()}
    held: list[torch.Tensor] = []
    with (
        torch.autograd.graph.saved_tensors_hooks(lambda one: held.append(one) or one, lambda one: one),
        torch.autocast("cpu", torch.bfloat16),
    ):
        ours(torch.randn(7, 48))
    assert shapes
    assert not [
        one for one in held if one.shape in shapes or one.T.shape in shapes if one.data_ptr() not in own
    ]
