"""LamRA-Ret on Qwen2.5-VL-7B: the prompt, positions and pixels of LamRA-Ret on Qwen2-VL.

Source: as for `lamra_ret`. The branch of Code-kunkun/LamRA for Qwen2.5-VL could not be read: that its prompt
is the same is inferred. Vectors were compared with plain transformers (`tests/data/golden_qwen2_5_vl`).
"""

from __future__ import annotations

from dataclasses import replace

from vlm2vec.profiles import lamra_ret
from vlm2vec.profiles.published import Checked, PublishedModel

PROFILE = replace(
    lamra_ret.PROFILE,
    name="lamra-ret-qwen2.5vl",
    summary="code-kunkun/LamRA-Ret-Qwen2.5VL-7b",
    network="qwen2_5_vl",
)

MODELS = (
    PublishedModel("code-kunkun/LamRA-Ret-Qwen2.5VL-7b", "7B", dimensions=3584, scores="LamRA-Qwen2.5"),
)

CHECKED: Checked = "stock"
