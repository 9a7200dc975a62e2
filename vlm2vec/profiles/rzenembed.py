"""RzenEmbed on Qwen2-VL: the chat prompt of Qwen2-VL, the instruction directly in front of the text.

Source: `rzen_embed_inference.py` of qihoo360/RzenEmbed on the hub (arXiv 2510.27350), read in a copy that
another repository holds: prompt, pixels, the pooled token. Its inner model is called without positions and
without tokens, and then counts them in a row. No published vector was compared. Not taken over: there a
prompt is cut off at 2,000 tokens, and a clip is a picture for each frame.
"""

from __future__ import annotations

from dataclasses import replace

from vlm2vec.profiles import gme_qwen2vl

PROFILE = replace(
    gme_qwen2vl.PROFILE,
    name="rzenembed",
    summary="qihoo360/RzenEmbed",
    instruction_slot="after_media",
    prefix="<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n",
    default_instruction="",
    instruction_end="",
)
