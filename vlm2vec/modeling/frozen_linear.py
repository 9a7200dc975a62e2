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

from vlm2vec.modeling.packed_weights import packed_product, packing_wins, rounded_up, row_blocks

__all__ = ["FrozenLinear", "frozen_linear", "is_frozen", "multiply", "use_frozen_linear"]

_ROWS = 512  # the first block has the largest multiple of it that there is


class FrozenLinear(nn.Linear):
    """A linear layer, with the same weights under the same names. What learns is computed as ever."""

    def forward(self, inputs: Tensor) -> Tensor:
        """`inputs` `(..., in)` to `(..., out)`."""
        return frozen_linear(inputs, self.weight, self.bias)


def use_frozen_linear(network: nn.Module) -> None:
    """Make plain linear layers with frozen weights `FrozenLinear`, in place, where that is the faster way."""
    for module in network.modules():
        if (
            type(module) is nn.Linear
            and is_frozen(module.weight, module.bias)
            and packing_wins(module.weight)
        ):
            # Not another module around it: names of weights, adapters and saved files stay what they are.
            module.__class__ = FrozenLinear


def frozen_linear(inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.linear`, by the faster kernel where weight and bias are frozen."""
    if not is_frozen(weight, bias) or not packing_wins(inputs):
        return F.linear(inputs, weight, bias)
    output: Tensor = _Product.apply(inputs, weight, bias)  # type: ignore[no-untyped-call]
    return output


def multiply(
    rows: Tensor, weight: nn.Parameter, bias: Tensor | None = None, *, transposed: bool = False
) -> Tensor:
    """`rows @ weight.T + bias`, or `rows @ weight` on the way back, for a frozen weight and without a graph.

    Args:
        rows: `(rows, in)`, or `(rows, out)` where transposed.
        weight: `(out, in)`.
        bias: `(out,)`; none where transposed.
        transposed: Whether this is the way back.
    """
    if not packing_wins(rows) or not len(rows):
        return rows @ weight if transposed else F.linear(rows, weight, bias)
    outputs = []
    for block in row_blocks(len(rows), largest=max(_ROWS, len(rows) // _ROWS * _ROWS)):
        part = rounded_up(rows[block])
        product = packed_product(part, [weight], weight.detach(), bias, transposed=transposed)
        outputs.append(product[: block.stop - block.start])
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


def is_frozen(weight: Tensor, bias: Tensor | None) -> bool:
    """Whether a layer is frozen, and its weight a plain matrix."""
    # A shard of a weight, or one of few bits, is of another class; one of inference mode has no version.
    plain = type(weight) is nn.Parameter and weight.ndim == 2 and weight.is_contiguous()
    frozen = not weight.requires_grad and not weight.is_inference()
    return plain and frozen and (bias is None or not bias.requires_grad)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: nn.Parameter, bias: Tensor | None) -> Tensor:
        ctx.weight = weight  # the parameter itself, by which its packed copies are found
        return multiply(inputs.reshape(-1, weight.shape[1]), weight, bias).view(
            *inputs.shape[:-1], len(weight)
        )

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        product = multiply(gradient.reshape(-1, len(ctx.weight)), ctx.weight, transposed=True)
        return product.view(*gradient.shape[:-1], ctx.weight.shape[1]), None, None
