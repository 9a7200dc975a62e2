"""What inputs will cost, known from their texts and headers alone.

Nothing is decoded here. Where fewer frames come out of a clip than its packets promise, the input has
fewer tokens than planned; `vlm2vec.encoding.prepare` lays it out by what came.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, TypeAlias

from transformers import PreTrainedTokenizerBase

from vlm2vec.encoding.pages import expand_documents
from vlm2vec.encoding.prompt import Control, Media, Plain, Segment, lay_out
from vlm2vec.errors import ContextLengthError, InputError, VLM2VecError
from vlm2vec.inputs.parse import release
from vlm2vec.inputs.parts import Clip, Document, Image, Input
from vlm2vec.media.limits import Limits
from vlm2vec.media.pdf import page_size_in_pixels
from vlm2vec.media.probe import image_size
from vlm2vec.media.resize import target_size
from vlm2vec.media.sampling import Sampling
from vlm2vec.media.source import Source
from vlm2vec.media.video import clip_shape
from vlm2vec.profiles import Profile
from vlm2vec.sameness import media_key

__all__ = [
    "Failed",
    "MediaPiece",
    "Planned",
    "Planner",
    "TextPiece",
    "sampling_of",
    "within_context",
]

Grid: TypeAlias = tuple[int, int, int]

_TOKENISED_AT_ONCE = 128  # texts; their tokens come as Python lists, and of many texts that is megabytes

# Whether control tokens are plain text is a switch inside the tokenizer, which all threads share.
_TOKENISING = threading.Lock()


@dataclass(frozen=True, slots=True)
class TextPiece:
    """Tokens of a text; `floor` is how many of the first truncation must leave, `tail` of the last."""

    ids: Sequence[int]
    floor: int
    tail: int = 0

    @property
    def tokens(self) -> int:
        """Number of tokens."""
        return len(self.ids)


@dataclass(frozen=True, eq=False, slots=True)
class MediaPiece:
    """A picture, page or clip.

    Attributes:
        part: The medium.
        key: Equal for the same medium with the same settings.
        grid: Patches in time, height and width; (0, 0, 0) while unknown.
        tokens: Tokens that it makes.
    """

    part: Media
    key: Hashable
    grid: Grid = (0, 0, 0)
    tokens: int = 0

    @property
    def patches(self) -> int:
        """Patches that the vision tower computes; of a still, the two temporal slices are one."""
        return prod(self.grid)


Piece: TypeAlias = TextPiece | MediaPiece


@dataclass(frozen=True, eq=False, slots=True)
class Planned:
    """One input whose cost is known.

    Attributes:
        index: Where its row belongs.
        item: The input.
        pieces: Its prompt in order.
        tokens: Tokens, media included.
        truncate: Whether its texts may be shortened.
    """

    index: int
    item: Input
    pieces: tuple[Piece, ...]
    tokens: int
    truncate: bool

    @property
    def media(self) -> dict[Hashable, MediaPiece]:
        """Its media, each once, in order."""
        return {piece.key: piece for piece in self.pieces if isinstance(piece, MediaPiece)}


@dataclass(frozen=True, eq=False, slots=True)
class Failed:
    """An input that cannot be encoded, and why."""

    index: int
    error: VLM2VecError


@dataclass(frozen=True, eq=False)
class Planner:
    """Plans inputs for one model.

    Attributes:
        tokenizer: Of the model.
        profile: Prompt layout and pixel rules.
        limits: What one input may cost.
        max_tokens: What the model's context holds.
    """

    tokenizer: PreTrainedTokenizerBase
    profile: Profile
    limits: Limits
    max_tokens: int

    def plan(
        self,
        items: Sequence[tuple[int, Input | VLM2VecError]],
        *,
        truncate: bool = False,
        measure: bool = True,
        run: Callable[..., Iterable[Any]] = map,
    ) -> list[Planned | Failed]:
        """Tokens of each input, or what is wrong with it.

        Args:
            items: The inputs, or what was found wrong with them, each with its index.
            truncate: Shorten texts that do not fit the context, instead of refusing them.
            measure: Read the headers of media; without, media are planned as if they had no tokens.
            run: Maps over media; a thread pool's `map` reads several headers at a time.
        """
        layouts = [self._lay_out(item) for _, item in items]
        segments = [segment for layout in layouts if isinstance(layout, list) for segment in layout]
        texts = self._tokenised(segments)
        media = {id(part): MediaPiece(part, media_key(part)) for part in segments if isinstance(part, Media)}
        known: dict[Hashable, MediaPiece | VLM2VecError] = {piece.key: piece for piece in media.values()}
        if measure:
            known = dict(zip(known, run(self._measured, known.values()), strict=True))
        planned: list[Planned | Failed] = []
        for (index, item), layout in zip(items, layouts, strict=True):
            if isinstance(item, VLM2VecError):
                planned.append(Failed(index, item))
                continue
            if isinstance(layout, VLM2VecError):
                planned.append(Failed(index, layout))
                continue
            try:
                good = [
                    _own(segment, known[media[id(segment)].key])
                    if isinstance(segment, Media)
                    else texts[segment]
                    for segment in layout
                ]
                shown = self._shown(good, truncate=truncate)
            except VLM2VecError as error:
                release(item)
                planned.append(Failed(index, error.at(item.index, item.describe())))
            else:
                tokens = sum(piece.tokens for piece in shown)
                planned.append(Planned(index, item, tuple(good), tokens, truncate))
        return planned

    def _shown(self, pieces: list[Piece], *, truncate: bool) -> list[Piece]:
        """The pieces within the context; whether a video file fits is known only when it is decoded."""
        try:
            return within_context(pieces, self.max_tokens, truncate=truncate)
        except ContextLengthError:
            parts = [piece.part for piece in pieces if isinstance(piece, MediaPiece)]
            if any(isinstance(part, Clip) and isinstance(part.content, Source) for part in parts):
                return pieces
            raise

    def _lay_out(self, item: Input | VLM2VecError) -> list[Segment] | VLM2VecError:
        if isinstance(item, VLM2VecError):
            return item
        try:
            return lay_out(expand_documents(item, self.limits), self.profile)
        except VLM2VecError as error:
            release(item)
            return error.at(item.index, item.describe()).without_frames()

    def _tokenised(self, segments: Sequence[Segment]) -> dict[Segment, TextPiece]:
        """Tokens of each text."""
        pieces: dict[Segment, TextPiece] = {}
        texts = dict.fromkeys(segment for segment in segments if not isinstance(segment, Media))
        for plain in (True, False):
            kind = [text for text in texts if isinstance(text, Plain) == plain]
            # Something of the text itself must be left, not its instruction alone.
            uncut = [_uncut(text) for text in kind]
            ends = list(dict.fromkeys(end for both in uncut for end in both))
            ids = self._token_ids([text.text for text in kind], plain=plain)
            kept = dict(zip(ends, map(len, self._token_ids(ends, plain=plain)), strict=True))
            for text, token_ids, (head, tail) in zip(kind, ids, uncut, strict=True):
                floor = min(len(token_ids), kept[head] + 1) if plain else len(token_ids)
                pieces[text] = TextPiece(token_ids, floor, kept[tail])
        return pieces

    def _token_ids(self, texts: list[str], *, plain: bool) -> list[Sequence[int]]:
        ids: list[Sequence[int]] = []
        for start in range(0, len(texts), _TOKENISED_AT_ONCE):
            with _TOKENISING:
                # verbose=False: transformers would warn of a long text beside our own error.
                encoded = self.tokenizer(
                    texts[start : start + _TOKENISED_AT_ONCE],
                    add_special_tokens=False,
                    split_special_tokens=plain,
                    return_attention_mask=False,
                    verbose=False,
                )["input_ids"]
            ids += [array("i", row) for row in encoded]
        return ids

    def _measured(self, piece: MediaPiece) -> MediaPiece | VLM2VecError:
        try:
            grid = self._grid(piece.part)
        except VLM2VecError as error:
            return error.without_frames()
        return MediaPiece(piece.part, piece.key, grid, prod(grid) // self.profile.pixels.merge_size**2)

    def _grid(self, media: Media) -> Grid:
        rules, limits, frames = self.profile.pixels, self.limits, 1
        if isinstance(media, Document):
            assert isinstance(media.pages, tuple)  # noqa: S101  # expand_documents makes it one
            height, width = page_size_in_pixels(
                media.content,
                media.pages[0],
                rules,
                max_pixels=media.max_pixels,
                password=media.password,
                limits=limits,
            )
        elif isinstance(media, Image):
            size = image_size(media.content, limits=limits)
            height, width = target_size(*size, rules, max_pixels=media.max_pixels)
        else:
            shape = clip_shape(media.content, sampling_of(media, self.profile), limits=limits)
            frames = -(-shape.frames // rules.temporal_patch_size)
            height, width = target_size(
                shape.height, shape.width, rules, frame=True, max_pixels=media.max_pixels
            )
        return frames, height // rules.patch_size, width // rules.patch_size


def _uncut(text: Plain | Control) -> tuple[str, str]:
    """Start and end of a text that truncation leaves alone."""
    if isinstance(text, Control):
        return "", ""
    return text.text[: text.uncut], text.text[len(text.text) - text.uncut_end :]


def _own(part: Media, piece: MediaPiece | VLM2VecError) -> MediaPiece:
    """The piece for a medium that is equal to one whose piece is known, or cannot be measured."""
    if isinstance(piece, VLM2VecError):
        # Another input may show the same broken file: each has an error of its own.
        raise piece.copy() from piece.__cause__
    # What the URLs of an input lead to is held by its own parts, until its batch is decoded.
    return replace(piece, part=part)


def sampling_of(clip: Clip, profile: Profile) -> Sampling:
    """Which frames of a clip are taken: its own settings, or the profile's number."""
    default = profile.num_frames if clip.fps is None else None
    return Sampling(default if clip.num_frames is None else clip.num_frames, clip.fps, clip.start, clip.end)


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
        raise ContextLengthError(
            f"the input has {total:,} tokens, and the model's context holds {max_tokens:,}",
            fix="Shorten the text, as encode(..., truncate=True) and --truncate of `vlm2vec encode` and "
            "`vlm2vec search` do, or give fewer pages, frames or max_pixels.",
        )
    return shortened
