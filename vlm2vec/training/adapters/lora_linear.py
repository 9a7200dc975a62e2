"""LoRA and DoRA in fewer passes over memory: the adapter is added into the output of the base layer.

peft computes `base(x) + B(A(x)) * s`: besides the products three passes over the output, and as many on the
way back. Here `s` scales what lies between A and B, as narrow as the rank, and the product with B is added up
where the base layer left its own:

    y = x W^T + b,  y += s (x A^T) B^T        dX = dY W,  dX += s (dY B) A

DoRA multiplies the sum, before the bias, by the learned length over that of the rows (`dora_norm`).
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora.layer import Linear
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from vlm2vec.modeling.frozen_linear import FrozenLinear, is_frozen, multiply
from vlm2vec.training.adapters.dora_norm import OnceNormedDora

__all__ = ["LoraLinear", "use_lora_linear"]


class LoraLinear(Linear):  # type: ignore[misc]
    """peft's adapter of a linear layer. What is not plain (quantised, dropout, two of them) peft computes."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """`x` `(..., in)` to `(..., out)`."""
        name = self._plain_adapter(x)
        if name is None or args or kwargs:
            peft: Tensor = super().forward(x, *args, **kwargs)
            return peft
        weight, bias = self.base_layer.weight, self.base_layer.bias
        adapter = self.lora_A[name].weight, self.lora_B[name].weight, self.scaling[name]
        if name not in self.lora_variant:
            return _adapted(x, weight, bias, adapter)
        scale = self.lora_magnitude_vector[name].scale(weight, *adapter)
        output = _adapted(x, weight, None, adapter)
        return output * scale if bias is None else torch.addcmul(bias, output, scale)

    def _plain_adapter(self, x: Tensor) -> str | None:
        """The name of the one adapter at work, if there is nothing else to it."""
        names = [name for name in self.active_adapters if name in self.lora_A]
        if self.disable_adapters or self.merged or len(names) != 1 or self.fan_in_fan_out:
            return None
        name: str = names[0]
        if self.training and not isinstance(self.lora_dropout[name], nn.Identity):
            return None
        if name in self.lora_variant and type(self.lora_magnitude_vector[name]) is not OnceNormedDora:
            return None
        layers = self.base_layer, self.lora_A[name], self.lora_B[name]
        plain = (
            all(
                type(layer) in (nn.Linear, FrozenLinear) and layer.weight.dtype == x.dtype for layer in layers
            )
            and all(type(layer.weight) is nn.Parameter and layer.bias is None for layer in layers[1:])
            and is_frozen(self.base_layer.weight, self.base_layer.bias)
            and not torch.is_autocast_enabled(x.device.type)
        )
        return name if plain else None


def use_lora_linear(network: nn.Module) -> None:
    """Make peft's linear layers in the network `LoraLinear`, in place."""
    for module in network.modules():
        if type(module) is Linear:
            # Not another layer in its place: names of weights and saved files stay what they are.
            module.__class__ = LoraLinear


def _adapted(
    x: Tensor, weight: nn.Parameter, bias: Tensor | None, adapter: tuple[Tensor, Tensor, float]
) -> Tensor:
    rows = x.reshape(-1, x.shape[-1])
    output: Tensor = _Adapted.apply(rows, weight, bias, *adapter)  # type: ignore[no-untyped-call]
    return output.view(*x.shape[:-1], len(weight))


class _Adapted(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0917  # autograd passes them by place
        ctx: Any,
        x: Tensor,
        weight: nn.Parameter,
        bias: Tensor | None,
        down: Tensor,
        up: Tensor,
        scaling: float,
    ) -> Tensor:
        narrow = x @ down.T
        ctx.save_for_backward(x, narrow, down, up)
        ctx.weight = weight  # the parameter itself, by which its packed copies are found
        ctx.scaling = scaling
        return multiply(x, weight, bias).addmm_(narrow, up.T, alpha=scaling)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, narrow, down, up = ctx.saved_tensors
        back = (gradient @ up).mul_(ctx.scaling)
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = multiply(gradient, ctx.weight, transposed=True).addmm_(back, down)
        of_up = (gradient.T @ narrow).mul_(ctx.scaling)
        return of_x, None, None, back.T @ x, of_up, None
