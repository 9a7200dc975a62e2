"""Ops-MM-embedding-v1 on Qwen2-VL (2B and 7B): the prompt of GME, with the positions of Qwen2-VL.

Source: `ops_mm_embedding_v1.py` of OpenSearch-AI/Ops-MM-embedding-v1-2B and -7B on the hub
(`OpsMMEmbeddingV1`), read in two copies that other repositories hold: the prompt and its default instruction,
the budget of `fetch_image`, the pooled token. It calls the whole model, which counts positions as Qwen2-VL
does. A clip is a picture for each frame, without a token of a clip. Vectors were compared with plain
transformers (`tests/data/golden_profiles`). Not taken over: there a picture with a ratio above 200 loses that
ratio.
"""

from __future__ import annotations

from dataclasses import replace

from vlm2vec.profiles import gme_qwen2vl
from vlm2vec.profiles.published import Checked, PublishedModel

PROFILE = replace(
    gme_qwen2vl.PROFILE,
    name="ops-mm-v1",
    summary="OpenSearch-AI/Ops-MM-embedding-v1-2B and -7B",
    positions="mrope",
    clip="images",
    # Its first resizing already keeps the budget, and leaves nothing to a second one.
    pixels=replace(gme_qwen2vl.PROFILE.pixels, rounded_first=False),
)

MODELS = (
    PublishedModel("OpenSearch-AI/Ops-MM-embedding-v1-2B", "2B", dimensions=1536),
    PublishedModel("OpenSearch-AI/Ops-MM-embedding-v1-7B", "7B", dimensions=3584, scores="Ops-MM-v1-7B"),
)

CHECKED: Checked = "stock"
