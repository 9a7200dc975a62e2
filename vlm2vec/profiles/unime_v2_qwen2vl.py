"""UniME-V2 on Qwen2-VL (2B and 7B): the plain prompts of VLM2Vec, from whose code its own is derived.

Source: GaryGuTC/UniME-v2, commit e3deb73, read for prompt, budget and the pooled token. That positions count
all tokens in a row, as in VLM2Vec and for the same reason, is inferred. No vector was compared.
"""

from __future__ import annotations

from dataclasses import replace

from vlm2vec.profiles import vlm2vec_v2
from vlm2vec.profiles.published import Checked, PublishedModel

PROFILE = replace(
    vlm2vec_v2.PROFILE,
    name="unime-v2-qwen2vl",
    summary="TianchengGu/UniME-V2-Qwen2VL-2B and -7B",
    pixels=replace(vlm2vec_v2.PROFILE.pixels, min_pixels=256 * 28 * 28, max_pixels=1280 * 28 * 28),
)

MODELS = (
    PublishedModel("TianchengGu/UniME-V2-Qwen2VL-2B", "2B", dimensions=1536),
    PublishedModel("TianchengGu/UniME-V2-Qwen2VL-7B", "7B", dimensions=3584),
)

CHECKED: Checked = "no"
