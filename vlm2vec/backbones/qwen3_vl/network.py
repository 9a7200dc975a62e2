"""Qwen3-VL in the packed forward: learned positions and taps in the tower, norms on queries and keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Qwen3VLConfig, Qwen3VLModel
from transformers.models.qwen3_vl.modeling_qwen3_vl import (
    Qwen3VLTextDecoderLayer,
    Qwen3VLTextRMSNorm,
    Qwen3VLVisionBlock,
    Qwen3VLVisionPatchMerger,
)

from vlm2vec.backbones.network import MergerLayers, Network
from vlm2vec.backbones.qwen3_vl.layout import LAYOUT
from vlm2vec.backbones.rows import VisionRow
from vlm2vec.blocks.device import to_device
from vlm2vec.blocks.linear import some_rows
from vlm2vec.blocks.mlp import plain_mlp
from vlm2vec.blocks.options import ForwardOptions


def _merger_layers(merger: Any) -> MergerLayers:
    return MergerLayers(
        merger.norm,
        merger.linear_fc1,
        merger.act_fn,
        merger.linear_fc2,
        norm_of_token=merger.use_postshuffle_norm,
    )


def _vision_mlp(mlp: Any, rows: Tensor, options: ForwardOptions) -> Tensor:
    return plain_mlp(mlp.linear_fc1, mlp.act_fn, mlp.linear_fc2, rows, options)


def _add_positions(visual: Any, hidden: Tensor, row: VisionRow) -> Tensor:
    """Patches and what a square table has for their places, stretched over the frame, corner on corner."""
    side = visual.num_grid_per_side
    sizes = to_device(torch.tensor(row.frames), hidden.device)  # (frames, 2)
    sizes = sizes.repeat_interleave(row.segments.offsets.diff(), dim=0, output_size=len(hidden))
    places = row.positions * (side - 1) / (sizes - 1).clamp(min=1)  # (patches, 2)
    # Some at a time: in float32, those of all patches would be the largest tensors of the pass.
    return torch.cat(
        [hidden[rows] + _between(visual, places[rows], side).to(hidden.dtype) for rows in some_rows(hidden)]
    )


def _between(visual: Any, places: Tensor, side: int) -> Tensor:
    """What the table has at places between its own, `(patches, 2)`: of the four around each, by how near."""
    before = places.floor().long()
    after, share = (before + 1).clamp(max=side - 1), places - before
    rows = ((before[:, 0], 1 - share[:, 0]), (after[:, 0], share[:, 0]))
    columns = ((before[:, 1], 1 - share[:, 1]), (after[:, 1], share[:, 1]))
    corners = [
        visual.pos_embed(top * side + left) * (weight * other)[:, None]
        for top, weight in rows
        for left, other in columns
    ]
    return torch.stack(corners).sum(0)


def _taps(visual: Any) -> dict[int, nn.Module]:
    return dict(zip(visual.deepstack_visual_indexes, visual.deepstack_merger_list, strict=True))


def _check(config: Any) -> Sequence[str]:
    """What of a configuration the packed forward does not compute."""
    taps, layers = config.vision_config.deepstack_visual_indexes, config.text_config.num_hidden_layers
    # Of the last layer only the pooled tokens are computed, which are no media tokens.
    return [f"{len(taps)} taps, and {layers} layers to add them after"] if len(taps) >= layers else []


NETWORK = Network(
    layout=LAYOUT,
    config_class=Qwen3VLConfig,
    model_class=Qwen3VLModel,
    decoder_layer=Qwen3VLTextDecoderLayer,
    vision_block=Qwen3VLVisionBlock,
    merger=Qwen3VLVisionPatchMerger,
    rms_norm=Qwen3VLTextRMSNorm,
    merger_layers=_merger_layers,
    vision_mlp=_vision_mlp,
    head_norms=True,
    add_positions=_add_positions,
    taps=_taps,
    check=_check,
)
