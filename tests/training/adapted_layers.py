"""Two layers with peft's own adapter, and what a pass through them gives."""

from __future__ import annotations

from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import nn

__all__ = ["assert_equal", "network", "step"]


def network(*, bias: bool = True, **settings: Any) -> Any:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(48, 96, bias=bias), nn.Tanh(), nn.Linear(96, 24, bias=bias))
    config = LoraConfig(r=4, lora_alpha=16, target_modules=["0", "2"], init_lora_weights=False, **settings)
    adapted = get_peft_model(layers, config)
    with torch.no_grad():  # lengths that are not those of the weights
        for name, weight in adapted.named_parameters():
            if "magnitude" in name:
                weight.mul_(torch.rand_like(weight) + 0.5)
    return adapted


def step(adapted: Any, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
    """Output and gradients, by name."""
    adapted.zero_grad(set_to_none=True)
    given = inputs.clone().requires_grad_()
    torch.manual_seed(1)  # of the dropout
    output = adapted(given)
    output.square().sum().backward()
    gradients = {name: one.grad for name, one in adapted.named_parameters() if one.grad is not None}
    assert given.grad is not None
    return {"output": output.detach(), "input": given.grad, **gradients}


def assert_equal(ours: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == expected.keys()
    for name, tensor in expected.items():
        assert (ours[name] - tensor).norm() <= 1e-6 * tensor.norm(), name
