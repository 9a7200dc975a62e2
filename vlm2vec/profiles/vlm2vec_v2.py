"""VLM2Vec-V2.0: Qwen2-VL-2B with a DoRA adapter.

Source: TIGER-AI-Lab/VLM2Vec, commit 6e1e1d4 (`src/model/processor.py` for prompts and sizes,
`src/model/vlm_backbone/qwen2_vl` for positions), checked number by number in `tests/test_golden.py`.
"""

from __future__ import annotations

from vlm2vec.media.pixels import PixelRules
from vlm2vec.profiles.profile import Profile
from vlm2vec.profiles.published import Checked, PublishedModel

PROFILE = Profile(
    name="vlm2vec-v2",
    summary="VLM2Vec/VLM2Vec-V2.0, and adapters trained with the same code",
    # No chat template, no <|vision_start|>: a prompt is "<|image_pad|> instruction text", nothing after it.
    instruction_slot="after_media",
    # The original counts images by <|vision_start|>, which its prompts never hold: all positions are 1-D.
    positions="1d",
    pixels=PixelRules(
        min_pixels=4 * 28 * 28,
        max_pixels=1280 * 28 * 28,
        alpha="drop",
        tiny_image_side=56,
        extreme_ratio="square",
    ),
)

MODELS = (PublishedModel("VLM2Vec/VLM2Vec-V2.0", "2B", dimensions=1536, scores="VLM2Vec-V2.0"),)

CHECKED: Checked = "original"
