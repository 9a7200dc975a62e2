"""LamRA-Ret on Qwen2-VL-7B: the chat prompt of Qwen2-VL, which asks for one word.

Source: Code-kunkun/LamRA: `demo.py` for the prompt, `models/qwen2_vl.py` for positions and the pooled token,
the M-BEIR data set for an instruction before the text, `eval/eval_zeroshot` for the words on videos. Read in
copies that other repositories hold; no published vector was compared.
"""

from __future__ import annotations

from vlm2vec.media.pixels import PixelRules
from vlm2vec.profiles.profile import Profile
from vlm2vec.profiles.published import Checked, PublishedModel

PROFILE = Profile(
    name="lamra-ret",
    summary="code-kunkun/LamRA-Ret",
    instruction_slot="after_media",
    prefix="<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n",
    joiner="",
    media_start="<|vision_start|>",
    media_end="<|vision_end|>",
    closing="\nSummarize above {} in one word: ",
    # The assistant's turn starts with <emb>, and the token before that is pooled. Attention is causal, so
    # what comes after it makes no difference: the prompt ends here, and the tokenizer needs no <emb>.
    suffix="<|im_end|>\n<|im_start|>assistant\n",
    # Its code gives the language model no positions, which then counts tokens.
    positions="1d",
    # Budget of the stock processor, which its demo uses as it is.
    pixels=PixelRules(min_pixels=4 * 28 * 28, max_pixels=16384 * 28 * 28, alpha="drop", rounded_first=True),
)

MODELS = (PublishedModel("code-kunkun/LamRA-Ret", "7B", dimensions=3584, scores="LamRA-Qwen2"),)

CHECKED: Checked = "stock"
