"""transformers' own forward of a network, without padding: features of media first, then one input at a time.

How many tokens a picture has is how many features there are of it, so there is no rule that counts them, no
processor and no attention mask. Inputs of one length are computed together, which needs no padding either.
With gradients it is the forward of training, without them that of encoding: weights, adapters and gradient
checkpointing are those of transformers and peft.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from vlm2vec.backbones.patch_projection import normalised
from vlm2vec.backbones.registry import layout_of
from vlm2vec.media.tiles import Cut

__all__ = ["StockMedium", "StockRow", "language_states", "media_features"]

_CHANNELS = 3


@dataclass(frozen=True)
class StockMedium:
    """A picture or clip.

    Attributes:
        pixels: uint8: tiles `(tiles, 3, side, side)`, or patches as `vlm2vec.backbones.rows` has them.
        grid: Patches in time, height and width.
        is_clip: Whether it is a clip, and not one picture or several.
        cuts: The pictures that tiles were cut from; none of a clip.
    """

    pixels: Tensor
    grid: tuple[int, int, int]
    is_clip: bool
    cuts: tuple[Cut, ...] = ()


@dataclass(frozen=True)
class StockRow:
    """The tokens of one input.

    Attributes:
        token_ids: `(tokens,)`, at media any number.
        positions: `(tokens, 3)`, time, height and width position; `None` where they count on.
        media_tokens: Tokens that a media feature stands for.
        media: `(media tokens, width)`, their features, if there are any.
    """

    token_ids: Tensor
    positions: Tensor | None
    media_tokens: Tensor
    media: Tensor | None


def media_features(model: PreTrainedModel, medium: StockMedium) -> list[Tensor]:
    """The features of a picture or clip, `(tokens, width)`; of several pictures, of each.

    Args:
        model: The network.
        medium: On its device.
    """
    if not medium.cuts:
        return [_features(model, medium)]
    tiles = torch.split(medium.pixels, [cut.tiles for cut in medium.cuts])
    sizes = [torch.tensor([[cut.height, cut.width]]) for cut in medium.cuts]
    return [
        model.get_image_features(_levels(model, part), image_sizes=size, return_dict=True).pooler_output[0]
        for part, size in zip(tiles, sizes, strict=True)
    ]


def language_states(model: PreTrainedModel, rows: Sequence[StockRow]) -> list[Tensor]:
    """States of all tokens of each input after the final norm, `(tokens, hidden)`.

    Args:
        model: The network.
        rows: The inputs.
    """
    states: dict[int, Tensor] = {}
    by_length: dict[int, list[int]] = {}
    for index, row in enumerate(rows):
        by_length.setdefault(len(row.token_ids), []).append(index)
    for indices in by_length.values():
        together = [rows[index] for index in indices]
        positions = [row.positions for row in together if row.positions is not None]
        output = model.language_model(
            inputs_embeds=torch.stack([_embedded(model, row) for row in together]),
            position_ids=torch.stack(positions).permute(2, 0, 1) if positions else None,
            use_cache=False,
            return_dict=True,
        )
        states |= zip(indices, output.last_hidden_state, strict=True)
    return [states[index] for index in range(len(rows))]


def _features(model: PreTrainedModel, medium: StockMedium) -> Tensor:
    """The features of a clip of tiles, or of a picture or clip of patches."""
    if medium.pixels.ndim == 4:
        frames = _levels(model, medium.pixels)[None]
        of_clip: Tensor = model.get_video_features(frames, return_dict=True).pooler_output[0]
        return of_clip
    layout, grid = layout_of(model), torch.tensor([medium.grid], device=model.device)
    patches = medium.pixels.view(len(medium.pixels), _CHANNELS, -1, layout.patch_size**2)
    # Of a still, one of its two equal temporal slices is there.
    patches = patches.expand(-1, -1, layout.temporal_patch_size, -1) if patches.shape[2] == 1 else patches
    values = normalised(patches.flatten(1), layout)
    get = model.get_video_features if medium.is_clip else model.get_image_features
    features: Tensor = torch.cat(list(get(values, grid, return_dict=True).pooler_output))
    return features


def _levels(model: PreTrainedModel, tiles: Tensor) -> Tensor:
    """Tiles as pixel values, `(tiles, 3, side, side)`."""
    return normalised(tiles.flatten(1), layout_of(model)).view(tiles.shape)


def _embedded(model: PreTrainedModel, row: StockRow) -> Tensor:
    """`(tokens, width)`, what the language model reads."""
    embedded: Tensor = model.language_model.embed_tokens(row.token_ids.clamp(min=0))
    if row.media is None:
        return embedded
    return embedded.index_copy(0, row.media_tokens, row.media.to(embedded.dtype))
