"""The classes of a network that runs transformers' own forward, imported when it is loaded."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from transformers import PreTrainedConfig, PreTrainedModel

from vlm2vec.backbones.stock.layout import StockLayout

__all__ = ["StockNetwork", "say_slower"]

logger = logging.getLogger(__name__)


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
        if tiling is None or tiling.rule == "hd" or tiling.grids:
            return []
        return ["image_grid_pinpoints is missing"]


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
