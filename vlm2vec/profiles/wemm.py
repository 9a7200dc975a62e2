"""WeMM-Embedding on Qwen3.5 (2B, 4B and 9B): one turn of the user, and `<embedding>` at its end.

Source: tencent/WeMM-Embedding-2B on the hub (`modeling_wemm_embedding.py`, the embedding one of its three
templates) and Tencent/WeMM-Embedding, commits 0850d66 and 287b222 (`mmeb_v3_eval/src/model/processor.py` for
pixels and frames), in single files: prompt and pooled token, written out, computed
`tests/data/golden_qwen3_5` with transformers 5.2, which it recommends. It has no place for an instruction:
one is text in front of the text, with a blank between. Not taken over: its evaluation strips texts.
"""

from __future__ import annotations

from vlm2vec.media.pixels import FrameRules, PixelRules
from vlm2vec.profiles.profile import Profile
from vlm2vec.profiles.published import Checked, PublishedModel

_TOKEN = 32 * 32

PROFILE = Profile(
    name="wemm",
    summary="tencent/WeMM-Embedding-2B, -4B and -9B",
    network="qwen3_5",
    prefix="<|im_start|>user\n",
    image_prefix="<|im_start|>user",
    instruction_slot="after_media",
    joiner="",
    media_start="<|vision_start|>",
    media_end="<|vision_end|>",
    clip="seconds",
    suffix="<|im_end|><embedding>",
    positions="mrope",
    num_frames=64,
    min_frames=4,
    fps=1.0,
    untimed_fps=1.0,
    pixels=PixelRules(
        min_pixels=64 * _TOKEN,
        max_pixels=8192 * _TOKEN,
        patch_size=16,
        alpha="white_rgba",
        sizing="utils",
        frames=FrameRules(
            min_pixels=4 * _TOKEN,
            max_pixels=256 * _TOKEN,
            total_pixels=8192 * _TOKEN,
            total_pixels_of_files=8192 * _TOKEN,
            rounded_to=64,
            resizer="float32",
            rounded_within_budget=True,
        ),
    ),
)

MODELS = tuple(
    PublishedModel(
        f"tencent/WeMM-Embedding-{size}",
        size,
        dimensions=dimensions,
        min_dimensions=64,
        licence="Apache-2.0",
    )
    for size, dimensions in (("2B", 2048), ("4B", 2560), ("9B", 4096))
)

CHECKED: Checked = "stock"
