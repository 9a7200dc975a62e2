"""Where the networks of one packed forward differ. `Network` names the places; each network fills them in.

Shared is the rest: attention within segments, prefixes that inputs share, a tower without padding, products
in blocks, the last layer for pooled tokens only. All weights are those of transformers' classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from vlm2vec.backbones.layout import Layout
from vlm2vec.backbones.rows import VisionRow
from vlm2vec.blocks.attention import Segments
from vlm2vec.blocks.options import ForwardOptions

__all__ = ["MergerLayers", "Network", "Windows"]


@dataclass(frozen=True)
class MergerLayers:
    """Layers of a merger: a norm, and two linear layers on the patches of a token, side by side.

    Attributes:
        norm: The norm.
        first: The first linear layer.
        activation: What is between them.
        second: The second linear layer, whose output has the language model's width.
        norm_of_token: Whether the norm is over all patches of a token at once, not over each.
    """

    norm: nn.Module
    first: nn.Linear
    activation: nn.Module
    second: nn.Linear
    norm_of_token: bool = False


@dataclass(frozen=True)
class Windows:
    """Windows that most blocks of a vision tower attend within.

    Attributes:
        patches: `(patches,)`, the row of each patch when the windows lie one after the other.
        tokens: `(tokens,)`, where each token then is.
        segments: The windows, in that order.
        whole_frames: Numbers of the blocks that attend within whole frames all the same.
    """

    patches: Tensor
    tokens: Tensor
    segments: Segments
    whole_frames: frozenset[int]


@dataclass(frozen=True)
class Network:
    """A network, as the packed forward knows it.

    Attributes:
        layout: What is known without torch.
        config_class: transformers' configuration.
        model_class: transformers' model without a language-model head.
        decoder_layer: Its layer of the language model; into no other class does the encode forward look.
        vision_block: Its block of the vision tower.
        merger: Its class of mergers.
        rms_norm: Its class of root-mean-square norms.
        merger_layers: The layers of a merger.
        vision_mlp: The MLP of a block of the tower on some rows.
        head_norms: Whether queries and keys are normed, head by head, before they are rotated.
        add_positions: What is added to projected patches, in place: learned positions.
        windows: Windows of a row, where most blocks of the tower attend within windows.
        taps: Blocks of the tower, by number, after which a merger of its own reads the patches. What the
            first one gives is added to the media tokens after the language model's first layer, and so on.
        check: What of a configuration the packed forward does not compute, in words.
    """

    layout: Layout
    config_class: type[PreTrainedConfig]
    model_class: type[PreTrainedModel]
    decoder_layer: type[nn.Module]
    vision_block: type[nn.Module]
    merger: type[nn.Module]
    rms_norm: type[nn.Module]
    merger_layers: Callable[[Any], MergerLayers]
    vision_mlp: Callable[[Any, Tensor, ForwardOptions], Tensor]
    head_norms: bool = False
    add_positions: Callable[[Any, Tensor, VisionRow], Tensor] | None = None
    windows: Callable[[Any, VisionRow], Windows] | None = None
    taps: Callable[[Any], Mapping[int, nn.Module]] = field(default=lambda _: {})
    check: Callable[[Any], Sequence[str]] = field(default=lambda _: ())
