"""Networks as wide as published ones and a few layers deep, without weights."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModel, PreTrainedModel

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import meta_forward

__all__ = ["meta_forward", "shallow_network"]

_DEPTH = 4
_IN_THE_TOWER = {"fullatt_block_indexes": [1], "deepstack_visual_indexes": [0, 1, 2]}


def shallow_network(name: str, dtype: torch.dtype = torch.bfloat16) -> PreTrainedModel:
    """A published network with four layers in each tower: with all taps, and with windows and without."""
    model_type, text, vision = meta_forward.PUBLISHED[name]
    few = {key: value for key, value in _IN_THE_TOWER.items() if key in vision}
    config = AutoConfig.for_model(
        model_type,
        text_config=text | {"num_hidden_layers": _DEPTH},
        vision_config=vision | {"depth": _DEPTH} | few,
    )
    with meta_forward.META:
        model: PreTrainedModel = AutoModel.from_config(config, dtype=dtype).eval()
    # The first pass lays weights of neighbouring layers side by side, once and for all.
    meta_forward.texts(model, 16, 16)
    meta_forward.pictures(model, 64, 8)
    return model
