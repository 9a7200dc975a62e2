"""E5-V on LLaVA-NeXT (Llama-3-8B): the chat prompt of Llama 3, which asks for one word.

Source: the README of royokong/e5-v for texts and pictures alone, and TIGER-AI-Lab/VLM2Vec, which evaluates
it, for the words on a text beside a medium, and on clips. The blank between the last newlines is part of it.
No vector was compared; the network is that of `vlm2vec-v1-llava-next`, which was.
"""

from __future__ import annotations

from dataclasses import replace

from vlm2vec.profiles import vlm2vec_v1_llava_next
from vlm2vec.profiles.published import Checked, PublishedModel

PROFILE = replace(
    vlm2vec_v1_llava_next.PROFILE,
    name="e5-v",
    summary="royokong/e5-v",
    prefix="<|start_header_id|>user<|end_header_id|>\n\n",
    joiner="\n",
    closing="\nSummary above {} in one word: ",
    text_beside_media="text",
    suffix="<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n \n",
)

MODELS = (PublishedModel("royokong/e5-v", "8B", dimensions=4096),)

CHECKED: Checked = "no"
