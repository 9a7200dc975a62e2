"""Ops-MM-embedding-v1 on Qwen2-VL (2B and 7B): the prompt of GME, with the positions of Qwen2-VL.

Source: `ops_mm_embedding_v1.py` of OpenSearch-AI/Ops-MM-embedding-v1-2B and -7B on the hub
(`OpsMMEmbeddingV1`), read in two copies that other repositories hold: the prompt and its default instruction,
the budget of `fetch_image`, the pooled token. It calls the whole model, which counts positions as Qwen2-VL
does. No published vector was compared. Not taken over: there a clip is a picture for each frame, and a
picture with a ratio above 200 loses that ratio.
"""

from __future__ import annotations

from dataclasses import replace

from vlm2vec.profiles import gme_qwen2vl

PROFILE = replace(
    gme_qwen2vl.PROFILE,
    name="ops-mm-v1",
    summary="OpenSearch-AI/Ops-MM-embedding-v1-2B and -7B",
    positions="mrope",
    # Its first resizing already keeps the budget, and leaves nothing to a second one.
    pixels=replace(gme_qwen2vl.PROFILE.pixels, rounded_first=False),
)
