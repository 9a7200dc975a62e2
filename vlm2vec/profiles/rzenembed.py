"""RzenEmbed on Qwen2-VL: the chat prompt of Qwen2-VL, the instruction directly in front of the text.

Source: `rzen_embed_inference.py` of qihoo360/RzenEmbed on the hub (arXiv 2510.27350), read in a copy that
another repository holds: prompt, pixels, the pooled token. Its inner model is called without positions and
without tokens, and then counts them in a row. A clip is a picture for each frame, which has 160 to 180 tokens
in the wrapper that mteb has for it, and those of any picture in the copy that was read. Vectors were compared
with plain transformers (`tests/data/golden_profiles`). Not taken over: there a prompt is cut off at 2,000
tokens.
"""

from __future__ import annotations

from dataclasses import replace

from vlm2vec.media.pixels import FrameRules
from vlm2vec.profiles import gme_qwen2vl
from vlm2vec.profiles.published import Checked, PublishedModel

PROFILE = replace(
    gme_qwen2vl.PROFILE,
    name="rzenembed",
    summary="qihoo360/RzenEmbed",
    instruction_slot="after_media",
    prefix="<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n",
    default_instruction="",
    instruction_end="",
    clip="images",
    pixels=replace(
        gme_qwen2vl.PROFILE.pixels,
        frames=FrameRules(min_pixels=160 * 28 * 28, max_pixels=180 * 28 * 28, rounded_to=28),
    ),
)

MODELS = (
    PublishedModel("qihoo360/RzenEmbed", "7B", dimensions=3584, scores="RzenEmbed-7B", licence="Apache-2.0"),
)

CHECKED: Checked = "stock"
