"""LLaVA-NeXT (LLaVA 1.6): CLIP on tiles, and Mistral or Llama."""

from __future__ import annotations

from vlm2vec.backbones.layout import CLIP_MEAN, CLIP_STD
from vlm2vec.backbones.stock.layout import LLAVA_HEAD, LLAVA_NAMES, StockLayout

LAYOUT = StockLayout(
    model_type="llava_next",
    label="LLaVA-NeXT",
    config_class="transformers.LlavaNextConfig",
    model_class="transformers.LlavaNextModel",
    mean=CLIP_MEAN,
    std=CLIP_STD,
    processor="LlavaNextProcessor",
    image_processor="LlavaNextImageProcessor",
    video_processor=None,
    patch_size=14,
    merge_size=1,
    temporal_patch_size=1,
    tiles="anyres",
    image_token="<image>",  # noqa: S106
    video_token=None,
    adapter_names=LLAVA_NAMES,
    vision=("vision_tower", "multi_modal_projector", "image_newline"),
    # CLIP's attention is among them, as in the original.
    lora_targets=("q_proj", "k_proj", "v_proj", "o_proj", "down_proj", "out_proj"),
    learns=True,
    processor_files=(
        (
            "preprocessor_config.json",
            {"size": {"shortest_edge": 336}, "crop_size": {"height": 336, "width": 336}, "resample": 3},
        ),
        (
            "processor_config.json",
            # Folders of older transformers lack the last of these; its default is not what the network
            # counts.
            {
                "image_token": "<image>",
                "patch_size": 14,
                "vision_feature_select_strategy": "default",
                "num_additional_image_tokens": 1,
            },
        ),
    ),
    not_needed=LLAVA_HEAD,
)
