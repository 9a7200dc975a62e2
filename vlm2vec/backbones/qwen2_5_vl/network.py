"""Qwen2.5-VL in the packed forward: a tower of gated MLPs, most of whose blocks attend within windows."""

from __future__ import annotations

from functools import lru_cache
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLModel
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
    Qwen2_5_VLDecoderLayer,
    Qwen2_5_VLPatchMerger,
    Qwen2_5_VLRMSNorm,
    Qwen2_5_VLVisionBlock,
)

from vlm2vec.backbones.network import MergerLayers, Network, Windows
from vlm2vec.backbones.qwen2_5_vl.layout import LAYOUT
from vlm2vec.backbones.rows import VisionRow
from vlm2vec.blocks.attention import Segments
from vlm2vec.blocks.device import to_device
from vlm2vec.blocks.mlp import gated_mlp


def _merger_layers(merger: Any) -> MergerLayers:
    return MergerLayers(merger.ln_q, *merger.mlp)


def _windows(visual: Any, row: VisionRow) -> Windows:
    """Windows of the frames of a row: squares of `window_size` pixels, less at the right and the bottom."""
    merge = visual.spatial_merge_size
    side = visual.window_size // visual.patch_size // merge
    sizes = [(height // merge, width // merge) for height, width in row.frames]
    starts = accumulate((height * width for height, width in sizes), initial=0)
    found = [_frame_windows(*size, side) for size in sizes]
    tokens = np.concatenate([order + start for (order, _), start in zip(found, starts, strict=False)])
    per_token = merge**2
    patches = (tokens[:, None] * per_token + np.arange(per_token)).ravel()
    lengths = [length * per_token for _, lengths in found for length in lengths]
    windows: Windows = to_device(
        Windows(
            torch.from_numpy(patches),
            torch.from_numpy(np.argsort(tokens)),
            Segments.of(lengths),
            frozenset(visual.fullatt_block_indexes),
        ),
        row.positions.device,
    )
    return windows


@lru_cache(maxsize=1024)
def _frame_windows(height: int, width: int, side: int) -> tuple[npt.NDArray[np.int64], tuple[int, ...]]:
    """Tokens of a frame window by window, and the tokens of each window.

    Windows of one size are neighbours, so that they attend in one call; their order makes no difference.
    """
    tokens = np.arange(height * width).reshape(height, width)
    windows = [
        tokens[top : top + side, left : left + side].ravel()
        for top in range(0, height, side)
        for left in range(0, width, side)
    ]
    windows.sort(key=len, reverse=True)
    return np.concatenate(windows), tuple(map(len, windows))


NETWORK = Network(
    layout=LAYOUT,
    config_class=Qwen2_5_VLConfig,
    model_class=Qwen2_5_VLModel,
    decoder_layer=Qwen2_5_VLDecoderLayer,
    vision_block=Qwen2_5_VLVisionBlock,
    merger=Qwen2_5_VLPatchMerger,
    rms_norm=Qwen2_5_VLRMSNorm,
    merger_layers=_merger_layers,
    vision_mlp=gated_mlp,
    windows=_windows,
)
