"""Floating-point operations that encoding an input takes, counted from the network's configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from transformers import BatchFeature

from vlm2vec.encoding.pieces import MediaPiece
from vlm2vec.encoding.plan import Planned

_COLOURS = 3


@dataclass(frozen=True)
class Tower:
    """Products of a vision tower, where networks differ.

    Attributes:
        width: Of its states.
        out: Of its features.
        mlp: Weights of the MLP of a block.
        mergers: How often the patches of a token are merged into a feature.
        window: Side of the windows that some blocks attend within, in patches.
        windowed: Number of those blocks.
    """

    width: int
    out: int
    mlp: int
    mergers: int = 1
    window: int = 1
    windowed: int = 0


def _qwen2_vl(config: Any) -> Tower:
    width = config.embed_dim
    return Tower(width, config.hidden_size, mlp=2 * width * int(width * config.mlp_ratio))


def _qwen2_5_vl(config: Any) -> Tower:
    return Tower(
        config.hidden_size,
        config.out_hidden_size,
        mlp=3 * config.hidden_size * config.intermediate_size,
        window=config.window_size // config.patch_size,
        windowed=config.depth - len(config.fullatt_block_indexes),
    )


def _qwen3_vl(config: Any) -> Tower:
    return Tower(
        config.hidden_size,
        config.out_hidden_size,
        mlp=2 * config.hidden_size * config.intermediate_size,
        mergers=1 + len(config.deepstack_visual_indexes),
    )


_TOWERS: dict[str, Callable[[Any], Tower]] = {
    "qwen2_vl_vision": _qwen2_vl,
    "qwen2_5_vl_vision": _qwen2_5_vl,
    "qwen3_vl_vision": _qwen3_vl,
}
"""By the name of the tower's configuration."""


def flops_of(config: Any, features: BatchFeature) -> int:
    """Operations for a padded batch, without its padding.

    Everything is counted for every input, whether or not a way of encoding finds that it need not compute
    it. Norms, activations, rotations and learned positions, well under 1 %, are left out.
    """
    lengths = features["attention_mask"].sum(dim=1).tolist()
    grids = [
        grid
        for name in ("image_grid_thw", "video_grid_thw")
        if name in features
        for grid in features[name].tolist()
    ]
    return language_flops(config.text_config, lengths) + vision_flops(config.vision_config, grids)


def flops_of_plans(config: Any, plans: Iterable[Planned]) -> int:
    """The same for inputs that are planned and not yet decoded."""
    total = 0
    for plan in plans:
        grids = [piece.grid for piece in plan.pieces if isinstance(piece, MediaPiece) and piece.is_first]
        total += language_flops(config.text_config, [plan.tokens])
        total += vision_flops(config.vision_config, grids)
    return total


def language_flops(config: Any, lengths: Iterable[int]) -> int:
    """Operations of the language model for inputs of so many tokens."""
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    queries, keys = head_dim * config.num_attention_heads, head_dim * config.num_key_value_heads
    weights = config.hidden_size * (2 * queries + 2 * keys + 3 * config.intermediate_size)
    # A token attends to itself and those before it: a product with each key, and one with each value.
    return sum(
        config.num_hidden_layers * (2 * weights * length + 2 * queries * length * (length + 1))
        for length in lengths
    )


def vision_flops(config: Any, grids: Iterable[tuple[int, int, int]]) -> int:
    """Operations of the vision tower for grids of (frames in pairs, rows, columns)."""
    tower = _TOWERS[config.model_type](config)
    per_token = config.spatial_merge_size**2
    merged = tower.width * per_token
    weights = 4 * tower.width**2 + tower.mlp
    pixels = _COLOURS * config.temporal_patch_size * config.patch_size**2
    total = 0
    for frames, rows, columns in grids:
        patches = rows * columns
        within = sum(
            (height * width) ** 2
            for height in _cut(rows, tower.window)
            for width in _cut(columns, tower.window)
        )
        pairs = tower.windowed * within + (config.depth - tower.windowed) * patches**2
        products = config.depth * weights + pixels * tower.width
        merger = merged * (merged + tower.out) * patches // per_token
        total += frames * 2 * (products * patches + 2 * tower.width * pairs + tower.mergers * merger)
    return total


def _cut(length: int, side: int) -> list[int]:
    """Sides of windows along an edge, of which the last may be shorter."""
    return [min(side, length - start) for start in range(0, length, side)]
