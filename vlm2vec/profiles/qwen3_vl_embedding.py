"""Qwen3-VL-Embedding (2B and 8B): the chat prompt of Qwen3-VL, the instruction as system message.

Source: `src/models/qwen3_vl_embedding.py` of QwenLM/Qwen3-VL-Embedding, commit 8ce3aab, which computed the
golden vectors in `tests/data/golden_qwen3_vl` under the transformers it locks (4.57.3). The `<|endoftext|>`
that is pooled is in no line of it: the tokenizer appends it. Not taken over: there a prompt is cut off at
8,192 tokens, and a batch with a picture that cannot be read becomes the text `NULL`.
"""

from __future__ import annotations

from vlm2vec.media.pixels import FrameRules, PixelRules
from vlm2vec.profiles.profile import Profile
from vlm2vec.profiles.published import Checked, PublishedModel

_TOKEN = 32 * 32

PROFILE = Profile(
    name="qwen3-vl-embedding",
    summary="Qwen/Qwen3-VL-Embedding-2B and -8B",
    network="qwen3_vl",
    instruction_slot="first",
    instruction_rule="full_stop",
    prefix="<|im_start|>system\n",
    default_instruction="Represent the user's input.",
    instruction_joiner="",
    instruction_end="<|im_end|>\n<|im_start|>user\n",
    part_order="video_image_text",
    joiner="",
    media_start="<|vision_start|>",
    media_end="<|vision_end|>",
    clip="seconds",
    suffix="<|im_end|>\n<|im_start|>assistant\n<|endoftext|>",
    # Each time step of a clip is a block of its own, so time is in no position, and all three counts agree.
    positions="mrope",
    num_frames=64,
    min_frames=4,
    fps=1.0,
    untimed_fps=2.0,
    pixels=PixelRules(
        min_pixels=4 * _TOKEN,
        max_pixels=1800 * _TOKEN,
        patch_size=16,
        alpha="white_rgba",
        sizing="utils",
        # `fetch_video` of qwen_vl_utils 0.0.14. For files its total is not passed on, and its own binds.
        frames=FrameRules(
            min_pixels=128 * _TOKEN,
            max_pixels=768 * _TOKEN,
            total_pixels=7680 * _TOKEN,
            total_pixels_of_files=115_200 * _TOKEN,
            rounded_to=64,
            resizer="float32",
        ),
    ),
)

MODELS = (
    PublishedModel(
        "Qwen/Qwen3-VL-Embedding-2B",
        "2B",
        dimensions=2048,
        min_dimensions=64,
        scores="Qwen3-VL-Embedding-2B",
        licence="Apache-2.0",
    ),
    PublishedModel(
        "Qwen/Qwen3-VL-Embedding-8B",
        "8B",
        dimensions=4096,
        min_dimensions=64,
        scores="Qwen3-VL-Embedding-8B",
        licence="Apache-2.0",
    ),
)

CHECKED: Checked = "original"
