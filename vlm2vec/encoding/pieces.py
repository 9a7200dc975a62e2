"""A prompt in pieces whose cost is known: tokens of texts, and media of which only the size is."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TypeAlias

from vlm2vec.encoding.prompt import Media
from vlm2vec.errors import ContextLengthError, InputError

__all__ = ["Grid", "MediaPiece", "Piece", "TextPiece", "within_context"]

Grid: TypeAlias = tuple[int, int, int]

_TOO_LONG = (
    "Shorten the text, as encode(..., truncate=True) and --truncate of `vlm2vec encode` and "
    "`vlm2vec search` do, or give fewer pages, frames or max_pixels."
)
_UNCUT = (
    "Pass a part of the text: it is too long to be tokenised in whole, and either it may not be cut, "
    "being more than a text to embed, or it has no place to, such as a space behind a letter."
)


@dataclass(frozen=True, slots=True)
class TextPiece:
    """Tokens of a text.

    Attributes:
        ids: The tokens.
        floor: How many of the first truncation must leave.
        tail: How many of the last.
        is_part: Whether there are more between the first and the last.
    """

    ids: Sequence[int]
    floor: int
    tail: int = 0
    is_part: bool = False

    @property
    def tokens(self) -> int:
        """Number of tokens."""
        return len(self.ids)


@dataclass(frozen=True, eq=False, slots=True)
class MediaPiece:
    """A picture or page, or of a clip all or one time step.

    Attributes:
        part: The medium.
        key: Equal for the same medium with the same settings.
        grid: Patches of the whole medium in time, height and width; (0, 0, 0) while unknown.
        tokens: Tokens of what is shown here.
        times: Seconds of each frame of a clip; empty where there is no clock, or nobody asks for it.
        step: The time step that is shown here; `None` for all.
    """

    part: Media
    key: Hashable
    grid: Grid = (0, 0, 0)
    tokens: int = 0
    times: tuple[float, ...] = ()
    step: int | None = None

    @property
    def patches(self) -> int:
        """Patches that the vision tower computes; of a still, the two temporal slices are one."""
        return prod(self.grid)

    @property
    def is_measured(self) -> bool:
        """Whether its grid is known."""
        return self.grid != (0, 0, 0)

    @property
    def is_first(self) -> bool:
        """Whether the medium begins here."""
        return not self.step

    def measured(self, grid: Grid, times: tuple[float, ...], merge_size: int) -> MediaPiece:
        """The whole medium with this grid."""
        return replace(self, grid=grid, tokens=prod(grid) // merge_size**2, times=times, step=None)

    def span(self, merge_size: int) -> Grid:
        """What is shown here, in tokens in time, height and width."""
        time, height, width = self.grid
        return time if self.step is None else 1, height // merge_size, width // merge_size


Piece: TypeAlias = TextPiece | MediaPiece


def within_context(pieces: Sequence[Piece], max_tokens: int, *, truncate: bool) -> list[Piece]:
    """The pieces, texts shortened from the end where they do not fit and may be.

    Media, instructions, the profile's own words and the last token, which is the one pooled, stay.

    Raises:
        InputError: There is nothing at all.
        ContextLengthError: They do not fit.
    """
    total = sum(piece.tokens for piece in pieces)
    if not pieces:
        raise InputError("there is nothing to embed", fix="Give a text, an instruction or media.")
    excess = total - max_tokens
    shortened = list(pieces)
    for index in reversed(range(len(pieces) if truncate and excess > 0 else 0)):
        piece = pieces[index]
        if not isinstance(piece, TextPiece):
            continue
        tail = max(piece.tail, index == len(pieces) - 1)
        end = len(piece.ids) - tail
        cut = max(0, min(excess, end - piece.floor))
        excess -= cut
        shortened[index] = replace(piece, ids=[*piece.ids[: end - cut], *piece.ids[end:]])
    if excess > 0:
        is_part = any(isinstance(one, TextPiece) and one.is_part for one in pieces)
        raise ContextLengthError(
            f"the input has {'at least ' if is_part else ''}{total:,} tokens, "
            f"and the model's context holds {max_tokens:,}",
            fix=_UNCUT if is_part and truncate else _TOO_LONG,
        )
    return shortened
