"""What a forward pass reads: tokens, and pictures and clips as patches, each in one flat row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from vlm2vec.blocks.attention import Segments

__all__ = ["LanguageRow", "VisionRow"]


@dataclass(frozen=True)
class VisionRow:
    """Pictures and clips of a batch, one after the other, stills first.

    Attributes:
        stills: `(patches, 3 * patch_size**2)` uint8, if there are any.
        clips: `(patches, 3 * temporal_patch_size * patch_size**2)` uint8, if there are any.
        positions: `(patches, 2)`, row and column of each patch.
        segments: Frames attend within themselves only.
        frames: Rows and columns of each frame, in patches.
    """

    stills: Tensor | None
    clips: Tensor | None
    positions: Tensor
    segments: Segments
    frames: tuple[tuple[int, int], ...]

    def parts(self, max_patches: int) -> Iterator[VisionRow]:
        """Some frames at a time, with at most `max_patches` patches unless one alone has more."""
        stills, first = 0 if self.stills is None else len(self.stills), 0
        for rows, segments in self.segments.parts(max_patches):
            end = first + len(segments.lengths)
            yield VisionRow(
                _within(self.stills, rows.start, rows.stop),
                _within(self.clips, rows.start - stills, rows.stop - stills),
                self.positions[rows],
                segments,
                self.frames[first:end],
            )
            first = end


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


def _within(patches: Tensor | None, start: int, end: int) -> Tensor | None:
    """Patches from `start` to `end`, or `None` where there are none."""
    return None if patches is None or end <= 0 or start >= len(patches) else patches[max(start, 0) : end]
