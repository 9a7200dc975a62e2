"""VLM2Vec-V1 on Phi-3.5-V, whole and as an adapter: the bare prompts of VLM2Vec, each text begun anew.

Source: TIGER-AI-Lab/VLM2Vec, branch v1, commit 28fdbdd (`src/vlm_backbone/phi3_v`), checked number by number
in `tests/test_golden_stock.py`. A prompt is split at its pictures and each text between tokenised on its own,
an empty one too, with the token that begins a text: one that ends in a picture is pooled at that token.
Pictures have 4 tiles, as in training and in the published evaluation; the demo has 16 (`crops`). Not taken
over: there a batch takes the rotary factors of its longest row, here each input has its own; and texts are
cut off at 256 tokens.
"""

from __future__ import annotations

from vlm2vec.media.pixels import PixelRules
from vlm2vec.profiles.profile import Profile
from vlm2vec.profiles.published import Checked, PublishedModel

PROFILE = Profile(
    name="vlm2vec-v1-phi3v",
    summary="TIGER-Lab/VLM2Vec-Full and -LoRA, and adapters trained with the same code",
    network="phi3_v",
    instruction_slot="after_media",
    positions="1d",
    bos="texts",
    clip="images",
    pixels=PixelRules(max_pixels=1344 * 1344, patch_size=14, temporal_patch_size=1, alpha="drop", crops=4),
)

MODELS = (
    PublishedModel("TIGER-Lab/VLM2Vec-Full", "4B", dimensions=3072),
    PublishedModel("TIGER-Lab/VLM2Vec-LoRA", "4B", dimensions=3072),
)

CHECKED: Checked = "original"
