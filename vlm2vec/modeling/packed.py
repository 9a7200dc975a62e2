"""The forward pass of Qwen2-VL for training, without padding: one flat row of tokens, one of patches.

It drives the layers of transformers' `Qwen2VLModel`, so weights, adapters and gradient checkpointing are
those of transformers and peft. What it adds: no padding in either tower, the patch projection as a matrix
product, positions from outside, and no language-model head. Encoding goes through
`vlm2vec.modeling.inference`, which computes the same with less.
"""

from __future__ import annotations

from itertools import chain

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from transformers import Qwen2VLModel
from transformers.vision_utils import get_vision_position_ids

from vlm2vec.media.patches import MEAN, STD
from vlm2vec.modeling.attention import Segments
from vlm2vec.modeling.device import to_device

__all__ = ["hidden_states", "media_features"]


def hidden_states(
    model: Qwen2VLModel,
    token_ids: Tensor,
    positions: Tensor,
    segments: Segments,
    *,
    images: Tensor | None = None,
    clips: Tensor | None = None,
) -> Tensor:
    """States of all tokens after the final norm.

    Args:
        model: The network; its configuration must use `packed_attention`.
        token_ids: `(tokens,)`, the prompts one behind the other.
        positions: `(tokens, 3)`, time, height and width position of each token.
        segments: Where the prompts lie.
        images: `(image tokens, hidden)`, features for the image placeholders, in order.
        clips: `(video tokens, hidden)`, features for the video placeholders, in order.

    Returns:
        `(tokens, hidden)`.
    """
    language = model.language_model
    hidden = language.embed_tokens(token_ids)
    for features, token in ((images, model.config.image_token_id), (clips, model.config.video_token_id)):
        if features is not None:
            hidden = hidden.masked_scatter((token_ids == token)[:, None], features.to(hidden.dtype))
    hidden = hidden.unsqueeze(0)
    rotary = language.rotary_emb(hidden, positions.T[:, None])
    for layer in language.layers:
        hidden = layer(hidden, position_embeddings=rotary, segments=segments)
    normed: Tensor = language.norm(hidden)
    return normed.squeeze(0)


def media_features(model: Qwen2VLModel, stills: Tensor | None, clips: Tensor | None, grids: Tensor) -> Tensor:
    """What the language model sees of pictures and clips.

    Args:
        model: The network.
        stills: `(patches, 3 * 14 * 14)` uint8, pictures one behind the other, one of the two equal temporal
            slices of each patch.
        clips: `(patches, 3 * 2 * 14 * 14)` uint8, clips one behind the other.
        grids: `(n, 3)` patches in time, height and width of each, pictures first.

    Returns:
        `(patches / 4, hidden)`, one row a media token.
    """
    visual = model.visual
    weight = visual.patch_embed.proj.weight
    projected = [
        F.linear(_normalise(patches).to(weight.dtype), filters.flatten(1))
        for patches, filters in ((stills, weight.sum(2)), (clips, weight))
        if patches is not None
    ]
    hidden = torch.cat(projected)
    # Frames attend within themselves only, so each grid step in time is a segment of its own.
    lengths = chain.from_iterable([height * width] * time for time, height, width in grids.tolist())
    segments = to_device(Segments.of(list(lengths)), hidden.device)
    rotary = visual.rotary_pos_emb(hidden, get_vision_position_ids(grids, visual.spatial_merge_size))
    for block in visual.blocks:
        hidden = block(
            hidden,
            cu_seqlens=segments.offsets,
            max_seqlen=max(segments.lengths),
            position_embeddings=rotary,
            segments=segments,
        )
    features: Tensor = visual.merger(hidden)
    return features


def _normalise(patches: Tensor) -> Tensor:
    """CLIP's mean and deviation on uint8 patches, whose slowest axis is the channel.

    The same float32 operations as transformers' image processor, so the same bits.
    """
    mean, std = (torch.tensor(values, device=patches.device)[:, None] for values in (MEAN, STD))
    pixels = patches.view(len(patches), len(MEAN), -1).float().div(255)
    return torch.flatten((pixels - mean) / std, 1)
