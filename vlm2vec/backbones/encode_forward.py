"""The forward pass of Qwen2-VL for encoding: the same network as in training, none of the work it can spare.

It reads the weights of transformers' `Qwen2VLModel` and computes what `vlm2vec.backbones.train_forward`
computes (`tests/backbones/test_encode_forward.py` holds them together), without graph, hooks or gradient
checkpointing:

* patches come as uint8 and are normalised inside the patch projection, in float32; of a still image, whose
  two temporal slices are equal, there is one, and the projection's two are added up beforehand;
* queries, keys and values are one product, and off the CPU gate and up (`vlm2vec.blocks.linear`);
* a prefix that inputs share is computed once (`Segments.key_rows`);
* of the last layer, only what the pooled tokens need, but for its queries;
* projections and MLPs are computed for some rows at a time, so their wide middle never exists for all;
* on a CPU the vision tower takes some frames at a time, for frames do not attend to one another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from transformers import Qwen2VLModel
from transformers.activations import QuickGELUActivation, SiLUActivation
from transformers.models.qwen2_vl.modeling_qwen2_vl import PatchMerger, Qwen2VLRMSNorm

from vlm2vec.blocks.attention import Segments, attend
from vlm2vec.blocks.linear import AUTO, Products, project, rounded_up, row_blocks, uses_onednn
from vlm2vec.media.patches import MEAN, STD

__all__ = ["LanguageRow", "VisionRow", "language_states", "media_features"]

_LEVELS = 255
_QUICK_GELU = 1.702  # transformers/activations.py, QuickGELUActivation
_BLOCK_ROWS, _BLOCK_ROWS_ON_GPU = 256, 16_384
_PATCHES_AT_ONCE = 1024  # on a CPU: as fast as all at once, in less memory


@dataclass(frozen=True)
class VisionRow:
    """Pictures and clips of a batch, one after the other, stills first.

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

    def parts(self, max_patches: int) -> Iterator[VisionRow]:
        """Some frames at a time, with at most `max_patches` patches unless one alone has more."""
        stills = 0 if self.stills is None else len(self.stills)
        for rows, segments in self.segments.parts(max_patches):
            yield VisionRow(
                _within(self.stills, rows.start, rows.stop),
                _within(self.clips, rows.start - stills, rows.stop - stills),
                self.positions[rows],
                segments,
            )


@dataclass(frozen=True)
class LanguageRow:
    """Tokens of a batch.

    Attributes:
        token_ids: `(tokens,)`.
        positions: `(tokens, 3)`, time, height and width position.
        media_tokens: Tokens that a media feature stands for.
        media_features: The row of the vision tower's output for each of them.
        segments: Which tokens attend to which.
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
    model: Qwen2VLModel, row: LanguageRow, media: Tensor | None, *, products: Products = AUTO
) -> Tensor:
    """States after the final norm.

    Args:
        model: The network.
        row: The tokens.
        media: `(media tokens, hidden)`, what `media_features` gave.
        products: How matrix products are computed.

    Returns:
        `(tokens, hidden)`, or `(wanted, hidden)` where only some are wanted.
    """
    language = model.language_model
    hidden = language.embed_tokens(row.token_ids)
    if media is not None:
        hidden[row.media_tokens] = media.index_select(0, row.media_features).to(hidden.dtype)
    heads = _Heads(*language.rotary_emb(hidden[None], row.positions.T[:, None]))
    last = len(language.layers) - 1
    for number, layer in enumerate(language.layers):
        only = row.wanted if number == last else None
        segments = row.wanted_segments if only is not None else row.segments
        assert segments is not None  # noqa: S101  # wanted and its segments come together
        hidden = _decoder_layer(layer, hidden, heads, segments, only=only, products=products)
    return _rms_norm(language.norm, hidden)


def media_features(model: Qwen2VLModel, row: VisionRow, *, products: Products = AUTO) -> Tensor:
    """The features of pictures and clips: `(patches / 4, hidden)`, a row a media token."""
    parts = row.parts(_PATCHES_AT_ONCE) if row.positions.device.type == "cpu" else [row]
    features = [_frame_features(model.visual, part, products) for part in parts]
    return features[0] if len(features) == 1 else torch.cat(features)


def _frame_features(visual: Any, row: VisionRow, products: Products) -> Tensor:
    """`media_features` of all frames of a row."""
    hidden = _project_patches(visual.patch_embed.proj.weight, row.stills, row.clips)
    heads = _Heads(*visual.rotary_pos_emb(hidden, row.positions))
    for block in visual.blocks:
        _vision_block(block, hidden, heads, row.segments, products)
    del heads  # larger than all else
    return _merged(visual.merger, hidden, products)


def _merged(merger: Any, hidden: Tensor, products: Products) -> Tensor:
    """Four patches as one row of the language model's width, by two linear layers."""
    if type(merger) is not PatchMerger:  # an adapter's
        features: Tensor = merger(hidden)
        return features
    first, activation, second = merger.mlp
    fours = hidden.view(-1, merger.hidden_size)
    parts = []
    for rows in _blocks(fours, products):
        block = fours[rows]
        normed = merger.ln_q(block.view(-1, hidden.shape[1])).view(-1, merger.hidden_size)
        if normed.device.type == "cpu":
            normed = rounded_up(normed)  # oneDNN computes GELU whatever computes products
        wide = activation(project([first], normed, products))
        parts.append(project([second], wide, products)[: len(block)])
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _vision_block(block: Any, hidden: Tensor, heads: _Heads, segments: Segments, products: Products) -> None:
    """Adds what a block of the vision tower gives to `hidden`, in place."""
    attention, mlp = block.attn, block.mlp
    counts = (attention.num_heads,) * 3
    query, key, value = heads.of([attention.qkv], block.norm1, hidden, counts, products)
    attended = attend(query, key, value, segments, causal=False, scaling=attention.scaling)
    _add_by_blocks(
        hidden, attended.flatten(1), partial(project, [attention.proj], products=products), products
    )
    del attended  # as large as all rows, and not needed beside the MLP

    def middle(rows: Tensor) -> Tensor:
        wide = _activated(mlp.act, project([mlp.fc1], block.norm2(rows), products))
        return project([mlp.fc2], wide, products)

    _add_by_blocks(hidden, hidden, middle, products)


def _decoder_layer(
    layer: Any,
    hidden: Tensor,
    heads: _Heads,
    segments: Segments,
    *,
    only: Tensor | None,
    products: Products,
) -> Tensor:
    attention, mlp = layer.self_attn, layer.mlp
    projections = [attention.q_proj, attention.k_proj, attention.v_proj]
    counts = attention.num_heads, attention.num_key_value_heads, attention.num_key_value_heads
    norm = partial(_rms_norm, layer.input_layernorm)
    query, key, value = heads.of(projections, norm, hidden, counts, products)
    if only is not None:
        query, hidden = query.index_select(0, only), hidden.index_select(0, only)
    attended = attend(query, key, value, segments, causal=True, scaling=attention.scaling)
    _add_by_blocks(
        hidden, attended.flatten(1), partial(project, [attention.o_proj], products=products), products
    )
    del attended

    def middle(rows: Tensor) -> Tensor:
        normed = _rms_norm(layer.post_attention_layernorm, rows)
        if _fuses_gate(normed):
            gate, up = project([mlp.gate_proj, mlp.up_proj], normed, products).chunk(2, dim=-1)
        else:
            gate, up = (project([half], normed, products) for half in (mlp.gate_proj, mlp.up_proj))
        return project([mlp.down_proj], _activated(mlp.act_fn, gate).mul_(up), products)

    _add_by_blocks(hidden, hidden, middle, products)
    return hidden


def _fuses_gate(rows: Tensor) -> bool:
    """Whether gate and up are one product. On a CPU, the room for both at once costs more than it gains."""
    return rows.device.type != "cpu"


def _activated(activation: nn.Module, wide: Tensor) -> Tensor:
    """`activation(wide)`, which `wide` itself may become."""
    if type(activation) is SiLUActivation:
        return F.silu(wide, inplace=True)
    if type(activation) is QuickGELUActivation:
        return wide.mul(_QUICK_GELU).sigmoid_().mul_(wide)
    activated: Tensor = activation(wide)
    return activated


def _add_by_blocks(
    hidden: Tensor, inputs: Tensor, work: Callable[[Tensor], Tensor], products: Products
) -> None:
    """`hidden += work(inputs)`, some rows at a time."""
    for rows in _blocks(hidden, products):
        hidden[rows] += work(inputs[rows])


def _blocks(tensor: Tensor, products: Products = AUTO) -> Iterator[slice]:
    """Its rows, some at a time."""
    if uses_onednn(tensor, products.kernel):
        return row_blocks(len(tensor), largest=_BLOCK_ROWS)
    size = _BLOCK_ROWS_ON_GPU if tensor.is_cuda else _BLOCK_ROWS
    return (slice(start, start + size) for start in range(0, len(tensor), size))


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


class _Heads:
    """Queries, keys and values of a layer, the first two rotated; one buffer serves all layers of a tower.

    Args:
        cos: Of the rotary embedding, `(1, rows, head_dim)` or `(rows, head_dim)`; its two halves are equal.
        sin: The same of the sine.
    """

    def __init__(self, cos: Tensor, sin: Tensor) -> None:
        self._dim = cos.shape[-1]
        half = self._dim // 2
        self._cos, self._sin = (angles.reshape(-1, 2 * half)[:, None, :half] for angles in (cos, sin))
        self._buffer: Tensor | None = None

    def of(
        self,
        projections: list[nn.Module],
        norm: Callable[[Tensor], Tensor],
        hidden: Tensor,
        counts: tuple[int, int, int],
        products: Products,
    ) -> Sequence[Tensor]:
        """Three tensors `(rows, heads, head_dim)`, with `counts` heads; good until the next call."""
        rotated = counts[0] + counts[1]
        for rows in _blocks(hidden, products):
            part = project(projections, norm(hidden[rows]), products).view(-1, sum(counts), self._dim)
            if self._buffer is None or self._buffer.dtype != part.dtype:
                self._buffer = part.new_empty(len(hidden), *part.shape[1:])
            self._rotate(part[:, :rotated], rows, out=self._buffer[rows, :rotated])
            self._buffer[rows, rotated:] = part[:, rotated:]
            del part  # or two would be held at once
        assert self._buffer is not None  # noqa: S101  # there is at least one row
        return torch.split(self._buffer, list(counts), dim=1)

    def _rotate(self, heads: Tensor, rows: slice, *, out: Tensor) -> None:
        """Rotate, in float32 where the angles are, as transformers does in the vision tower."""
        cos, sin = self._cos[rows], self._sin[rows]
        (first, second), (out_first, out_second) = heads.chunk(2, dim=-1), out.chunk(2, dim=-1)
        out_first.copy_(first * cos - second * sin)
        out_second.copy_(second * cos + first * sin)


def _within(patches: Tensor | None, start: int, end: int) -> Tensor | None:
    """Patches from `start` to `end`, or `None` where there are none."""
    return None if patches is None or end <= 0 or start >= len(patches) else patches[max(start, 0) : end]


def _project_patches(weight: Tensor, stills: Tensor | None, clips: Tensor | None) -> Tensor:
    """The patch projection of uint8 patches, normalised by CLIP's mean and deviation, in float32.

    `weight * (x / 255 - mean) / std` is computed as `folded * (x - near) + rest`, `near` being the whole
    number next to `255 * mean`: levels less a whole number are exact, so nothing is lost by the folding.
    """
    kernel = weight.float()  # (hidden, 3, frames, rows, columns)
    near, scale, shift = _pixel_constants(weight.device)
    rest = (kernel.sum((2, 3, 4)) * shift).sum(1)
    given = []
    if stills is not None:
        given.append((stills, (kernel.sum(2) * scale[:, None, None]).flatten(1)))
    if clips is not None:
        given.append((clips, (kernel * scale[:, None, None, None]).flatten(1)))
    projected = weight.new_empty(sum(len(patches) for patches, _ in given), len(weight))
    start = 0
    for patches, filters in given:
        for rows in _blocks(patches):
            levels = patches[rows].view(-1, len(MEAN), patches.shape[1] // len(MEAN)) - near[:, None]
            out = projected[start : start + len(levels)]
            out.copy_(F.linear(levels.flatten(1), filters, rest))
            start += len(levels)
    return projected


@lru_cache(maxsize=8)
def _pixel_constants(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Per channel: the level next to the mean, what a level counts, and what that level is worth."""
    std, mean = (torch.tensor(values, dtype=torch.float64) for values in (STD, MEAN))
    near = (_LEVELS * mean).round()
    constants = near, 1 / (_LEVELS * std), (near / _LEVELS - mean) / std
    first, second, third = (values.to(device, torch.float32) for values in constants)
    return first, second, third
