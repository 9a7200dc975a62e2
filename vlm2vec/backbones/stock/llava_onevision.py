"""LLaVA-OneVision: SigLIP on tiles, whose features are stretched to at most nine tiles' worth, and Qwen2."""

from __future__ import annotations

from vlm2vec.backbones.stock.layout import LLAVA_HEAD, LLAVA_NAMES, StockLayout

LAYOUT = StockLayout(
    model_type="llava_onevision",
    label="LLaVA-OneVision",
    config_class="transformers.LlavaOnevisionConfig",
    model_class="transformers.LlavaOnevisionModel",
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    processor="LlavaOnevisionProcessor",
    image_processor="LlavaOnevisionImageProcessor",
    video_processor="LlavaOnevisionVideoProcessor",
    patch_size=14,
    merge_size=1,
    temporal_patch_size=1,
    tiles="anyres",
    image_token="<image>",  # noqa: S106
    video_token="<video>",  # noqa: S106
    adapter_names=LLAVA_NAMES,
    vision=("vision_tower", "multi_modal_projector", "image_newline"),
    processor_files=(
        ("preprocessor_config.json", {"size": {"height": 384, "width": 384}, "resample": 3}),
        (
            "video_preprocessor_config.json",
            {
                "size": {"height": 384, "width": 384},
                "image_mean": [0.5, 0.5, 0.5],
                "image_std": [0.5, 0.5, 0.5],
                "video_processor_type": "LlavaOnevisionVideoProcessor",
            },
        ),
        (
            "processor_config.json",
            {
                "image_token": "<image>",
                "video_token": "<video>",
                "num_image_tokens": 729,
                "vision_feature_select_strategy": "full",
                "vision_aspect_ratio": "anyres_max_9",
            },
        ),
    ),
    not_needed=LLAVA_HEAD,
)
