"""UniME-V2 on LLaVA-OneVision (Qwen2-7B): the chat template that lies beside the weights.

Source: GaryGuTC/UniME-v2, commit e3deb73, and the wrapper that mteb has for it: the checkpoint's own template
with the assistant's turn opened, one turn of the user, media before the text, no system message; pictures as
they are and clips of 2 frames a second, at most 64, in that wrapper. It was trained with pictures of 336x336
pixels, and its demo and evaluation squeeze them to 1344x1344, as `mmeb.evaluate` does. Two versions of the
template are on the hub, and which of them this repository has is not known, so it is read from the folder;
the words below are those of the newer one. Vectors were compared with transformers 4.52, under which its
makers ran it (`tests/data/golden_llava_onevision`). Not taken over: there, texts are stripped.
"""

from __future__ import annotations

from vlm2vec.media.pixels import PixelRules
from vlm2vec.profiles.profile import Profile
from vlm2vec.profiles.published import Checked, PublishedModel

PROFILE = Profile(
    name="unime-v2-llava-onevision",
    summary="TianchengGu/UniME-V2-LLaVA-OneVision-8B",
    network="llava_onevision",
    template="checkpoint",
    prefix="<|im_start|>user ",
    text_prefix="<|im_start|>user \n",
    part_order="video_image_text",
    instruction_slot="after_media",
    instruction_joiner="\n",
    joiner="\n",
    suffix="<|im_end|><|im_start|>assistant\n",
    positions="1d",
    num_frames=64,
    fps=2.0,
    untimed_fps=2.0,
    pixels=PixelRules(
        max_pixels=1344 * 1344, patch_size=14, merge_size=1, temporal_patch_size=1, alpha="drop"
    ),
)

MODELS = (PublishedModel("TianchengGu/UniME-V2-LLaVA-OneVision-8B", "8B", dimensions=3584),)

CHECKED: Checked = "stock"
