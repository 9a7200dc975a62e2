"""A tiny random ColPali in the layout of `vidore/colpali-v1.3-hf`, made from nothing."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from transformers import (
    ColPaliConfig,
    ColPaliForRetrieval,
    ColPaliProcessor,
    GemmaConfig,
    GemmaTokenizer,
    PaliGemmaConfig,
    SiglipImageProcessorPil,
    SiglipVisionConfig,
)

SIDE, PATCH = 56, 14


def write_tiny_colpali(folder: Path) -> Path:
    """Save weights, tokenizer and processor, as the public repository has them."""
    logging.getLogger("transformers").setLevel(logging.ERROR)
    specials = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    letters = ["▁", "\n", *map(chr, range(33, 127))]
    tokenizer = GemmaTokenizer(vocab={token: place for place, token in enumerate([*specials, *letters])})
    patches = (SIDE // PATCH) ** 2
    images = SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE})
    images.image_seq_length = patches
    processor = ColPaliProcessor(images, tokenizer)
    vision = SiglipVisionConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=SIDE,
        patch_size=PATCH,
        vision_use_head=False,
        projection_dim=32,
    )
    text = GemmaConfig(
        vocab_size=len(processor.tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        num_image_tokens=patches,
    )
    pali = PaliGemmaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=processor.image_token_id,
        projection_dim=32,
        hidden_size=32,
    )
    torch.manual_seed(0)
    model = ColPaliForRetrieval(ColPaliConfig(vlm_config=pali, embedding_dim=8)).eval()
    for parameter in model.parameters():  # larger than the initial ones, so that inputs tell in the vectors
        torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
