"""The packed forward pass for training, without padding: one flat row of tokens, one of patches.

It drives the layers of transformers' models, so weights, adapters and gradient checkpointing are those of
transformers and peft. What it adds: no padding in either tower, the patch projection as a matrix product,
positions from outside, and no language-model head. Encoding goes through
`vlm2vec.backbones.encode_forward`, which computes the same with less, and so does a frozen vision tower.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from transformers import PreTrainedModel
from transformers.vision_utils import get_vision_position_ids

from vlm2vec.backbones import encode_forward
from vlm2vec.backbones.network import Network
from vlm2vec.backbones.patch_projection import normalised
from vlm2vec.backbones.registry import network_of
from vlm2vec.backbones.rows import LanguageRow, VisionRow
from vlm2vec.blocks.attention import Segments, packed_attention, select_rows
from vlm2vec.blocks.device import to_device
from vlm2vec.blocks.heads import rotated

__all__ = ["draws", "hidden_states", "language_states", "media_features", "vision_features"]

_RATE = "attention_dropout"  # of transformers' attention layers


def language_states(
    model: PreTrainedModel, row: LanguageRow, media: Tensor | None, *, below: list[Tensor] | None = None
) -> Tensor:
    """States after the final norm.

    Args:
        model: The network; its configuration must use `packed_attention`.
        row: The tokens.
        media: `(media tokens, width)`, what `vision_features` gave.
        below: Gets what goes into each layer, `(tokens, hidden)`, the first one's first.

    Returns:
        `(tokens, hidden)`, or `(wanted, hidden)` where only some are wanted.
    """
    network, language = network_of(model.config), model.language_model
    if (
        below is None
        and not torch.is_grad_enabled()
        and not draws(language)
        and _is_plain(language.layers, network.decoder_layer)
    ):
        return encode_forward.language_states(model, row, media)
    hidden = language.embed_tokens(row.token_ids)
    deep: list[Tensor] = []
    if media is not None:
        features = select_rows(media, row.media_features).to(hidden.dtype)
        first, *deep = torch.split(features, hidden.shape[1], dim=1)
        hidden = hidden.index_copy(0, row.media_tokens, first)
    hidden = hidden.unsqueeze(0)
    rotary = language.rotary_emb(hidden, row.positions.T[:, None])
    for number, layer in enumerate(language.layers[:-1]):
        if below is not None:
            below.append(hidden[0])
        hidden = layer(hidden, position_embeddings=rotary, segments=row.segments)
        if number < len(deep):
            hidden = hidden.index_add(1, row.media_tokens, deep[number][None])
    if below is not None:
        below.append(hidden[0])
    last = language.layers[-1]
    # What wraps a layer, as sharding does, is to be called as a layer.
    if row.wanted is not None and type(last) is network.decoder_layer:
        hidden = _wanted_tokens(network, last, hidden, rotary, row)
    else:
        hidden = last(hidden, position_embeddings=rotary, segments=row.segments)
        hidden = hidden if row.wanted is None else hidden[:, row.wanted]
    normed: Tensor = language.norm(hidden)
    return normed.squeeze(0)


def hidden_states(
    model: PreTrainedModel,
    token_ids: Tensor,
    positions: Tensor,
    segments: Segments,
    *,
    images: Tensor | None = None,
    clips: Tensor | None = None,
    below: list[Tensor] | None = None,
) -> Tensor:
    """States of all tokens after the final norm, where features of images and of clips come in order.

    Args:
        model: The network; its configuration must use `packed_attention`.
        token_ids: `(tokens,)`, the prompts one after the other.
        positions: `(tokens, 3)`, time, height and width position of each token.
        segments: Where the prompts lie.
        images: `(image tokens, width)`, features for the image placeholders, in order.
        clips: `(video tokens, width)`, features for the video placeholders, in order.
        below: As in `language_states`.

    Returns:
        `(tokens, hidden)`.
    """
    given = ((images, model.config.image_token_id), (clips, model.config.video_token_id))
    media = [features for features, _ in given if features is not None]
    indices = [(token_ids == token).nonzero()[:, 0] for features, token in given if features is not None]
    tokens = torch.cat(indices) if media else token_ids.new_empty(0)
    features = torch.arange(len(tokens), device=token_ids.device)
    row = LanguageRow(token_ids, positions, tokens, features, segments)
    return language_states(model, row, torch.cat(media) if media else None, below=below)


def draws(network: nn.Module) -> bool:
    """Whether a pass draws random numbers: two of them differ, and equal inputs get different vectors."""
    return network.training and any(
        getattr(module, "p", 0.0) > 0.0
        if isinstance(module, nn.Dropout)
        else getattr(module, _RATE, 0.0) > 0.0
        for module in network.modules()
    )


def _is_plain(layers: nn.ModuleList, kind: type[nn.Module]) -> bool:
    """Whether the inference forward may look into the layers: nothing wraps them, as sharding does."""
    device = next(layers.parameters()).device.type
    return all(type(layer) is kind for layer in layers) and not torch.is_autocast_enabled(device)


def _is_plain_in_half(visual: Any, kind: type[nn.Module]) -> bool:
    """Whether all weights are of the type that autocast computes in, so that it has nothing to cast."""
    device = next(visual.parameters()).device.type
    return (
        torch.is_autocast_enabled(device)
        and all(type(block) is kind for block in visual.blocks)
        and all(weight.dtype == torch.get_autocast_dtype(device) for weight in visual.parameters())
    )


def _wanted_tokens(
    network: Network, layer: Any, hidden: Tensor, rotary: tuple[Tensor, Tensor], row: LanguageRow
) -> Tensor:
    """What a layer gives for the wanted tokens: keys and values of all, the rest of these alone."""
    attention, wanted = layer.self_attn, row.wanted
    normed = layer.input_layernorm(hidden)
    query, key, value = (
        projection(given).unflatten(-1, (-1, attention.head_dim))  # (1, tokens, heads, head_dim)
        for projection, given in (
            (attention.q_proj, normed[:, wanted]),
            (attention.k_proj, normed),
            (attention.v_proj, normed),
        )
    )
    if network.head_norms:
        query, key = attention.q_norm(query), attention.k_norm(key)
    query, key, value = (heads.transpose(1, 2) for heads in (query, key, value))
    query, key = rotated(query, *(angles[:, wanted] for angles in rotary)), rotated(key, *rotary)
    assert row.wanted_segments is not None  # noqa: S101  # wanted and its segments come together
    attended, _ = packed_attention(
        attention,
        query,
        key,
        value,
        segments=row.wanted_segments,
        scaling=attention.scaling,
        dropout=attention.attention_dropout if attention.training else 0.0,
    )
    hidden = hidden[:, wanted] + attention.o_proj(attended.flatten(2))
    given: Tensor = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
    return given


def media_features(
    model: PreTrainedModel, stills: Tensor | None, clips: Tensor | None, grids: Tensor
) -> Tensor:
    """The features of pictures and clips, for the language model.

    Args:
        model: The network.
        stills: `(patches, 3 * patch_size**2)` uint8, pictures one after the other, one of the two equal
            temporal slices of each patch.
        clips: `(patches, 3 * temporal_patch_size * patch_size**2)` uint8, clips one after the other.
        grids: `(n, 3)` patches in time, height and width of each, pictures first.

    Returns:
        `(media tokens, width)`, as `encode_forward.media_features` gives it.
    """
    frames = tuple(chain.from_iterable([(height, width)] * time for time, height, width in grids.tolist()))
    # Frames attend within themselves only, so each grid step in time is a segment of its own.
    segments = to_device(Segments.of([height * width for height, width in frames]), grids.device)
    positions = get_vision_position_ids(grids, model.visual.spatial_merge_size)
    return vision_features(model, VisionRow(stills, clips, positions, segments, frames))


def vision_features(model: PreTrainedModel, row: VisionRow) -> Tensor:
    """The features of pictures and clips, as `encode_forward.media_features` gives them, with a graph."""
    network, visual = network_of(model.config), model.visual
    frozen = not any(weight.requires_grad for weight in visual.parameters())
    if (frozen or not torch.is_grad_enabled()) and _is_plain(visual.blocks, network.vision_block):
        with torch.no_grad():
            return encode_forward.media_features(model, row)
    if frozen and _is_plain_in_half(visual, network.vision_block):
        # Of a frozen tower there is one pass, so that no second one rounds otherwise; the language model's
        # first pass stays with the layers that its second one goes through.
        with torch.no_grad(), torch.autocast(row.positions.device.type, enabled=False):
            return encode_forward.media_features(model, row)
    projection = visual.patch_embed.proj
    weight = projection.weight
    projected = [
        F.linear(normalised(patches, network.layout).to(weight.dtype), filters.flatten(1), projection.bias)
        for patches, filters in ((row.stills, weight.sum(2)), (row.clips, weight))
        if patches is not None
    ]
    hidden = torch.cat(projected)
    if network.add_positions is not None:
        hidden = network.add_positions(visual, hidden, row)
    rotary = visual.rotary_pos_emb(hidden, row.positions)
    windows = None if network.windows is None else network.windows(visual, row)
    if windows is not None:
        hidden = hidden.index_select(0, windows.patches)
        rotary = tuple(angles.index_select(0, windows.patches) for angles in rotary)
    taps, deep = network.taps(visual), []
    for number, block in enumerate(visual.blocks):
        in_windows = windows is not None and number not in windows.whole_frames
        segments = windows.segments if windows is not None and in_windows else row.segments
        hidden = block(
            hidden,
            cu_seqlens=segments.offsets,
            max_seqlen=max(segments.lengths),
            position_embeddings=rotary,
            segments=segments,
        )
        if number in taps:
            deep.append(taps[number](hidden))
    features: Tensor = visual.merger(hidden)
    if windows is not None:
        features = features.index_select(0, windows.tokens)
    return torch.cat([features, *deep], dim=1) if deep else features
