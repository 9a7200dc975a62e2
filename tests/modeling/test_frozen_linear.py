"""Frozen linear layers against torch's own, forward and back."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from vlm2vec.modeling.frozen_linear import FrozenLinear, use_frozen_linear

pytestmark = pytest.mark.usefixtures("kernel")


def pair(*, bias: bool = True) -> tuple[nn.Linear, nn.Linear]:
    """torch's layer and ours, with the same frozen weights."""
    torch.manual_seed(0)
    plain = nn.Linear(24, 40, bias=bias).requires_grad_(False)
    ours = copy.deepcopy(plain)
    use_frozen_linear(ours)
    return plain, ours


def both_ways(layer: nn.Module, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The output, and the gradient of the input for some gradient of the output."""
    given = inputs.clone().requires_grad_()
    output = layer(given)
    output.backward(torch.linspace(-1, 1, output.numel()).view_as(output))
    assert given.grad is not None
    return output.detach(), given.grad


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "shape", [(24,), (1, 24), (7, 24), (300, 24), (1300, 24), (0, 24), (1, 70, 24), (2, 3, 5, 24)]
)
def test_equals_torch_forward_and_back(shape: tuple[int, ...], bias: bool) -> None:
    plain, ours = pair(bias=bias)
    inputs = torch.randn(shape)
    torch.testing.assert_close(both_ways(ours, inputs), both_ways(plain, inputs))
    with torch.no_grad():
        torch.testing.assert_close(ours(inputs), plain(inputs))


def test_a_gradient_that_does_not_lie_in_one_piece() -> None:
    plain, ours = pair()
    found = []
    for layer in (plain, ours):
        inputs = torch.ones(6, 24, requires_grad=True)
        layer(inputs).sum().backward()  # the gradient of a sum is one number, seen many times
        found.append(inputs.grad)
    torch.testing.assert_close(found[1], found[0])


def test_what_learns_again_has_gradients_again() -> None:
    _, ours = pair()
    ours.requires_grad_(True)
    ours(torch.ones(3, 24)).sum().backward()
    assert ours.weight.grad is not None
    torch.testing.assert_close(ours.weight.grad, torch.full((40, 24), 3.0))


def test_a_learning_bias_beside_a_frozen_weight_learns() -> None:
    _, ours = pair()
    assert ours.bias is not None
    ours.bias.requires_grad_(True)
    ours(torch.ones(3, 24)).sum().backward()
    torch.testing.assert_close(ours.bias.grad, torch.full((40,), 3.0))


def test_changed_weights_are_seen_both_ways() -> None:
    plain, ours = pair()
    inputs = torch.randn(5, 24)
    for change in (
        lambda layer: layer.weight.data.mul_(2),  # leaves no trace, as merging an adapter
        lambda layer: layer.load_state_dict({"weight": torch.ones(40, 24), "bias": torch.ones(40)}),
        lambda layer: setattr(layer, "weight", nn.Parameter(torch.full((40, 24), 2.0), requires_grad=False)),
    ):
        for layer in (plain, ours):
            change(layer)
        torch.testing.assert_close(both_ways(ours, inputs), both_ways(plain, inputs))


def test_only_plain_frozen_layers_are_changed_where_it_pays_and_names_stay(kernel: str) -> None:
    class Other(nn.Linear):
        """A layer of some other package, as a quantised one."""

    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), Other(4, 4))
    network[1:].requires_grad_(False)
    names = [name for name, _ in network.named_parameters()]
    use_frozen_linear(network)
    changed = FrozenLinear if kernel == "packed" else nn.Linear
    assert [type(layer) for layer in network] == [nn.Linear, changed, Other]
    assert [name for name, _ in network.named_parameters()] == names


def test_copies_and_pickles_compute_the_same() -> None:
    plain, ours = pair()
    inputs = torch.randn(5, 24)
    both_ways(ours, inputs)
    for same in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):  # noqa: S301
        torch.testing.assert_close(both_ways(same, inputs), both_ways(plain, inputs))


def test_half_precision_is_torch_s_own() -> None:
    plain, ours = pair()
    inputs = torch.randn(5, 24)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(ours(inputs), plain(inputs))
    assert torch.equal(ours.bfloat16()(inputs.bfloat16()), plain.bfloat16()(inputs.bfloat16()))


@pytest.mark.parametrize("reentrant", [True, False])
def test_gradient_checkpointing(reentrant: bool) -> None:
    plain, ours = pair()
    inputs = torch.randn(5, 24)

    def recomputed(given: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = checkpoint(lambda rows: ours(rows).sin(), given, use_reentrant=reentrant)
        return output

    expected = both_ways(nn.Sequential(plain, Sine()), inputs)
    found = both_ways(Called(recomputed), inputs)
    torch.testing.assert_close(found, expected)


class Sine(nn.Module):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs.sin()


class Called(nn.Module):
    def __init__(self, call) -> None:
        super().__init__()
        self.call = call

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.call(inputs)
