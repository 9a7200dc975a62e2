"""What is known of a network without torch: sizes, pixel values, and what stock software calls its parts."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CLIP_MEAN", "CLIP_STD", "Layout"]

# Mean and standard deviation per channel of CLIP's training images (openai/CLIP, clip.py).
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

# Up to transformers 4.51 the language model was `model.layers`, then `model.language_model.layers`; the
# network here is the inner model itself.
_QWEN_NAMES = (
    (r"^(?:model\.)?(?:language_model\.)?(?=(?:layers|norm|embed_tokens)\.)", "language_model."),
    (r"^(?:model\.)?visual\.", "visual."),
)


@dataclass(frozen=True)
class Layout:
    """A network as planning, saving and error messages know it.

    Attributes:
        model_type: What `config.json` calls the network.
        label: What people call it.
        mean: Mean of each colour channel, of values between 0 and 1, that pixels are normalised by.
        std: The same of the standard deviation.
        processor: Class of the stock processor, for saved folders.
        image_processor: Class of its image processor.
        video_processor: Class of its video processor; `None` where it has none.
        patch_size: Side of a patch of the vision tower, in pixels.
        merge_size: Patches per side that are merged into one token.
        temporal_patch_size: Frames per patch.
        image_token: What stands for a picture in the prompt, and in the vocabulary; `None` where none does.
        video_token: The same for a clip.
        numbered_image: What its makers write for a picture where none stands in the vocabulary: a pattern,
            the picture's number in it.
        adapter_names: How the names of layers in adapters, which are those of the transformers that these
            were trained with, become those of the network: patterns and what replaces them.
        lora_targets: Names of the linear layers that an adapter changes by default: those that VLM2Vec
            trains.
        vision: Names of the parts that make features of pictures and clips; all else is the language model.
    """

    model_type: str
    label: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    processor: str
    image_processor: str
    video_processor: str | None
    patch_size: int
    merge_size: int = 2
    temporal_patch_size: int = 2
    image_token: str | None = "<|image_pad|>"  # noqa: S105
    video_token: str | None = "<|video_pad|>"  # noqa: S105
    numbered_image: str | None = None
    vision: tuple[str, ...] = ("visual",)
    adapter_names: tuple[tuple[str, str], ...] = _QWEN_NAMES
    lora_targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "down_proj")
