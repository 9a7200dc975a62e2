"""VLM2Vec-V1 on Qwen2-VL (2B and 7B).

Same prompts and positions as V2. Trained with `--image_resolution high` on the `v1` branch of
TIGER-AI-Lab/VLM2Vec: every image squeezed to 1344x1344 and not resized again, 2304 tokens an image.
"""

from __future__ import annotations

from dataclasses import replace

from vlm2vec.profiles import vlm2vec_v2
from vlm2vec.profiles.published import Checked, PublishedModel

PROFILE = replace(
    vlm2vec_v2.PROFILE,
    name="vlm2vec-v1-qwen2vl",
    summary="TIGER-Lab/VLM2Vec-Qwen2VL-2B and -7B",
    pixels=replace(vlm2vec_v2.PROFILE.pixels, max_pixels=16384 * 28 * 28, fixed_size=(1344, 1344)),
)

MODELS = (
    PublishedModel("TIGER-Lab/VLM2Vec-Qwen2VL-2B", "2B", dimensions=1536, scores="VLM2Vec-2B"),
    PublishedModel("TIGER-Lab/VLM2Vec-Qwen2VL-7B", "7B", dimensions=3584, scores="VLM2Vec-7B"),
)

# Prompts and positions are those of V2, which are compared with the original; the squeezing is not.
CHECKED: Checked = "stock"
