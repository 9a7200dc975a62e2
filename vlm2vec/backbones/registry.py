"""The networks there are, found by the `model_type` of a configuration."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vlm2vec.backbones.layout import Layout
from vlm2vec.backbones.qwen2_5_vl.layout import LAYOUT as QWEN2_5_VL
from vlm2vec.backbones.qwen2_vl.layout import LAYOUT as QWEN2_VL
from vlm2vec.backbones.qwen3_vl.layout import LAYOUT as QWEN3_VL

if TYPE_CHECKING:
    from vlm2vec.backbones.network import Network

__all__ = ["LAYOUTS", "network_of"]

LAYOUTS: dict[str, Layout] = {layout.model_type: layout for layout in (QWEN2_VL, QWEN2_5_VL, QWEN3_VL)}
"""Networks by the name that `config.json` has for them, which is that of their folder too."""


def network_of(config: Any) -> Network:
    """The network of a configuration that `LAYOUTS` knows.

    Raises:
        KeyError: It is of no such network.
    """
    layout = LAYOUTS[config.model_type]
    network: Network = import_module(f"vlm2vec.backbones.{layout.model_type}.network").NETWORK
    return network
