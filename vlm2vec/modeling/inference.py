"""The forward pass of Qwen2-VL for encoding: the same network as in training, none of the work it can spare.

It reads the weights of transformers' `Qwen2VLModel` and computes what `vlm2vec.modeling.packed` computes
(`tests/modeling/test_inference.py` holds them together), without graph, hooks or gradient checkpointing:

* patches come as uint8 and are normalised inside the patch projection, in float32; of a still image, whose
  two temporal slices are equal, there is one, and the projection's two are added up beforehand;
* queries, keys and values are one product, as are gate and up (`vlm2vec.modeling.products`);
* a prefix that inputs share is computed once (`Segments.key_rows`);
* of the last layer, only what the pooled tokens need;
* the wide middle of each MLP exists for some rows at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from transformers import Qwen2VLModel
from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VLRMSNorm

from vlm2vec.media.patches import MEAN, STD
from vlm2vec.modeling.attention import Segments, attend
from vlm2vec.modeling.products import project

__all__ = ["LanguageRow", "VisionRow", "language_states", "media_features"]

_LEVELS = 255
_BLOCK_ROWS = {"cpu": 1024, "cuda": 16_384}


@dataclass(frozen=True)
class VisionRow:
    """Pictures and clips of a batch, one behind the other, stills first.

    Attributes:
        stills: `(patches, 3 * 14 * 14)` uint8, if there are any.
        clips: `(patches, 3 * 2 * 14 * 14)` uint8, if there are any.
        positions: `(patches, 2)`, row and column of each patch.
        segments: Frames attend within themselves only.
    """

    stills: Tensor | None
    clips: Tensor | None
    positions: Tensor
    segments: Segments


@dataclass(frozen=True)
class LanguageRow:
    """Tokens of a batch.

    Attributes:
        token_ids: `(tokens,)`.
        positions: `(tokens, 3)`, time, height and width position.
        media_tokens: Tokens that a media feature stands for.
        media_features: The row of the vision tower's output for each of them.
        segments: Who sees whom.
        wanted: Tokens whose states are asked for; `None` for all.
        wanted_segments: The same of these tokens alone.
    """

    token_ids: Tensor
    positions: Tensor
    media_tokens: Tensor
    media_features: Tensor
    segments: Segments
    wanted: Tensor | None = None
    wanted_segments: Segments | None = None


def language_states(
    model: Qwen2VLModel, row: LanguageRow, media: Tensor | None, *, fuse: bool = True
) -> Tensor:
    """States after the final norm.

    Args:
        model: The network.
        row: The tokens.
        media: `(media tokens, hidden)`, what `media_features` gave.
        fuse: Compute neighbouring projections as one.

    Returns:
        `(tokens, hidden)`, or `(wanted, hidden)` where only some are wanted.
    """
    language = model.language_model
    hidden = language.embed_tokens(row.token_ids)
    if media is not None:
        hidden[row.media_tokens] = media.index_select(0, row.media_features).to(hidden.dtype)
    turn = _turn(*language.rotary_emb(hidden[None], row.positions.T[:, None]))
    last = len(language.layers) - 1
    for number, layer in enumerate(language.layers):
        only = row.wanted if number == last else None
        segments = row.wanted_segments if only is not None else row.segments
        assert segments is not None  # noqa: S101  # wanted and its segments come together
        hidden = _decoder_layer(layer, hidden, turn, segments, only=only, fuse=fuse)
    return _rms_norm(language.norm, hidden)


def media_features(model: Qwen2VLModel, row: VisionRow, *, fuse: bool = True) -> Tensor:
    """What the language model sees of pictures and clips: `(patches / 4, hidden)`, a row a media token."""
    visual = model.visual
    hidden = _project_patches(visual.patch_embed.proj.weight, row.stills, row.clips)
    cos, sin = visual.rotary_pos_emb(hidden, row.positions)
    turn = _turn(cos, sin)
    for block in visual.blocks:
        attention, mlp = block.attn, block.mlp
        mixed = project([attention.qkv], block.norm1(hidden), fuse=fuse).view(
            len(hidden), 3, attention.num_heads, -1
        )
        # Rotated in float32, whatever the weights are, as transformers does.
        query, key = turn(mixed[:, :2].float()).to(mixed.dtype).unbind(1)
        seen = attend(query, key, mixed[:, 2], row.segments, causal=False, scaling=attention.scaling)
        hidden += project([attention.proj], seen.flatten(1), fuse=fuse)

        def middle(rows: Tensor, mlp: Any = mlp) -> Tensor:
            return project([mlp.fc2], mlp.act(project([mlp.fc1], rows, fuse=fuse)), fuse=fuse)

        _add_by_blocks(hidden, block.norm2, middle)
    features: Tensor = visual.merger(hidden)
    return features


def _decoder_layer(
    layer: Any,
    hidden: Tensor,
    turn: Callable[[Tensor], Tensor],
    segments: Segments,
    *,
    only: Tensor | None,
    fuse: bool,
) -> Tensor:
    attention, mlp = layer.self_attn, layer.mlp
    normed = _rms_norm(layer.input_layernorm, hidden)
    projections = [attention.q_proj, attention.k_proj, attention.v_proj]
    dim = attention.head_dim
    mixed = project(projections, normed, fuse=fuse).view(len(hidden), -1, dim)
    heads, key_heads = attention.num_heads, attention.num_key_value_heads
    turned, value = turn(mixed[:, : heads + key_heads]), mixed[:, heads + key_heads :]
    query, key = torch.split(turned, [heads, key_heads], dim=1)
    if only is not None:
        query, hidden = query.index_select(0, only), hidden.index_select(0, only)
    seen = attend(query, key, value, segments, causal=True, scaling=attention.scaling)
    hidden += project([attention.o_proj], seen.flatten(1), fuse=fuse)

    def middle(rows: Tensor) -> Tensor:
        gate, up = project([mlp.gate_proj, mlp.up_proj], rows, fuse=fuse).chunk(2, dim=-1)
        return project([mlp.down_proj], mlp.act_fn(gate).mul_(up), fuse=fuse)

    _add_by_blocks(hidden, lambda rows: _rms_norm(layer.post_attention_layernorm, rows), middle)
    return hidden


def _add_by_blocks(
    hidden: Tensor, norm: Callable[[Tensor], Tensor], middle: Callable[[Tensor], Tensor]
) -> None:
    """`hidden += middle(norm(hidden))`, some rows at a time: the middle is wide."""
    for rows in torch.split(hidden, _BLOCK_ROWS.get(hidden.device.type, len(hidden))):
        rows.add_(middle(norm(rows)))


def _rms_norm(norm: Any, hidden: Tensor) -> Tensor:
    """What `Qwen2VLRMSNorm` of transformers computes, in fewer passes over memory."""
    plain = type(norm) is Qwen2VLRMSNorm
    if plain and hidden.is_cuda:
        return F.rms_norm(hidden, hidden.shape[-1:], norm.weight, norm.variance_epsilon)
    if not plain or hidden.dtype != torch.float32:
        normed: Tensor = norm(hidden)
        return normed
    mean_square = torch.linalg.vector_norm(hidden, dim=-1, keepdim=True).square_().div_(hidden.shape[-1])
    scaled: Tensor = hidden * mean_square.add_(norm.variance_epsilon).rsqrt_()
    return scaled.mul_(norm.weight)


def _turn(cos: Tensor, sin: Tensor) -> Callable[[Tensor], Tensor]:
    """The rotary embedding, for tensors of shape `(tokens, ..., heads, head_dim)`.

    Args:
        cos: `(1, tokens, head_dim)` or `(tokens, head_dim)`; its two halves are equal.
        sin: The same of the sine.
    """
    half = cos.shape[-1] // 2
    cos, sin = (tensor.reshape(-1, 2 * half)[:, None, :half] for tensor in (cos, sin))

    def turn(heads: Tensor) -> Tensor:
        c, s = (cos, sin) if heads.ndim == 3 else (cos[:, None], sin[:, None])
        first, second = heads.chunk(2, dim=-1)
        return torch.cat((first * c - second * s, second * c + first * s), dim=-1)

    return turn


def _project_patches(weight: Tensor, stills: Tensor | None, clips: Tensor | None) -> Tensor:
    """The patch projection of uint8 patches, normalised by CLIP's mean and deviation, in float32.

    `weight * (x / 255 - mean) / std` is computed as `folded * (x - near) + rest`, `near` being the whole
    number next to `255 * mean`: levels less a whole number are exact, so nothing is lost by the folding.
    """
    kernel = weight.float()  # (hidden, 3, frames, rows, columns)
    near, scale, shift = _pixel_constants(weight.device)
    folded = kernel * scale[:, None, None, None]
    rest = (kernel * shift[:, None, None, None]).sum((1, 2, 3, 4))
    outputs = []
    for patches, filters in ((stills, folded.sum(2)), (clips, folded)):
        if patches is not None:
            levels = patches.view(len(patches), len(MEAN), -1) - near[:, None]
            outputs.append(F.linear(levels.flatten(1), filters.flatten(1), rest))
    projected = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
    return projected.to(weight.dtype)


@lru_cache(maxsize=8)
def _pixel_constants(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Per channel: the level next to the mean, what a level counts, and what that level is worth."""
    std, mean = (torch.tensor(values, dtype=torch.float64) for values in (STD, MEAN))
    near = (_LEVELS * mean).round()
    constants = near, 1 / (_LEVELS * std), (near / _LEVELS - mean) / std
    first, second, third = (values.to(device, torch.float32) for values in constants)
    return first, second, third
