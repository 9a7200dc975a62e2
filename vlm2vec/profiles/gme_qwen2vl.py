"""GME on Qwen2-VL (2B and 7B): the chat prompt of Qwen2-VL, the instruction as system message.

Source: `gme_inference.py` of Alibaba-NLP/gme-Qwen2-VL-2B-Instruct on the hub (`GmeQwen2VL`), read in
the copy that TIGER-AI-Lab/VLM2Vec has: `embed` for the prompt and the default instruction, `__init__` for the
budget, `fetch_image` for the first resizing. Not taken over: there a prompt is cut off at 1,800 tokens.
"""

from __future__ import annotations

from vlm2vec.media.pixels import PixelRules
from vlm2vec.profiles.profile import Profile
from vlm2vec.profiles.published import Checked, PublishedModel

PROFILE = Profile(
    name="gme-qwen2vl",
    summary="Alibaba-NLP/gme-Qwen2-VL-2B-Instruct and -7B-Instruct",
    instruction_slot="first",
    prefix="<|im_start|>system\n",
    default_instruction="You are a helpful assistant.",
    instruction_joiner="",
    instruction_end="<|im_end|>\n<|im_start|>user\n",
    joiner="",
    media_start="<|vision_start|>",
    media_end="<|vision_end|>",
    suffix="<|im_end|>\n<|im_start|>assistant\n<|endoftext|>",
    # Its code gives the language model no positions, which then counts tokens (vllm-project/vllm#30478).
    positions="1d",
    pixels=PixelRules(min_pixels=256 * 28 * 28, max_pixels=1280 * 28 * 28, alpha="drop", rounded_first=True),
)

MODELS = (
    PublishedModel("Alibaba-NLP/gme-Qwen2-VL-2B-Instruct", "2B", dimensions=1536, scores="GME-2B"),
    PublishedModel("Alibaba-NLP/gme-Qwen2-VL-7B-Instruct", "7B", dimensions=3584, scores="GME-7B"),
)

CHECKED: Checked = "stock"
