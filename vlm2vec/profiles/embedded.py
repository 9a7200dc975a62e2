"""The small model inside the package."""

from __future__ import annotations

from vlm2vec.media.pixels import PixelRules
from vlm2vec.profiles.profile import Profile
from vlm2vec.profiles.published import Checked, PublishedModel

PROFILE = Profile(
    name="vlm2vec-embedded",
    summary="the small model inside the package, and models fine-tuned from it",
    instruction_slot="first",
    instruction_joiner="\n",
    media_start="<|vision_start|>",
    media_end="<|vision_end|>",
    # One fixed token reads out every input, so that a vector does not hang on how a text happens to end.
    suffix="<|im_end|>",
    positions="mrope",
    query_instruction="Find what is described.",
    document_instruction="Represent the content.",
    pixels=PixelRules(
        min_pixels=56 * 56,
        # 24 tokens, and half a token more: a page of 2 to 3 whose sides are rounded still gets 4 x 6.
        max_pixels=112 * 168 + 28 * 28 // 2,
        alpha="white",
        tiny_image_side=56,
        extreme_ratio="square",
    ),
)

MODELS: tuple[PublishedModel, ...] = ()

# It was trained by this package, which is its original.
CHECKED: Checked = "original"
