"""How many tokens a training chunk may have, from the free memory of a GPU.

What a chunk takes is a sum over the widths of its layers. The factors are a little above what
`benchmarks/meta_training.py` counts at the sizes of published models under autocast in bfloat16, where the
libraries' own memory and what an allocator rounds up are not in; a test holds both together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from vlm2vec.backbones.registry import layout_of, vision_weights
from vlm2vec.backbones.stock.layout import StockLayout
from vlm2vec.blocks.memory import free_memory
from vlm2vec.checkpoints.adapter import has_adapter

__all__ = ["TOKENS_PER_CHUNK", "ChunkMemory", "tokens_that_fit"]

TOKENS_PER_CHUNK = 4096
"""Tokens that are embedded at a time where nothing is known of free memory."""

_LEAST, _MOST = 1024, 16_384
_SHARE = 0.7
"""Of free memory: the rest is for media features, and for what lies between tensors."""

_GRADIENT_AND_ADAM = 12  # bytes of a weight that learns, beside the weight itself


@dataclass(frozen=True)
class ChunkMemory:
    """What a chunk takes at its peak: bytes for each token, or patch of a tower that learns, and for all.

    Example:
        >>> ChunkMemory(per_token=1000, fixed=500).of(2)
        2500
    """

    per_token: int
    fixed: int

    @classmethod
    def of_network(cls, network: Any, *, checkpointing: bool) -> ChunkMemory:
        """As its weights learn now.

        Args:
            network: With a packed forward.
            checkpointing: Whether layers are computed again on the way back.
        """
        config, adapter = network.config.text_config, has_adapter(network)
        width, inner, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
        if checkpointing:
            held = (2 if adapter else 8) * width  # of each layer, its input
            per_token = layers * held + 60 * width + 30 * inner
        else:
            per_token = layers * (60 * width + 13 * inner if adapter else 42 * width + 9 * inner)
        if any(weight.requires_grad for weight in vision_weights(network)):
            blocks = network.visual.blocks
            width = blocks[0].attn.proj.in_features
            per_patch = len(blocks) * 2 + 110 if checkpointing else len(blocks) * 57 + 30
            per_token = max(per_token, width * per_patch)
        learning = [weight.numel() for weight in network.parameters() if weight.requires_grad]
        # Autocast's copies in half precision, and one gradient on its way to where it is added.
        return cls(per_token, 2 * sum(learning) + 4 * max(learning, default=0))

    def of(self, tokens: int) -> int:
        """Bytes of a chunk of so many tokens."""
        return tokens * self.per_token + self.fixed


def tokens_that_fit(network: Any, device: torch.device, *, checkpointing: bool) -> int:
    """Tokens of a chunk by default, and patches where the vision tower learns: a power of two.

    To be asked before the optimizer has states, for which it leaves room, as AdamW has them.

    Args:
        network: As its weights learn.
        device: Where it is.
        checkpointing: Whether layers are computed again on the way back.
    """
    free = free_memory(device)
    if free is None or isinstance(layout_of(network), StockLayout):
        return TOKENS_PER_CHUNK
    learning = sum(weight.numel() for weight in network.parameters() if weight.requires_grad)
    memory = ChunkMemory.of_network(network, checkpointing=checkpointing)
    room = int(_SHARE * (free - _GRADIENT_AND_ADAM * learning)) - memory.fixed
    tokens = _LEAST
    while tokens < _MOST and 2 * tokens * memory.per_token <= room:
        tokens *= 2
    return tokens
