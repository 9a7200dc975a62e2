"""From prepared inputs to the features of one batch, in the layout of transformers' Qwen2-VL.

Token ids and positions are padded on the host, where trainers and gradient caches slice them by row; the
forward pass takes the padding out again before it computes anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from vlm2vec.encoding.prepare import Prepared, Visual

__all__ = ["Features", "pack"]

Features: TypeAlias = dict[str, Tensor]


def pack(batch: Sequence[Prepared]) -> Features:
    """Features of a batch.

    Returns:
        `input_ids`, `attention_mask` `(n, longest)` and `position_ids` `(n, longest, 3)`, padded on the
        right; where there are pictures, `pixel_values` `(patches, 1176)` uint8, `image_grid_thw`
        `(pictures, 3)` and `num_images_per_sample` `(n,)`; for clips the same as `pixel_values_videos`,
        `video_grid_thw` and `num_videos_per_sample`.
    """
    ids = [torch.from_numpy(prepared.token_ids) for prepared in batch]
    features = {
        "input_ids": pad_sequence(ids, batch_first=True),
        "attention_mask": pad_sequence([torch.ones_like(row) for row in ids], batch_first=True),
        "position_ids": pad_sequence([torch.from_numpy(item.positions) for item in batch], batch_first=True),
    }
    features |= _visuals(batch, "pixel_values", "image_grid_thw", "num_images_per_sample", is_clip=False)
    features |= _visuals(
        batch, "pixel_values_videos", "video_grid_thw", "num_videos_per_sample", is_clip=True
    )
    return features


def _visuals(batch: Sequence[Prepared], pixels: str, grids: str, counts: str, *, is_clip: bool) -> Features:
    rows: list[list[Visual]] = [
        [visual for visual in item.visuals if visual.is_clip == is_clip] for item in batch
    ]
    visuals = [visual for row in rows for visual in row]
    if not visuals:
        return {}
    return {
        pixels: torch.from_numpy(np.concatenate([visual.patches for visual in visuals])),
        grids: torch.tensor([visual.grid for visual in visuals]),
        counts: torch.tensor([len(row) for row in rows]),
    }
