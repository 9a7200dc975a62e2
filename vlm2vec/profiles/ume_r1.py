"""UME-R1 (2B and 7B), in its discriminative mode: the chat prompt of Qwen2-VL, and `<disc_emb>` at its end.

Source: single files of XMUDeepLIT/UME-R1, commit 55e5512, read for the prompt, the pooled token and the
pixels of its training. No vector was compared. In its code the state at the last `<disc_emb>` is the vector
and the assistant's turn follows; attention is causal, so a prompt that ends there has the same vector. What
its code does with transparency was not found: it is dropped. Its generative mode, which reasons first and
takes the state behind `<gen_emb>`, needs a model that writes, and is not here.
"""

from __future__ import annotations

from vlm2vec.media.pixels import PixelRules
from vlm2vec.profiles.profile import Profile
from vlm2vec.profiles.published import Checked, PublishedModel

PROFILE = Profile(
    name="ume-r1",
    summary="zhibinlan/UME-R1-2B and -7B, discriminative mode",
    instruction_slot="after_media",
    prefix="<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n",
    joiner="",
    media_start="<|vision_start|>",
    media_end="<|vision_end|>",
    suffix="\n<disc_emb>",
    # It calls the whole model, which under transformers 4 goes on behind a clip at the greatest position.
    positions="mrope_max",
    # Of its training; mteb's wrapper has 3,136 to 200,704.
    pixels=PixelRules(min_pixels=768, max_pixels=2_359_296, alpha="drop"),
)

MODELS = (
    PublishedModel("zhibinlan/UME-R1-2B", "2B", dimensions=1536),
    PublishedModel("zhibinlan/UME-R1-7B", "7B", dimensions=3584),
)

CHECKED: Checked = "no"
