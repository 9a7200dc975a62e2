"""VLM2Vec-V2 on Qwen2.5-VL: what its code makes of that network. No public checkpoint is known.

Source: TIGER-AI-Lab/VLM2Vec, commit 6e1e1d4 (`src/model/vlm_backbone/qwen2_5_vl`): prompts and pixels are
those of V2, positions are 1-D for the same reason, and the seconds of a clip are dropped. Vectors were
compared with plain transformers (`tests/data/golden_qwen2_5_vl`).
"""

from __future__ import annotations

from dataclasses import replace

from vlm2vec.profiles import vlm2vec_v2
from vlm2vec.profiles.published import Checked, PublishedModel

PROFILE = replace(
    vlm2vec_v2.PROFILE,
    name="vlm2vec-v2-qwen2.5vl",
    summary="models on Qwen2.5-VL trained with the code of VLM2Vec-V2.0",
    network="qwen2_5_vl",
)

MODELS: tuple[PublishedModel, ...] = ()

CHECKED: Checked = "stock"
