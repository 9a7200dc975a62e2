"""Qwen2-VL in the packed forward: a plain tower, and a language model with biases in its attention."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import Qwen2VLConfig, Qwen2VLModel
from transformers.models.qwen2_vl.modeling_qwen2_vl import (
    PatchMerger,
    Qwen2VLDecoderLayer,
    Qwen2VLRMSNorm,
    Qwen2VLVisionBlock,
)

from vlm2vec.backbones.network import MergerLayers, Network
from vlm2vec.backbones.qwen2_vl.layout import LAYOUT
from vlm2vec.blocks.mlp import plain_mlp
from vlm2vec.blocks.options import ForwardOptions


def _merger_layers(merger: Any) -> MergerLayers:
    return MergerLayers(merger.ln_q, *merger.mlp)


def _vision_mlp(mlp: Any, rows: Tensor, options: ForwardOptions) -> Tensor:
    return plain_mlp(mlp.fc1, mlp.act, mlp.fc2, rows, options)


NETWORK = Network(
    layout=LAYOUT,
    config_class=Qwen2VLConfig,
    model_class=Qwen2VLModel,
    decoder_layer=Qwen2VLDecoderLayer,
    vision_block=Qwen2VLVisionBlock,
    merger=PatchMerger,
    rms_norm=Qwen2VLRMSNorm,
    merger_layers=_merger_layers,
    vision_mlp=_vision_mlp,
)
