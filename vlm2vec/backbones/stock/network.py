"""The classes of a network that runs transformers' own forward, imported when it is loaded."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from transformers import PreTrainedConfig, PreTrainedModel

from vlm2vec.backbones.stock.layout import StockLayout
from vlm2vec.media.tiles import Tiling

__all__ = ["StockNetwork", "say_slower"]

logger = logging.getLogger(__name__)

_MOST_TILES = 100  # of a picture; published are up to 36
_LAYER = -2  # whose states are the features where a configuration does not say it


@dataclass(frozen=True)
class StockNetwork:
    """A network, as loading knows it.

    Attributes:
        layout: What is known without torch.
    """

    layout: StockLayout

    @property
    def config_class(self) -> type[PreTrainedConfig]:
        """Its configuration."""
        found: type[PreTrainedConfig] = _imported(self.layout.config_class)
        return found

    @property
    def model_class(self) -> type[PreTrainedModel]:
        """Its model without a language-model head."""
        found: type[PreTrainedModel] = _imported(self.layout.model_class)
        return found

    def check(self, config: Any) -> Sequence[str]:
        """What of a configuration cannot be computed, in words."""
        tiling = self.layout.tiling(config)
        return [] if tiling is None else [*_other_grids(tiling), *_other_features(tiling, config)]


def _other_grids(tiling: Tiling) -> list[str]:
    """Grids that pictures cannot be cut into."""
    if tiling.rule == "hd":
        odd = tiling.patches < 1 or tiling.patches % 2  # two by two of them are merged
        return [f"image_size is {tiling.side}"] if odd else []
    if not tiling.grids:
        return ["image_grid_pinpoints is missing"]
    for height, width in tiling.grids:
        whole = all(length > 0 and length % tiling.side == 0 for length in (height, width))
        if not whole or (height // tiling.side) * (width // tiling.side) > _MOST_TILES:
            return [f"image_grid_pinpoints has {height} by {width}, and image_size is {tiling.side}"]
    return []


def _other_features(tiling: Tiling, config: Any) -> list[str]:
    """Features that the vision tower does not have, or that cannot be laid out."""
    layers, given = config.vision_config.num_hidden_layers, getattr(config, "vision_feature_layer", _LAYER)
    chosen = given if isinstance(given, list | tuple) else [given]
    if not chosen or not all(-layers - 1 <= layer <= layers for layer in chosen):
        return [f"vision_feature_layer is {given}, of {layers} layers"]
    ratio = getattr(config, "vision_aspect_ratio", None)
    if ratio is not None and not re.fullmatch("anyres_max_[1-9][0-9]{0,2}", ratio):
        return [f"vision_aspect_ratio is {ratio}"]
    return []


@cache
def say_slower(label: str) -> None:
    """Say once that a network has no packed forward."""
    logger.warning(
        "%s runs transformers' own forward, one input at a time: exact, and slower than the packed networks.",
        label,
    )


def _imported(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)
