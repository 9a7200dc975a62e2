"""The MLP of a layer on some rows, plain or gated, with activations in place."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from transformers.activations import QuickGELUActivation, SiLUActivation

from vlm2vec.blocks import fused
from vlm2vec.blocks.linear import project
from vlm2vec.blocks.options import ForwardOptions

__all__ = ["activated", "gated_mlp", "plain_mlp"]

_QUICK_GELU = 1.702  # transformers/activations.py, QuickGELUActivation


def plain_mlp(
    first: nn.Module, activation: nn.Module, second: nn.Module, rows: Tensor, options: ForwardOptions
) -> Tensor:
    """`second(activation(first(rows)))`.

    Args:
        first: A linear layer.
        activation: What is between.
        second: A linear layer.
        rows: `(rows, features)`.
        options: How it is computed.
    """
    wide = project([first], rows, options)
    is_quick = type(activation) is QuickGELUActivation and fused.is_fused(wide, options)
    if not (is_quick and fused.activate(wide, factor=_QUICK_GELU)):
        wide = activated(activation, wide)
    return project([second], wide, options)


def gated_mlp(mlp: Any, rows: Tensor, options: ForwardOptions) -> Tensor:
    """`down(activation(gate(rows)) * up(rows))`.

    Args:
        mlp: Has `gate_proj`, `up_proj`, `down_proj` and `act_fn`.
        rows: `(rows, features)`.
        options: How it is computed.
    """
    if _fuses_gate(rows):
        gate, up = project([mlp.gate_proj, mlp.up_proj], rows, options).chunk(2, dim=-1)
    else:
        gate, up = (project([half], rows, options) for half in (mlp.gate_proj, mlp.up_proj))
    is_swiglu = type(mlp.act_fn) is SiLUActivation and fused.is_fused(gate, options)
    if not (is_swiglu and fused.activate(gate, up=up)):
        gate = activated(mlp.act_fn, gate).mul_(up)
    return project([mlp.down_proj], gate, options)


def activated(activation: nn.Module, wide: Tensor) -> Tensor:
    """`activation(wide)`, which `wide` itself may become."""
    if type(activation) is SiLUActivation:
        return F.silu(wide, inplace=True)
    if type(activation) is QuickGELUActivation:
        return wide.mul(_QUICK_GELU).sigmoid_().mul_(wide)
    result: Tensor = activation(wide)
    return result


def _fuses_gate(rows: Tensor) -> bool:
    """Whether gate and up are one product. On a CPU, the room for both at once costs more than it gains."""
    return rows.device.type != "cpu"
