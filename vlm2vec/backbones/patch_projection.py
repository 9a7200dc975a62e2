"""The patch projection of uint8 patches, normalised inside it, in float32."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from vlm2vec.backbones.layout import Layout
from vlm2vec.blocks.linear import some_rows

__all__ = ["normalised", "project_levels"]

_LEVELS = 255
_CHANNELS = 3


def project_levels(
    projection: nn.Conv3d, stills: Tensor | None, clips: Tensor | None, layout: Layout
) -> Tensor:
    """Projections of patches, stills first.

    `weight * (x / 255 - mean) / std` is computed as `folded * (x - near) + rest`, `near` being the whole
    number next to `255 * mean`: levels less a whole number are exact, so nothing is lost by the folding.
    A still's two temporal slices are equal: there is one, and the projection's two are added up.

    Args:
        projection: The convolution, whose weight is `(hidden, 3, frames, rows, columns)`.
        stills: `(patches, 3 * rows * columns)` uint8.
        clips: `(patches, 3 * frames * rows * columns)` uint8.
        layout: Of the network.

    Returns:
        `(patches, hidden)`, in the type of the weights.
    """
    weight = projection.weight
    kernel = weight.float()
    near, scale, shift = _pixel_constants(layout.mean, layout.std, weight.device)
    rest = (kernel.sum((2, 3, 4)) * shift).sum(1)
    if projection.bias is not None:
        rest = rest + projection.bias.float()
    given = []
    if stills is not None:
        given.append((stills, (kernel.sum(2) * scale[:, None, None]).flatten(1)))
    if clips is not None:
        given.append((clips, (kernel * scale[:, None, None, None]).flatten(1)))
    projected = weight.new_empty(sum(len(patches) for patches, _ in given), len(weight))
    start = 0
    for patches, filters in given:
        for rows in some_rows(patches):
            levels = patches[rows].view(-1, _CHANNELS, patches.shape[1] // _CHANNELS) - near[:, None]
            out = projected[start : start + len(levels)]
            out.copy_(F.linear(levels.flatten(1), filters, rest))
            start += len(levels)
    return projected


def normalised(patches: Tensor, layout: Layout) -> Tensor:
    """Pixel values as the stock vision tower expects them, bit for bit those of the stock image processor.

    Args:
        patches: `(n, 3 * k)` uint8, channel by channel.
        layout: Of the network.

    Returns:
        `(n, 3 * k)` float32.
    """
    mean, std = (torch.tensor(values, device=patches.device)[:, None] for values in (layout.mean, layout.std))
    pixels = patches.view(len(patches), _CHANNELS, -1).float().div(_LEVELS)
    return torch.flatten((pixels - mean) / std, 1)


@lru_cache(maxsize=8)
def _pixel_constants(
    mean: tuple[float, ...], std: tuple[float, ...], device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Per channel: the level next to the mean, what a level counts, and what that level is worth."""
    means, deviations = (torch.tensor(values, dtype=torch.float64) for values in (mean, std))
    near = (_LEVELS * means).round()
    constants = near, 1 / (_LEVELS * deviations), (near / _LEVELS - means) / deviations
    first, second, third = (values.to(device, torch.float32) for values in constants)
    return first, second, third
