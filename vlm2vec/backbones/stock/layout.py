"""What is known without torch of a network that runs transformers' own forward."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from vlm2vec.backbones.layout import Layout
from vlm2vec.media.tiles import Tiling

__all__ = ["LLAVA_HEAD", "LLAVA_NAMES", "StockLayout"]

LLAVA_NAMES = (
    (r"^(?:model\.)?language_model\.(?:model\.)?", "language_model."),
    (r"^(?:model\.)?vision_tower\.(?:vision_model\.)?", "vision_tower."),
)
"""`adapter_names` of the LLaVA line: transformers 4 has each part within a model of its own."""

LLAVA_HEAD = ("language_model.lm_head.weight",)
"""`not_needed` of the LLaVA line: the head over the vocabulary, under its older name."""


@dataclass(frozen=True, kw_only=True)
class StockLayout(Layout):
    """A network without a packed forward: all that there is to say of it, so a network is one of these.

    Its model has `language_model`, whose `embed_tokens` and forward take embeddings; `get_image_features`;
    and, where it takes clips, `get_video_features`.

    Attributes:
        config_class: Where its configuration is imported from.
        model_class: Where its model without a language-model head is imported from.
        tiles: The rule by which its pictures are cut into tiles (`vlm2vec.media.tiles`): how many tokens such
            a picture has is known from its features alone. `None` for the patches of Qwen's networks, with
            their positions.
        learns: Whether it was tried to train it.
        processor_files: What a saved folder tells stock processors of pictures in tiles, by file: what does
            not follow from the rest.
        stands_for: Names of weights that its checkpoints may have in place of others.
        not_needed: Patterns of names of weights in its checkpoints that no vector depends on.
    """

    config_class: str
    model_class: str
    tiles: Literal["anyres", "hd"] | None
    learns: bool = False
    processor_files: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    stands_for: Mapping[str, str] = field(default_factory=dict)
    not_needed: tuple[str, ...] = ()

    def tiling(self, config: Any) -> Tiling | None:
        """How a checkpoint with this configuration takes pictures; `None` where by patches."""
        if self.tiles is None:
            return None
        side: int = config.vision_config.image_size
        grids = getattr(config, "image_grid_pinpoints", None) or ()
        return Tiling(self.tiles, side, side // self.patch_size, tuple((rows, cols) for rows, cols in grids))
