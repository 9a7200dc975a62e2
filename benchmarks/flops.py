"""Floating-point operations that encoding an input takes, counted from the network's configuration."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from transformers import BatchFeature, Qwen2VLConfig

from vlm2vec.encoding.pieces import MediaPiece
from vlm2vec.encoding.plan import Planned

_COLOURS = 3


def flops_of(config: Qwen2VLConfig, features: BatchFeature) -> int:
    """Operations for a padded batch, without its padding.

    Everything is counted for every input, whether or not a way of encoding finds that it need not compute
    it. Norms, activations and rotations, well under 1 %, are left out.
    """
    lengths = features["attention_mask"].sum(dim=1).tolist()
    grids = [
        grid
        for name in ("image_grid_thw", "video_grid_thw")
        if name in features
        for grid in features[name].tolist()
    ]
    return language_flops(config.text_config, lengths) + vision_flops(config.vision_config, grids)


def flops_of_plans(config: Qwen2VLConfig, plans: Iterable[Planned]) -> int:
    """The same for inputs that are planned and not yet decoded."""
    total = 0
    for plan in plans:
        grids = [piece.grid for piece in plan.pieces if isinstance(piece, MediaPiece) and piece.is_first]
        total += language_flops(config.text_config, [plan.tokens])
        total += vision_flops(config.vision_config, grids)
    return total


def language_flops(config: Any, lengths: Iterable[int]) -> int:
    """Operations of the language model for inputs of so many tokens."""
    width = config.hidden_size
    keys = width * config.num_key_value_heads // config.num_attention_heads
    weights = 2 * width * width + 2 * width * keys + 3 * width * config.intermediate_size
    # A token attends to itself and those before it: a product with each key, and one with each value.
    return sum(
        config.num_hidden_layers * (2 * weights * length + 2 * width * length * (length + 1))
        for length in lengths
    )


def vision_flops(config: Any, grids: Iterable[tuple[int, int, int]]) -> int:
    """Operations of the vision tower for grids of (frames in pairs, rows, columns)."""
    width, merged = config.embed_dim, config.embed_dim * config.spatial_merge_size**2
    weights = 4 * width * width + 2 * width * int(width * config.mlp_ratio)
    pixels = _COLOURS * config.temporal_patch_size * config.patch_size**2
    total = 0
    for frames, rows, columns in grids:
        seen = rows * columns
        layer = 2 * weights * seen + 4 * width * seen * seen
        merger = 2 * (merged * merged + merged * config.hidden_size) * seen // config.spatial_merge_size**2
        total += frames * (config.depth * layer + 2 * pixels * width * seen + merger)
    return total
