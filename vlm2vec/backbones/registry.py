"""The networks there are, found by the `model_type` of a configuration."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any

from vlm2vec.backbones.layout import Layout
from vlm2vec.backbones.qwen2_5_vl.layout import LAYOUT as QWEN2_5_VL
from vlm2vec.backbones.qwen2_vl.layout import LAYOUT as QWEN2_VL
from vlm2vec.backbones.qwen3_vl.layout import LAYOUT as QWEN3_VL

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

    from vlm2vec.backbones.network import Network

__all__ = ["LAYOUTS", "layout_of", "network_of", "vision_weights"]

LAYOUTS: dict[str, Layout] = {layout.model_type: layout for layout in (QWEN2_VL, QWEN2_5_VL, QWEN3_VL)}
"""Networks by the name that `config.json` has for them, which is that of their folder too."""


def layout_of(model: PreTrainedModel) -> Layout:
    """What is known without torch of a model on one of these networks."""
    return LAYOUTS[model.config.model_type]


def vision_weights(model: PreTrainedModel) -> Iterator[nn.Parameter]:
    """The weights that make features of pictures and clips, those of adapters included."""
    parts = tuple(f"{part}." for part in layout_of(model).vision)
    return (weight for name, weight in model.named_parameters() if f"{name}.".startswith(parts))


def network_of(config: Any) -> Network:
    """The network of a configuration that `LAYOUTS` knows.

    Raises:
        KeyError: It is of no such network.
    """
    layout = LAYOUTS[config.model_type]
    network: Network = import_module(f"vlm2vec.backbones.{layout.model_type}.network").NETWORK
    return network
