"""Phi-3.5-V of transformers' Phi-3 and CLIP, without the code that its checkpoints bring.

Weights have the names of the published files, and so have adapters. Source of what is between the parts, the
order of tiles, separators and the merging of four patches: `image_embedding_phi3_v.py` of
microsoft/Phi-3.5-vision-instruct, and the copy of it in TIGER-AI-Lab/VLM2Vec, branch v1.
"""

from __future__ import annotations

import json
from contextlib import suppress
from math import isqrt
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from transformers import CLIPVisionConfig, CLIPVisionModel, Phi3Config, Phi3Model, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

__all__ = ["Phi3VConfig", "Phi3VModel"]

_MERGED = 2  # patches along each side of a token
_LAYER = -2  # of CLIP, whose states are the features of patches
_TOWER = "model.vision_embed_tokens.img_processor.vision_model."
_HEAD = 64  # channels of a head of CLIP's
# openai/clip-vit-large-patch14-336, whose sizes are constants in the original, and in no published file.
_CLIP = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 336,
    "patch_size": 14,
    "projection_dim": 768,
    "hidden_act": "quick_gelu",
}


class Phi3VConfig(Phi3Config):  # type: ignore[misc]
    """The configuration of Phi-3 with the tower of Phi-3.5-V: that of its makers, all on one level.

    Theirs has no `vision_config`: it says where the tower is of other sizes than CLIP's.
    """

    model_type = "phi3_v"

    def __init__(self, **settings: Any) -> None:
        vision = settings.pop("vision_config", None) or {}
        self.vision_config = CLIPVisionConfig(**{**_CLIP, **vision})
        rotary = settings.pop("rope_scaling", None) or settings.pop("rope_parameters", None)
        if rotary is not None:
            length = settings.get("original_max_position_embeddings")
            settings["rope_scaling"] = {"original_max_position_embeddings": length, **rotary}
        super().__init__(**settings)

    @classmethod
    def of_folder(cls, folder: Path) -> Phi3VConfig:
        """The configuration in a folder; where it has no sizes of the tower, its weights do."""
        config: Phi3VConfig = cls.from_pretrained(folder)
        if "vision_config" not in json.loads((folder / "config.json").read_text(encoding="utf-8")):
            config.vision_config = CLIPVisionConfig(**{**_CLIP, **_tower_sizes(folder)})
        return config

    @property
    def text_config(self) -> Phi3VConfig:
        """The language model's, which is this one."""
        return self


class Phi3VModel(PreTrainedModel):  # type: ignore[misc]
    """Phi-3.5-V without a language-model head, with the surface that stock networks have.

    Args:
        config: The configuration.
    """

    config_class = Phi3VConfig
    base_model_prefix = ""
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True

    def __init__(self, config: Phi3VConfig) -> None:
        super().__init__(config)
        self.model = Phi3Model(config)
        self.model.vision_embed_tokens = _ImageEmbedding(config)
        self.post_init()

    @property
    def language_model(self) -> Phi3Model:
        """Phi-3; the tower lies within it, as in the published files, and takes no part in its forward."""
        return self.model

    def get_input_embeddings(self) -> nn.Module:
        """Of its tokens."""
        embeddings: nn.Module = self.model.embed_tokens
        return embeddings

    def get_image_features(
        self, pixel_values: Tensor, image_sizes: Tensor, *, return_dict: bool = True
    ) -> BaseModelOutputWithPooling:
        """The features of one picture.

        Args:
            pixel_values: `(tiles, 3, side, side)`, its tiles row by row.
            image_sizes: `(1, 2)`, height and width of what was cut into these.
            return_dict: As transformers' models take it; always so here.

        Returns:
            With `pooler_output`, a list of one tensor `(tokens, hidden)`.
        """
        height, width = image_sizes[0].tolist()
        features = self.model.vision_embed_tokens(pixel_values, height, width)
        return BaseModelOutputWithPooling(pooler_output=[features])


def _tower_sizes(folder: Path) -> dict[str, int]:
    """Sizes of the tower by the shapes of its weights; nothing where they are not found."""
    shapes: dict[str, list[int]] = {}
    for file in folder.glob("*.safetensors"):
        with suppress(SafetensorError), safe_open(file, "pt") as weights:
            of_tower = [key for key in weights.keys() if key.startswith(_TOWER)]  # noqa: SIM118
            shapes |= {key.removeprefix(_TOWER): weights.get_slice(key).get_shape() for key in of_tower}
    try:
        hidden, _, patch, _ = shapes["embeddings.patch_embedding.weight"]
        places, _ = shapes["embeddings.position_embedding.weight"]
        middle, _ = shapes["encoder.layers.0.mlp.fc1.weight"]
    except KeyError:
        return {}
    return {
        "hidden_size": hidden,
        "intermediate_size": middle,
        "num_hidden_layers": sum(key.endswith("layer_norm1.weight") for key in shapes),
        "num_attention_heads": max(2, hidden // _HEAD),
        "image_size": patch * isqrt(places - 1),
        "patch_size": patch,
    }


class _ImageEmbedding(nn.Module):
    """Tiles to the features of tokens."""

    def __init__(self, config: Phi3VConfig) -> None:
        super().__init__()
        vision = config.vision_config
        merged = vision.hidden_size * _MERGED**2
        self.img_processor = nn.ModuleDict({"vision_model": CLIPVisionModel(vision)})
        self.glb_GN = nn.Parameter(torch.zeros(1, 1, merged))
        self.sub_GN = nn.Parameter(torch.zeros(1, 1, 1, merged))
        self.img_projection = nn.Sequential(
            nn.Linear(merged, config.hidden_size),
            nn.GELU(),
            nn.Linear(config.hidden_size, config.hidden_size),
        )

    def forward(self, tiles: Tensor, height: int, width: int) -> Tensor:
        """Tiles of a picture and, after a separator, the whole picture in one."""
        side = tiles.shape[-1]
        rows, columns = height // side, width // side
        grid = tiles.view(rows, columns, *tiles.shape[1:])
        page = grid.permute(2, 0, 3, 1, 4).reshape(-1, height, width)
        small = F.interpolate(page[None], size=(side, side), mode="bicubic")
        states = self.img_processor["vision_model"](
            torch.cat([small, tiles]), output_hidden_states=True, return_dict=True
        ).hidden_states[_LAYER][:, 1:]  # (1 + tiles, patches, width), without the token of the class
        parts = [
            self._lines(states[1:], rows, columns),
            self.glb_GN.flatten(0, 1).to(states.dtype),
            self._lines(states[:1], 1, 1),
        ]
        features: Tensor = self.img_projection(torch.cat(parts))
        return features

    def _lines(self, states: Tensor, rows: int, columns: int) -> Tensor:
        """Lines of tokens across tiles that lie side by side, a separator behind each."""
        across = int(states.shape[1] ** 0.5) // _MERGED
        grid = states.reshape(rows, columns, across, _MERGED, across, _MERGED, -1)
        lines = grid.permute(0, 2, 1, 4, 3, 5, 6).reshape(rows * across, columns * across, -1)
        ends = self.sub_GN[0].to(lines.dtype).expand(len(lines), 1, -1)
        return torch.cat([lines, ends], dim=1).flatten(0, 1)
