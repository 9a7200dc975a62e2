"""What encoding takes of a device's memory beside the weights, from above."""

from __future__ import annotations

from torch import nn
from transformers import PreTrainedModel

from vlm2vec.backbones.registry import layout_of
from vlm2vec.backbones.stock.layout import StockLayout

__all__ = ["bytes_per_token"]

# Components that are held at once for each token, or patch, of a batch: so many times what goes from layer to
# layer (states, queries, keys, values, rotary angles, in the tower learned positions in float32), and so
# many times the width inside the MLP. `benchmarks/meta_forward.py` counts 5.2 and 2 for tokens, 11.6 and 2
# for patches, and less in batches of more than 16,384, whose MLP is computed in parts.
_LANGUAGE, _VISION, _MLP = 6, 12, 2


def bytes_per_token(model: PreTrainedModel) -> int | None:
    """Bytes that a token or a patch of a batch takes at the peak of the packed forward pass, at most.

    `None` for a network without a packed forward.
    """
    if isinstance(layout_of(model), StockLayout):
        return None
    text, block = model.config.text_config, model.visual.blocks[0]
    parts = (
        _LANGUAGE * text.hidden_size + _MLP * text.intermediate_size,
        _VISION * block.attn.proj.in_features + _MLP * _inner_width(block.mlp),
    )
    return int(max(parts) * model.dtype.itemsize)


def _inner_width(mlp: nn.Module) -> int:
    # Layers with quantised weights need not be torch's class.
    return max(getattr(layer, "out_features", 0) for layer in mlp.modules())
