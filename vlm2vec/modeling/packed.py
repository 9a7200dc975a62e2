"""The forward pass of Qwen2-VL for training, without padding: one flat row of tokens, one of patches.

It drives the layers of transformers' `Qwen2VLModel`, so weights, adapters and gradient checkpointing are
those of transformers and peft. What it adds: no padding in either tower, the patch projection as a matrix
product, positions from outside, and no language-model head. Encoding goes through
`vlm2vec.modeling.inference`, which computes the same with less, and so does a vision tower that is frozen.
"""

from __future__ import annotations

from itertools import chain

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from transformers import Qwen2VLModel
from transformers.models.qwen2_vl.modeling_qwen2_vl import (
    Qwen2VLDecoderLayer,
    Qwen2VLVisionBlock,
    rotate_half,
)
from transformers.vision_utils import get_vision_position_ids

from vlm2vec.media.patches import MEAN, STD
from vlm2vec.modeling import inference
from vlm2vec.modeling.attention import Segments, packed_attention
from vlm2vec.modeling.device import to_device
from vlm2vec.modeling.inference import VisionRow

__all__ = ["hidden_states", "media_features"]


def hidden_states(
    model: Qwen2VLModel,
    token_ids: Tensor,
    positions: Tensor,
    segments: Segments,
    *,
    images: Tensor | None = None,
    clips: Tensor | None = None,
    last_only: bool = False,
) -> Tensor:
    """States of all tokens after the final norm, or of the last one of each prompt.

    Args:
        model: The network; its configuration must use `packed_attention`.
        token_ids: `(tokens,)`, the prompts one behind the other.
        positions: `(tokens, 3)`, time, height and width position of each token.
        segments: Where the prompts lie.
        images: `(image tokens, hidden)`, features for the image placeholders, in order.
        clips: `(video tokens, hidden)`, features for the video placeholders, in order.
        last_only: Give the states of last tokens alone, for which the last layer does less.

    Returns:
        `(tokens, hidden)`, or `(prompts, hidden)`.
    """
    language = model.language_model
    hidden = language.embed_tokens(token_ids)
    for features, token in ((images, model.config.image_token_id), (clips, model.config.video_token_id)):
        if features is not None:
            hidden = hidden.masked_scatter((token_ids == token)[:, None], features.to(hidden.dtype))
    hidden = hidden.unsqueeze(0)
    rotary = language.rotary_emb(hidden, positions.T[:, None])
    for layer in language.layers[:-1]:
        hidden = layer(hidden, position_embeddings=rotary, segments=segments)
    last = language.layers[-1]
    if last_only and type(last) is Qwen2VLDecoderLayer:  # a layer that is wrapped, as to shard it, is called
        hidden = _last_tokens(last, hidden, rotary, segments)
    else:
        hidden = last(hidden, position_embeddings=rotary, segments=segments)
        hidden = hidden[:, segments.offsets[1:] - 1] if last_only else hidden
    normed: Tensor = language.norm(hidden)
    return normed.squeeze(0)


def _last_tokens(
    layer: Qwen2VLDecoderLayer, hidden: Tensor, rotary: tuple[Tensor, Tensor], segments: Segments
) -> Tensor:
    """What a layer gives for the last token of each segment: keys and values of all, the rest of these."""
    attention = layer.self_attn
    ends = segments.offsets[1:] - 1
    normed = layer.input_layernorm(hidden)
    key, value = (
        projection(normed).unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)
        for projection in (attention.k_proj, attention.v_proj)
    )
    query = attention.q_proj(normed[:, ends]).unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)
    key = _rotated(key, *rotary)
    query = _rotated(query, *(angles[:, ends] for angles in rotary))
    singles = to_device(
        Segments.of([1] * len(ends), key_lengths=list(segments.key_lengths)), segments.offsets.device
    )
    dropout = attention.attention_dropout if attention.training else 0.0
    seen, _ = packed_attention(
        attention, query, key, value, segments=singles, scaling=attention.scaling, dropout=dropout
    )
    hidden = hidden[:, ends] + attention.o_proj(seen.flatten(2))
    given: Tensor = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
    return given


def _rotated(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    turned: Tensor = rotate_half(heads)
    return heads * cos[:, None] + turned * sin[:, None]


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
    # Frames attend within themselves only, so each grid step in time is a segment of its own.
    lengths = chain.from_iterable([height * width] * time for time, height, width in grids.tolist())
    segments = to_device(Segments.of(list(lengths)), grids.device)
    positions = get_vision_position_ids(grids, visual.spatial_merge_size)
    whole = all(type(block) is Qwen2VLVisionBlock for block in visual.blocks)  # and not wrapped
    if whole and not any(weight.requires_grad for weight in visual.parameters()):
        with torch.no_grad():
            return inference.media_features(model, VisionRow(stills, clips, positions, segments))
    weight = visual.patch_embed.proj.weight
    projected = [
        F.linear(_normalise(patches).to(weight.dtype), filters.flatten(1))
        for patches, filters in ((stills, weight.sum(2)), (clips, weight))
        if patches is not None
    ]
    hidden = torch.cat(projected)
    rotary = visual.rotary_pos_emb(hidden, positions)
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
