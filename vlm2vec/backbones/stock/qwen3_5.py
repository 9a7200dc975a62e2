"""Qwen3.5: the tower of Qwen3-VL without taps, and a language model whose layers are mostly Gated DeltaNet.

Those layers carry a state from token to token, which in a packed row would leak into the next input.
"""

from __future__ import annotations

from vlm2vec.backbones.stock.layout import StockLayout

LAYOUT = StockLayout(
    model_type="qwen3_5",
    label="Qwen3.5",
    config_class="transformers.Qwen3_5Config",
    model_class="transformers.Qwen3_5Model",
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    processor="Qwen3VLProcessor",
    image_processor="Qwen2VLImageProcessor",
    video_processor="Qwen3VLVideoProcessor",
    patch_size=16,
    tiles=None,
    not_needed=("mtp.*",),  # layers that guess tokens ahead
)
