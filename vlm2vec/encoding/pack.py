"""From prepared inputs to what one forward pass reads.

`pack` gives one flat row of tokens and one of patches, for encoding: no padding, prefixes that inputs share
once, equal pictures once. `pad` gives the layout of transformers' processors, whose rows trainers and
gradient caches slice; the training forward takes the padding out again before it computes anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers.vision_utils import get_vision_position_ids

from vlm2vec.backbones.rows import LanguageRow, VisionRow
from vlm2vec.blocks.attention import Segments
from vlm2vec.encoding.prefixes import Node, paths, shared_prefixes
from vlm2vec.encoding.prepare import Prepared, Visual
from vlm2vec.media.pixels import PixelRules

__all__ = ["Features", "Packed", "pack", "pad"]

Features: TypeAlias = dict[str, Tensor]

_FIRST_FEATURE = 2**40
"""The first number of a media token: above those of any vocabulary."""


@dataclass(frozen=True)
class Packed:
    """A batch for the inference forward.

    Attributes:
        language: The tokens.
        vision: The pictures and clips; `None` where there are none.
        rows: Of the states that come out, those of the first input, then the second, and so on.
        offsets: `(n + 1,)` int32, the first of each input among `rows`, and the end.
    """

    language: LanguageRow
    vision: VisionRow | None
    rows: Tensor
    offsets: Tensor


def pack(
    batch: Sequence[Prepared], rules: PixelRules, *, pooled_only: bool = True, share_prefixes: bool = True
) -> Packed:
    """Pack a batch for encoding.

    Args:
        batch: The inputs.
        rules: Pixel rules of the model.
        pooled_only: Ask for the state of each input's last token alone.
        share_prefixes: Compute prefixes that inputs share once.
    """
    visuals = list({visual.digest: visual for prepared in batch for visual in prepared.visuals}.values())
    visuals.sort(key=lambda visual: (visual.is_clip, visual.grid))
    features = _feature_rows(batch, visuals, rules.merge_size**2)
    lengths = [len(prepared.token_ids) for prepared in batch]
    by_length = sorted(range(len(batch)), key=lambda i: lengths[i])
    if share_prefixes:
        nodes = shared_prefixes(
            [_symbols(prepared, feature_row) for prepared, feature_row in zip(batch, features, strict=True)]
        )
    else:
        nodes = [Node(i, 0, lengths[i], (i,)) for i in by_length]
    indices = paths(nodes, lengths)
    parts = [(node.sequence, slice(node.start, node.end)) for node in nodes]
    token_features = np.concatenate([features[i][part] for i, part in parts])
    media_tokens = np.flatnonzero(token_features >= 0)
    wanted, wanted_segments, rows, sizes = None, None, np.concatenate(indices), lengths
    if pooled_only:
        wanted = torch.from_numpy(np.array([indices[i][-1] for i in by_length]))
        wanted_segments = _segments([1] * len(batch), [indices[i] for i in by_length])
        rows, sizes = np.argsort(by_length), [1] * len(batch)
    language = LanguageRow(
        torch.from_numpy(np.concatenate([batch[i].token_ids[part] for i, part in parts])),
        torch.from_numpy(np.concatenate([batch[i].positions[part] for i, part in parts])),
        torch.from_numpy(media_tokens),
        torch.from_numpy(token_features[media_tokens]),
        _segments([node.end - node.start for node in nodes], [indices[n.sequence][: n.end] for n in nodes]),
        wanted,
        wanted_segments,
    )
    return Packed(
        language,
        _vision_row(visuals, rules) if visuals else None,
        torch.from_numpy(rows),
        torch.tensor([0, *accumulate(sizes)], dtype=torch.int32),
    )


def pad(batch: Sequence[Prepared]) -> Features:
    """Features of a batch for training.

    Returns:
        `input_ids`, `attention_mask` `(n, longest)` and `position_ids` `(n, longest, 3)`, padded on the
        right; where there are pictures, `pixel_values` `(patches, 3 * patch_size**2)` uint8 (one of the
        two equal temporal slices), `image_grid_thw` `(pictures, 3)` and `num_images_per_sample` `(n,)`; for
        clips the same as `pixel_values_videos`, with both slices, `video_grid_thw` and
        `num_videos_per_sample`.
    """
    ids = [torch.from_numpy(prepared.token_ids) for prepared in batch]
    features = {
        "input_ids": pad_sequence(ids, batch_first=True),
        "attention_mask": pad_sequence([torch.ones_like(row) for row in ids], batch_first=True),
        "position_ids": pad_sequence([torch.from_numpy(item.positions) for item in batch], batch_first=True),
    }
    features |= _padded_media(batch, "pixel_values", "image_grid_thw", "num_images_per_sample", is_clip=False)
    features |= _padded_media(
        batch, "pixel_values_videos", "video_grid_thw", "num_videos_per_sample", is_clip=True
    )
    return features


def _feature_rows(
    batch: Sequence[Prepared], visuals: Sequence[Visual], per_token: int
) -> list[npt.NDArray[np.int64]]:
    """For each token of each input, the row of the vision tower's output it stands for; -1 for text."""
    first, total = {}, 0
    for visual in visuals:
        first[visual.digest] = total
        total += len(visual.patches) // per_token
    features = []
    for prepared in batch:
        rows = np.full(len(prepared.token_ids), -1)
        if prepared.visuals:
            rows[prepared.is_media] = np.concatenate(
                [
                    first[visual.digest] + np.arange(len(visual.patches) // per_token)
                    for visual in prepared.visuals
                ]
            )
        features.append(rows)
    return features


def _symbols(prepared: Prepared, features: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Numbers that are equal where tokens and their media are equal."""
    return np.where(features < 0, prepared.token_ids, features + _FIRST_FEATURE)


def _segments(lengths: list[int], key_rows: list[npt.NDArray[np.int64]]) -> Segments:
    rows = np.concatenate(key_rows)
    is_identity = np.array_equal(rows, np.arange(len(rows)))
    return Segments.of(
        lengths,
        key_lengths=[len(keys) for keys in key_rows],
        key_rows=None if is_identity else torch.from_numpy(rows),
    )


def _vision_row(visuals: Sequence[Visual], rules: PixelRules) -> VisionRow:
    stills, clips = (
        [visual.patches for visual in visuals if visual.is_clip == is_clip] for is_clip in (False, True)
    )
    # Frames attend within themselves only, so each grid step in time is a segment of its own.
    frames = tuple(visual.grid[1:] for visual in visuals for _ in range(visual.grid[0]))
    return VisionRow(
        torch.from_numpy(np.concatenate(stills)) if stills else None,
        torch.from_numpy(np.concatenate(clips)) if clips else None,
        get_vision_position_ids(torch.tensor([visual.grid for visual in visuals]), rules.merge_size),
        Segments.of([height * width for height, width in frames]),
        frames,
    )


def _padded_media(
    batch: Sequence[Prepared], pixels: str, grids: str, counts: str, *, is_clip: bool
) -> Features:
    rows = [[visual for visual in item.visuals if visual.is_clip == is_clip] for item in batch]
    visuals = [visual for row in rows for visual in row]
    if not visuals:
        return {}
    return {
        pixels: torch.from_numpy(np.concatenate([visual.patches for visual in visuals])),
        grids: torch.tensor([grid for visual in visuals for grid in visual.grids]),
        counts: torch.tensor([sum(len(visual.grids) for visual in row) for row in rows]),
    }
