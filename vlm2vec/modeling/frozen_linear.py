"""Linear layers while their weights are frozen, as beneath an adapter: both directions by the faster kernel.

A frozen weight takes part in two products, the one of the forward pass and the one that gives the gradient of
the layer's input; no third one gives a gradient of its own. Both go through
`vlm2vec.modeling.packed_weights` where that wins, which keeps a copy of the weight for each direction.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812

from vlm2vec.modeling.packed_weights import packed_product, packing_wins, rounded_up

__all__ = ["FrozenLinear", "use_frozen_linear"]


class FrozenLinear(nn.Linear):
    """A linear layer, with the same weights under the same names. What learns is computed as ever."""

    def forward(self, inputs: Tensor) -> Tensor:
        """`inputs` `(..., in)` to `(..., out)`."""
        return frozen_linear(inputs, self.weight, self.bias)


def use_frozen_linear(network: nn.Module) -> None:
    """Make plain linear layers with frozen weights `FrozenLinear`, in place."""
    for module in network.modules():
        if type(module) is nn.Linear and _is_frozen(module.weight, module.bias):
            # Not another module around it: names of weights, adapters and saved files stay what they are.
            module.__class__ = FrozenLinear


def frozen_linear(inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.linear`, by the faster kernel where weight and bias are frozen."""
    if not _is_frozen(weight, bias) or not packing_wins(inputs):
        return F.linear(inputs, weight, bias)
    output: Tensor = _Product.apply(inputs, weight, bias)  # type: ignore[no-untyped-call]
    return output


def _is_frozen(weight: Tensor, bias: Tensor | None) -> bool:
    # A shard of a weight, or one of few bits, is of another class; one of inference mode has no version.
    plain = type(weight) is nn.Parameter and weight.ndim == 2 and weight.is_contiguous()
    frozen = not weight.requires_grad and not weight.is_inference()
    return plain and frozen and (bias is None or not bias.requires_grad)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: nn.Parameter, bias: Tensor | None) -> Tensor:
        ctx.weight = weight  # the parameter itself, by which its packed copies are found
        return _multiply(inputs, weight, bias, transposed=False)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _multiply(gradient, ctx.weight, None, transposed=True), None, None


def _multiply(inputs: Tensor, weight: nn.Parameter, bias: Tensor | None, *, transposed: bool) -> Tensor:
    rows = inputs.reshape(-1, inputs.shape[-1])
    output = packed_product(rounded_up(rows), [weight], weight.detach(), bias, transposed=transposed)
    return output[: len(rows)].view(*inputs.shape[:-1], -1)
