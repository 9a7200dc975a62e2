"""VLM2Vec-V1 on LLaVA-NeXT (Mistral-7B): the bare prompts of VLM2Vec, on tiles of CLIP.

Source: TIGER-AI-Lab/VLM2Vec, branch v1, commit 28fdbdd (`src/vlm_backbone/llava_next`, `src/model.py`),
checked number by number in `tests/test_golden_stock.py`. Its published scores squeeze each picture to
1344x1344 first, 2,928 tokens; its demo takes pictures as they are, and so does this profile: `mmeb.evaluate`
squeezes. Not taken over: its modeling gives a text before a picture in one batch the features of a picture
that is not there.
"""

from __future__ import annotations

from vlm2vec.media.pixels import PixelRules
from vlm2vec.profiles.profile import Profile
from vlm2vec.profiles.published import Checked, PublishedModel

PROFILE = Profile(
    name="vlm2vec-v1-llava-next",
    summary="TIGER-Lab/VLM2Vec-LLaVa-Next, and adapters trained with the same code",
    network="llava_next",
    instruction_slot="after_media",
    positions="1d",
    bos="prompt",
    clip="images",
    pixels=PixelRules(
        max_pixels=1344 * 1344, patch_size=14, merge_size=1, temporal_patch_size=1, alpha="drop"
    ),
)

MODELS = (PublishedModel("TIGER-Lab/VLM2Vec-LLaVa-Next", "7B", dimensions=4096),)

CHECKED: Checked = "original"
