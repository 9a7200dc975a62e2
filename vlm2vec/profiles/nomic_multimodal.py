"""nomic-embed-multimodal on Qwen2.5-VL (3B and 7B): pictures are described, texts stand bare.

Source: colpali_engine 0.3.13 (`BiQwen2_5` and its processor), with which it is used and which computed the
golden vectors in `tests/data/golden_qwen2_5_vl`. A text that is a query (`process_queries`) ends in ten
`<|endoftext|>`, another (`process_texts`) in nothing; a picture (`process_images`) has no text of its own.
The pixel budget of its repositories was not seen: this is the one of Qwen2.5-VL. It takes no clips; one is
given to it here as Qwen2.5-VL has it.
"""

from __future__ import annotations

from vlm2vec.media.pixels import PixelRules
from vlm2vec.profiles.profile import Profile
from vlm2vec.profiles.published import Checked, PublishedModel

PROFILE = Profile(
    name="nomic-multimodal",
    summary="nomic-ai/nomic-embed-multimodal-3b and -7b",
    network="qwen2_5_vl",
    instruction_slot="after_media",
    prefix="<|im_start|>user\n",
    text_prefix="",
    joiner="",
    media_start="<|vision_start|>",
    media_end="<|vision_end|>",
    default_text="Describe the image.",
    suffix="<|im_end|><|endoftext|>",
    text_suffix="",
    query_suffix="<|endoftext|>" * 10,
    positions="mrope_time",
    # The fast image processor of transformers, which its makers' code loads.
    pixels=PixelRules(min_pixels=4 * 28 * 28, max_pixels=16384 * 28 * 28, alpha="drop", resizer="torch"),
)

MODELS = (
    PublishedModel("nomic-ai/nomic-embed-multimodal-3b", "3B", dimensions=2048),
    PublishedModel("nomic-ai/nomic-embed-multimodal-7b", "7B", dimensions=3584),
)

CHECKED: Checked = "original"
