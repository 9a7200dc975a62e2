"""Sizes and names of Qwen3-VL."""

from __future__ import annotations

from vlm2vec.backbones.layout import Layout

LAYOUT = Layout(
    model_type="qwen3_vl",
    label="Qwen3-VL",
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    processor="Qwen3VLProcessor",
    image_processor="Qwen2VLImageProcessor",
    video_processor="Qwen3VLVideoProcessor",
    patch_size=16,
)
