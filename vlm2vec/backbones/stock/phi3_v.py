"""Phi-3.5-V: CLIP on tiles of which four patches make a token, and Phi-3."""

from __future__ import annotations

from vlm2vec.backbones.layout import CLIP_MEAN, CLIP_STD
from vlm2vec.backbones.stock.layout import StockLayout

_TOWER = "model.vision_embed_tokens"

LAYOUT = StockLayout(
    model_type="phi3_v",
    label="Phi-3.5-V",
    config_class="vlm2vec.backbones.stock.phi3_v_model.Phi3VConfig",
    model_class="vlm2vec.backbones.stock.phi3_v_model.Phi3VModel",
    mean=CLIP_MEAN,
    std=CLIP_STD,
    processor="Phi3VProcessor",
    image_processor="Phi3VImageProcessor",
    video_processor=None,
    patch_size=14,
    temporal_patch_size=1,
    tiles="hd",
    image_token=None,
    video_token=None,
    numbered_image=r"<\|image_(\d+)\|>",
    adapter_names=(),
    vision=(_TOWER,),
    # CLIP's attention is among them, as in the original.
    lora_targets=(
        *("qkv_proj", "o_proj", "gate_up_proj", "down_proj"),
        *("q_proj", "k_proj", "v_proj", "out_proj"),
    ),
    learns=True,
    processor_files=(("preprocessor_config.json", {"num_crops": 4, "num_img_tokens": 144}),),
    # Its code gave the tower the embeddings of tokens too: a file may have them under one name or both. Older
    # transformers saved numbers of patches.
    stands_for={f"{_TOWER}.wte.weight": "model.embed_tokens.weight"},
    not_needed=(
        f"{_TOWER}.wte.weight",
        f"{_TOWER}.img_processor.vision_model.embeddings.position_ids",
    ),
)
