"""The networks there are, found by the `model_type` of a configuration."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any

from vlm2vec.backbones.layout import Layout
from vlm2vec.backbones.qwen2_5_vl.layout import LAYOUT as QWEN2_5_VL
from vlm2vec.backbones.qwen2_vl.layout import LAYOUT as QWEN2_VL
from vlm2vec.backbones.qwen3_vl.layout import LAYOUT as QWEN3_VL
from vlm2vec.backbones.stock.layout import StockLayout
from vlm2vec.backbones.stock.llava_next import LAYOUT as LLAVA_NEXT
from vlm2vec.backbones.stock.llava_onevision import LAYOUT as LLAVA_ONEVISION
from vlm2vec.backbones.stock.phi3_v import LAYOUT as PHI3_V
from vlm2vec.backbones.stock.qwen3_5 import LAYOUT as QWEN3_5

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

    from vlm2vec.backbones.network import Network
    from vlm2vec.backbones.stock.network import StockNetwork

__all__ = ["LAYOUTS", "classes_of", "layout_of", "network_of", "vision_weights"]

LAYOUTS: dict[str, Layout] = {
    layout.model_type: layout
    for layout in (
        *(QWEN2_VL, QWEN2_5_VL, QWEN3_VL),
        *(LLAVA_NEXT, PHI3_V, LLAVA_ONEVISION, QWEN3_5),
    )
}
"""Networks by the name that `config.json` has for them, which is that of their folder or file too."""


def layout_of(model: PreTrainedModel) -> Layout:
    """What is known without torch of a model on one of these networks."""
    return LAYOUTS[model.config.model_type]


def vision_weights(model: PreTrainedModel) -> Iterator[nn.Parameter]:
    """The weights that make features of pictures and clips, those of adapters included."""
    parts = tuple(f"{part}." for part in layout_of(model).vision)
    return (weight for name, weight in model.named_parameters() if f"{name}.".startswith(parts))


def classes_of(config: Any) -> Network | StockNetwork:
    """The classes of the network of a configuration, and what of the configuration is not computed.

    Raises:
        KeyError: It is of no such network.
    """
    layout = LAYOUTS[config.model_type]
    if isinstance(layout, StockLayout):
        from vlm2vec.backbones.stock.network import StockNetwork

        return StockNetwork(layout)
    return network_of(config)


def network_of(config: Any) -> Network:
    """The network of a configuration, as the packed forward knows it.

    Raises:
        KeyError: It is of no such network.
    """
    layout = LAYOUTS[config.model_type]
    network: Network = import_module(f"vlm2vec.backbones.{layout.model_type}.network").NETWORK
    return network
