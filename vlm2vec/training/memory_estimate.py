"""How much memory training takes, roughly, from the shapes of a network alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from vlm2vec.training.adapters.lora import LoRA

__all__ = ["MemoryEstimate", "estimate_memory"]

_FLOAT, _HALF = 4, 2  # bytes
_PATCHES_PER_TOKEN = 4  # of a picture; so of a chunk of pictures four fifths are patches


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes on each device.

    Not in it: inputs, the vectors of a batch, what sums over processes are made in, and what torch itself
    takes.

    Attributes:
        weights: Of the network; what learns is in float32, and once more in bfloat16 where that computes.
        gradients: Of what learns.
        optimizer: AdamW's two running means.
        activations: What the graph of one chunk keeps for its way back, at most; rough, with no matrix of
            attention in it.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.gradients + self.optimizer + self.activations


def estimate_memory(
    network: Any,
    *,
    tokens: int,
    lora: LoRA | None = None,
    half_weights: bool = False,
    bf16: bool = False,
    gradient_checkpointing: bool = False,
) -> MemoryEstimate:
    """What training a network takes.

    Args:
        network: A `Qwen2VLModel` as it is trained, with its adapter; it may be on the meta device.
        tokens: Tokens and patches whose graphs are kept at the same time.
        lora: Its adapter.
        half_weights: Whether weights that do not learn are in bfloat16.
        bf16: Whether bfloat16 computes.
        gradient_checkpointing: Whether a graph keeps the inputs of layers alone, and one layer in full.
    """
    learned = sum(weight.numel() for weight in network.parameters() if weight.requires_grad)
    frozen = sum(weight.numel() for weight in network.parameters()) - learned
    size = {"bf16": bf16, "gradient_checkpointing": gradient_checkpointing}
    of_token = _token_bytes(network, lora, **size)
    of_patch = _patch_bytes(network, **size)
    of_pictures = (of_token + _PATCHES_PER_TOKEN * of_patch) / (1 + _PATCHES_PER_TOKEN)
    return MemoryEstimate(
        weights=learned * (_FLOAT + _HALF * bf16) + frozen * (_HALF if half_weights else _FLOAT),
        gradients=learned * _FLOAT,
        optimizer=learned * 2 * _FLOAT,
        activations=round(tokens * max(of_token, of_pictures)),
    )


def _token_bytes(network: Any, lora: LoRA | None, *, bf16: bool, gradient_checkpointing: bool) -> float:
    """What a token leaves behind in the language model."""
    config = network.config.text_config
    width = config.hidden_size
    keys = width * config.num_key_value_heads // config.num_attention_heads
    # Norms, queries before and after turning, the output of attention, sums; keys; gate, up and products.
    values = 8 * width + 3 * keys + 4 * config.intermediate_size
    if lora is not None:
        values += _adapter_values(network.language_model.layers[0], lora)
    layer = values * (_HALF if bf16 else _FLOAT) + (16 * width if bf16 else 0)  # norms stay in float32
    return _all_layers(config.num_hidden_layers, layer, width, gradient_checkpointing)


def _patch_bytes(network: Any, *, bf16: bool, gradient_checkpointing: bool) -> float:
    """What a patch leaves behind in the vision tower, if that learns."""
    if not any(weight.requires_grad for weight in network.visual.parameters()):
        return 0
    config = network.config.vision_config
    width = config.embed_dim
    values = (11 + 3 * config.mlp_ratio) * width
    layer = values * (_HALF if bf16 else _FLOAT) + (12 * width if bf16 else 0)
    return _all_layers(config.depth, layer, width, gradient_checkpointing)


def _adapter_values(layer: nn.Module, lora: LoRA) -> int:
    """What the adapter adds for each token: inputs after dropout, and for DoRA two outputs."""
    linear = [
        module
        for name, module in layer.named_modules()
        if name.rpartition(".")[2] in lora.target_modules and hasattr(module, "in_features")
    ]
    return sum(each.in_features + 2 * lora.use_dora * each.out_features for each in linear)  # type: ignore[misc,operator]


def _all_layers(layers: int, layer: float, width: int, gradient_checkpointing: bool) -> float:
    return layers * _FLOAT * width + layer if gradient_checkpointing else layers * layer
