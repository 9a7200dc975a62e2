"""DoRA whose norm of the weights is computed once for all forward passes between two changes of them.

DoRA (Liu et al., arXiv:2402.09353) scales each row of `W + s B A` to a learned length. peft makes that matrix
in every forward pass to take the lengths of its rows. They follow from products as narrow as the rank:

    ||W_i + s (B A)_i||^2 = ||W_i||^2 + s B_i . (2 W A^T + s B A A^T)_i

As in the paper (section 4.3) and in peft no gradient goes through the norm, so gradients are peft's.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from peft.tuners.lora.dora import DoraLinearLayer
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from vlm2vec.blocks.linear import fingerprint

__all__ = ["OnceNormedDora", "row_norms", "use_dora_norm"]


class OnceNormedDora(DoraLinearLayer):  # type: ignore[misc]
    """peft's DoRA of a linear layer. What is not plain (quantised, sharded) peft computes itself."""

    _known: tuple[Any, Tensor] | None = None  # the state of the weights, and their norm

    def forward(
        self, x: Tensor, *, base_layer: nn.Module, base_result: Tensor | None = None, **adapter: Any
    ) -> Tensor:
        """What is added to the output of the base layer.

        Args:
            x: `(..., in)`.
            base_layer: What is adapted.
            base_result: Its output for `x`, where that is known.
            adapter: `lora_A`, `lora_B` and `scaling`, as peft names them.

        Returns:
            `(..., out)`.
        """
        layers = [base_layer, adapter["lora_A"], adapter["lora_B"]]
        if self.fan_in_fan_out or not all(_is_plain(layer) for layer in layers):
            peft: Tensor = super().forward(x, base_layer=base_layer, base_result=base_result, **adapter)
            return peft
        base, down, up = (cast(nn.Linear, layer) for layer in layers)
        scaling: float = adapter["scaling"]
        scale = self.scale(base.weight, down.weight, up.weight, scaling).to(x.dtype)
        if base_result is None:
            # Autocast casts where it has to; by hand, each layer's graph would hold a copy of its weight.
            by_autocast = torch.is_autocast_enabled(x.device.type)
            base_result = F.linear(x, base.weight if by_autocast else base.weight.to(x.dtype))
        elif base.bias is not None:
            base_result = base_result - base.bias
        output: Tensor = (scale - 1) * base_result + scale * up(down(x)) * scaling
        return output

    def scale(self, weight: Tensor, down: Tensor, up: Tensor, scaling: float) -> Tensor:
        """`(out,)`, the learned length over that of each row of `weight + scaling * up @ down`."""
        if not self.training and weight.device.type != "cpu":
            # What has changed shows in elements alone, for which the host would wait, layer by layer.
            return cast(Tensor, self.weight / row_norms(weight, down, up, scaling))
        weights = [weight, down, up]
        # In training no element is read, since a GPU would have to wait for it: each step starts anew.
        state = tuple(tensor._version for tensor in weights) if self.training else fingerprint(weights)
        key = state, scaling
        if self._known is None or self._known[0] != key:
            self._known = key, row_norms(weight, down, up, scaling)
        scale: Tensor = self.weight / self._known[1]
        return scale


def use_dora_norm(network: nn.Module) -> None:
    """Make peft's DoRA layers in the network `OnceNormedDora`, in place, none of which knows its norm yet."""
    for module in network.modules():
        if type(module) is DoraLinearLayer:
            # Not another layer in its place: names of weights and saved files stay what they are.
            module.__class__ = OnceNormedDora
        if type(module) is OnceNormedDora:
            module._known = None


# What is made in inference mode, as while a batch is embedded, could not be used in training afterwards.
@torch.inference_mode(False)
@torch.no_grad()
def row_norms(weight: Tensor, down: Tensor, up: Tensor, scaling: float) -> Tensor:
    """Lengths of the rows of `weight + scaling * up @ down`.

    Args:
        weight: `(out, in)`.
        down: `(rank, in)`, LoRA's A.
        up: `(out, rank)`, LoRA's B.
        scaling: Of their product.

    Returns:
        `(out,)` float32.

    Example:
        >>> row_norms(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]]), torch.ones(1, 1), 2.0)
        tensor([10.])
    """
    weight, down, up = weight.float(), down.float(), up.float()
    with torch.autocast(weight.device.type, enabled=False):  # or the products would be in half precision
        beside = torch.addmm(weight @ down.T, up, down @ down.T, beta=2, alpha=scaling)
        squares: Tensor = torch.linalg.vector_norm(weight, dim=1).square() + scaling * (up * beside).sum(1)
    return squares.clamp_min_(0).sqrt_()


def _is_plain(layer: nn.Module) -> bool:
    # Between forward passes a shard of a weight is flat or empty, or of another class.
    if type(layer) is not nn.Linear:
        return False
    weight = layer.weight
    return type(weight) is nn.Parameter and weight.ndim == 2 and weight.numel() > 0
