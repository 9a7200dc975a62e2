"""The packed forward pass for encoding: the same networks as in training, none of the work it can spare.

It reads the weights of transformers' models and computes what `vlm2vec.backbones.train_forward` computes
(`tests/backbones/test_encode_forward.py` holds them together), without graph, hooks or gradient
checkpointing. Where networks differ is in their records (`vlm2vec.backbones.network`).

* patches come as uint8 and are normalised inside the patch projection, in float32; of a still image, whose
  two temporal slices are equal, there is one, and the projection's two are added up beforehand;
* queries, keys and values are one product, and off the CPU gate and up (`vlm2vec.blocks.linear`);
* a prefix that inputs share is computed once (`Segments.key_rows`);
* of the last layer, only what the pooled tokens need, but for its queries;
* projections and MLPs are computed for some rows at a time, so their wide middle never exists for all;
* on a CPU the vision tower takes some frames at a time, for frames do not attend to one another.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from vlm2vec.backbones.network import Network
from vlm2vec.backbones.patch_projection import project_levels
from vlm2vec.backbones.registry import network_of
from vlm2vec.backbones.rows import LanguageRow, VisionRow
from vlm2vec.blocks.attention import Segments, attend
from vlm2vec.blocks.heads import Heads
from vlm2vec.blocks.linear import project, rounded_up, some_rows
from vlm2vec.blocks.mlp import gated_mlp
from vlm2vec.blocks.norms import rms_norm
from vlm2vec.blocks.options import AUTO, ForwardOptions
from vlm2vec.blocks.residual import Residual

__all__ = ["language_states", "media_features"]

_PATCHES_AT_ONCE = 1024  # on a CPU: as fast as all at once, in less memory


def language_states(
    model: PreTrainedModel, row: LanguageRow, media: Tensor | None, *, options: ForwardOptions = AUTO
) -> Tensor:
    """States after the final norm.

    Args:
        model: The network.
        row: The tokens.
        media: `(media tokens, width)`, what `media_features` gave.
        options: How it is computed.

    Returns:
        `(tokens, hidden)`, or `(wanted, hidden)` where only some are wanted.
    """
    network, language = network_of(model.config), model.language_model
    hidden = language.embed_tokens(row.token_ids)
    deep: list[Tensor] = []
    if media is not None:
        features = media.index_select(0, row.media_features).to(hidden.dtype)
        first, *deep = torch.split(features, hidden.shape[1], dim=1)
        hidden[row.media_tokens] = first
    cos, sin = language.rotary_emb(hidden[None], row.positions.T[:, None])
    heads = Heads(cos, sin, network.rms_norm)
    residual = Residual(hidden, network.rms_norm, options)
    del hidden
    last = len(language.layers) - 1
    for number, layer in enumerate(language.layers):
        only = row.wanted if number == last else None
        segments = row.wanted_segments if only is not None else row.segments
        assert segments is not None  # noqa: S101  # wanted and its segments come together
        then = language.norm if number == last else language.layers[number + 1].input_layernorm
        residual = _decoder_layer(
            network,
            layer,
            residual,
            heads,
            segments,
            only=only,
            then=None if number < len(deep) else then,
            options=options,
        )
        if number < len(deep):
            residual.hidden.index_add_(0, row.media_tokens, deep[number])
    return residual.normed(language.norm)


def media_features(model: PreTrainedModel, row: VisionRow, *, options: ForwardOptions = AUTO) -> Tensor:
    """The features of pictures and clips, a row a media token.

    Returns:
        `(media tokens, width)`: what stands in for the embeddings of the tokens, and beside it, where the
        network has taps, what is added after its first layers, each as wide as the language model.
    """
    network, visual = network_of(model.config), model.visual
    parts = row.parts(_PATCHES_AT_ONCE) if row.positions.device.type == "cpu" else [row]
    features = [_frame_features(network, visual, part, options) for part in parts]
    return features[0] if len(features) == 1 else torch.cat(features)


def _frame_features(network: Network, visual: Any, row: VisionRow, options: ForwardOptions) -> Tensor:
    """`media_features` of all frames of a row."""
    hidden = project_levels(visual.patch_embed.proj, row.stills, row.clips, network.layout)
    if network.add_positions is not None:
        hidden = network.add_positions(visual, hidden, row)
    cos, sin = visual.rotary_pos_emb(hidden, row.positions)
    windows = None if network.windows is None else network.windows(visual, row)
    if windows is not None:
        hidden, cos, sin = (tensor.index_select(0, windows.patches) for tensor in (hidden, cos, sin))
    heads, taps = Heads(cos, sin, network.rms_norm), network.taps(visual)
    residual = Residual(hidden, network.rms_norm, options)
    del cos, sin
    deep = []
    for number, block in enumerate(visual.blocks):
        in_windows = windows is not None and number not in windows.whole_frames
        segments = windows.segments if windows is not None and in_windows else row.segments
        then = visual.blocks[number + 1].norm1 if number + 1 < len(visual.blocks) else None
        _vision_block(network, block, residual, heads, segments, then=then, options=options)
        if number in taps:
            deep.append(_merged(network, taps[number], hidden, options))
    del heads, residual  # larger than all else
    features = _merged(network, visual.merger, hidden, options)
    if windows is not None:
        features = features.index_select(0, windows.tokens)
    return torch.cat([features, *deep], dim=1) if deep else features


def _merged(network: Network, merger: Any, hidden: Tensor, options: ForwardOptions) -> Tensor:
    """The patches of a token as one row of the language model's width, by two linear layers."""
    if type(merger) is not network.merger:  # an adapter's
        features: Tensor = merger(hidden)
        return features
    layers = network.merger_layers(merger)
    width = layers.first.in_features
    tokens = hidden.view(-1, width)
    parts = []
    for rows in some_rows(tokens, options):
        block = tokens[rows]
        normed = block if layers.norm_of_token else block.view(-1, hidden.shape[1])
        normed = rms_norm(layers.norm, normed, network.rms_norm).view(-1, width)
        if normed.device.type == "cpu":
            normed = rounded_up(normed)  # oneDNN computes GELU whatever computes products
        wide = layers.activation(project([layers.first], normed, options))
        parts.append(project([layers.second], wide, options)[: len(block)])
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _vision_block(
    network: Network,
    block: Any,
    residual: Residual,
    heads: Heads,
    segments: Segments,
    *,
    then: nn.Module | None,
    options: ForwardOptions,
) -> None:
    """Adds what a block of the vision tower gives; `then` is the norm after it."""
    attention = block.attn
    inputs = partial(residual.normed, block.norm1)
    counts = (attention.num_heads,) * 3
    query, key, value = heads.of([attention.qkv], inputs, residual.hidden, counts, options)
    attended = attend(query, key, value, segments, causal=False, scaling=attention.scaling).flatten(1)
    residual.add(partial(project, [attention.proj], options=options), attended, then=block.norm2)
    del query, key, value, attended  # as large as all rows, and not needed beside the MLP
    residual.add(lambda rows: network.vision_mlp(block.mlp, rows, options), block.norm2, then=then)


def _decoder_layer(
    network: Network,
    layer: Any,
    residual: Residual,
    heads: Heads,
    segments: Segments,
    *,
    only: Tensor | None,
    then: nn.Module | None,
    options: ForwardOptions,
) -> Residual:
    """Adds what a layer gives, to `only` some rows where it says so; `then` is the norm after it."""
    attention, config = layer.self_attn, layer.self_attn.config
    query, key, value = heads.of(
        [attention.q_proj, attention.k_proj, attention.v_proj],
        partial(residual.normed, layer.input_layernorm),
        residual.hidden,
        (config.num_attention_heads, config.num_key_value_heads, config.num_key_value_heads),
        options,
        head_norms=(attention.q_norm, attention.k_norm) if network.head_norms else None,
    )
    if only is not None:
        query = query.index_select(0, only)
        residual = Residual(residual.hidden.index_select(0, only), network.rms_norm, options)
    attended = attend(query, key, value, segments, causal=True, scaling=attention.scaling).flatten(1)
    norm = layer.post_attention_layernorm
    residual.add(partial(project, [attention.o_proj], options=options), attended, then=norm)
    del query, key, value, attended
    residual.add(partial(gated_mlp, layer.mlp, options=options), norm, then=then)
    return residual
