"""Sizes and names of Qwen2.5-VL."""

from __future__ import annotations

from vlm2vec.backbones.layout import CLIP_MEAN, CLIP_STD, Layout

LAYOUT = Layout(
    model_type="qwen2_5_vl",
    label="Qwen2.5-VL",
    mean=CLIP_MEAN,
    std=CLIP_STD,
    processor="Qwen2_5_VLProcessor",
    image_processor="Qwen2VLImageProcessor",
    video_processor="Qwen2VLVideoProcessor",
    patch_size=14,
)
