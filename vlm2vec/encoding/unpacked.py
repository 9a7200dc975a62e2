"""A batch for a network without a packed forward: its inputs one by one, and each of its media once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vlm2vec.backbones.stock.forward import StockMedium, StockRow
from vlm2vec.encoding.prepare import Prepared, Visual

__all__ = ["Unpacked"]


@dataclass(frozen=True, eq=False)
class Unpacked:
    """A batch for transformers' own forward.

    Attributes:
        inputs: The inputs.
        pooled_only: Whether the state of each input's last token alone is asked for.
        has_positions: Whether tokens have positions of their own, and do not just count on.
    """

    inputs: Sequence[Prepared]
    pooled_only: bool
    has_positions: bool

    @property
    def media(self) -> dict[bytes, StockMedium]:
        """Pictures and clips by their digests, on the host."""
        return {visual.digest: _medium(visual) for prepared in self.inputs for visual in prepared.visuals}

    def rows(self, features: Mapping[bytes, Sequence[Tensor]], device: torch.device) -> list[StockRow]:
        """The inputs with the features of their media: now it is known how many tokens these have.

        Args:
            features: Of each medium, `(tokens, width)` for each of its pictures.
            device: Where the network is.

        Raises:
            ContextLengthError: An input does not fit the context; its index says which.
        """
        counts = {digest: [len(part) for part in parts] for digest, parts in features.items()}
        sized = [prepared.sized(counts) if prepared.sized else prepared for prepared in self.inputs]
        return [self._row(prepared, features, device) for prepared in sized]

    def _row(
        self, prepared: Prepared, features: Mapping[bytes, Sequence[Tensor]], device: torch.device
    ) -> StockRow:
        media = [part for visual in prepared.visuals for part in features[visual.digest]]
        positions = torch.from_numpy(prepared.positions).to(device) if self.has_positions else None
        return StockRow(
            torch.from_numpy(prepared.token_ids).to(device),
            positions,
            torch.from_numpy(prepared.is_media.nonzero()[0]).to(device),
            torch.cat(media) if media else None,
        )


def _medium(visual: Visual) -> StockMedium:
    return StockMedium(torch.from_numpy(visual.patches), visual.grid, visual.is_clip, visual.cuts)
