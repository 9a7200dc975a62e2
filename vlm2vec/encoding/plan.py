"""What inputs will cost, known from their texts and headers alone.

Nothing is decoded here. Where fewer frames come out of a clip than its packets promise, the input has
fewer tokens than planned; `vlm2vec.encoding.prepare` lays it out by what came.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeAlias

from transformers import PreTrainedTokenizerBase

from vlm2vec.backbones.layout import Layout
from vlm2vec.backbones.registry import LAYOUTS
from vlm2vec.encoding.clips import (
    Words,
    frames_per_step,
    is_file,
    is_sized_as_file,
    needs_times,
    sampling_of,
    unfolded,
)
from vlm2vec.encoding.long_text import LongTexts
from vlm2vec.encoding.pages import expand_documents
from vlm2vec.encoding.pieces import MediaPiece, Piece, TextPiece, within_context
from vlm2vec.encoding.prompt import Control, Media, Plain, Segment, lay_out
from vlm2vec.errors import ContextLengthError, VLM2VecError
from vlm2vec.fork import free_after_fork
from vlm2vec.inputs.parse import release
from vlm2vec.inputs.parts import Clip, Document, Image, Input
from vlm2vec.media.deadline import raise_if_cancelled
from vlm2vec.media.documents import page_size_in_pixels
from vlm2vec.media.limits import Limits
from vlm2vec.media.pixels import PixelRules
from vlm2vec.media.probe import image_size
from vlm2vec.media.resize import frame_size, target_size
from vlm2vec.media.tiles import Tiling
from vlm2vec.media.video import clip_shape
from vlm2vec.profiles import Profile
from vlm2vec.sameness import media_key

__all__ = ["Failed", "Planned", "Planner"]

Prompt: TypeAlias = list[Words | MediaPiece]

# Texts, and characters but for the last text; their tokens come as Python lists, and that is megabytes.
_TOKENISED_AT_ONCE = 128, 200_000

# Characters of a text without a place to cut, such as a sequence of genes, that is tokenised to truncate it.
_TRUNCATED_WHOLE = 2**20

# Times the context: an eighth of a clip may turn out to be there, and not all of what is in tiles counts.
_FAR_TOO_MUCH = 8

# Whether control tokens are plain text is a switch inside the tokenizer, which all threads share.
_TOKENISING = free_after_fork(threading.Lock())


@dataclass(frozen=True, eq=False, slots=True)
class Planned:
    """One input whose cost is known.

    Attributes:
        index: Where its row belongs.
        item: The input.
        pieces: Its prompt in order.
        tokens: Tokens, media included.
        truncate: Whether its texts may be shortened.
        prompt: What the pieces were made of, its media whole: where less of a clip comes than was planned,
            they are made again.
    """

    index: int
    item: Input
    pieces: tuple[Piece, ...]
    tokens: int
    truncate: bool
    prompt: Sequence[Words | MediaPiece] = ()

    @property
    def media(self) -> dict[Hashable, MediaPiece]:
        """Its media, each once, in order."""
        return {piece.key: piece for piece in self.pieces if isinstance(piece, MediaPiece)}

    @property
    def cost(self) -> int:
        """Tokens and patches, alone."""
        return self.tokens + sum(piece.patches for piece in self.media.values())


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
        tiling: How pictures are cut into tiles; `None` where into patches. Of a picture in tiles, the number
            of tokens is known from its features alone; planned is how many patches the tower reads.
        start_ids: The token that begins a text, where the profile has one (`bos`).
    """

    tokenizer: PreTrainedTokenizerBase
    profile: Profile
    limits: Limits
    max_tokens: int
    tiling: Tiling | None = None
    start_ids: Sequence[int] = ()

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
        known = self._known(layouts, run if measure else None)
        prompts = [
            _measured_prompt(item, layout, known) for (_, item), layout in zip(items, layouts, strict=True)
        ]
        readable = [prompt for prompt in prompts if isinstance(prompt, list)]
        pieces = iter(self.pieces(readable, truncate=truncate))
        planned: list[Planned | Failed] = []
        for (index, item), prompt in zip(items, prompts, strict=True):
            if isinstance(item, VLM2VecError):
                planned.append(Failed(index, item))
                continue
            if isinstance(prompt, VLM2VecError):
                planned.append(Failed(index, prompt))
                continue
            own = next(pieces)
            try:
                shown = self._shown(own, truncate=truncate)
            except VLM2VecError as error:
                release(item)
                planned.append(Failed(index, error.at(item.index, item.describe())))
            else:
                tokens = sum(piece.tokens for piece in shown)
                planned.append(Planned(index, item, tuple(own), tokens, truncate, tuple(prompt)))
        return planned

    @property
    def page_rules(self) -> PixelRules:
        """Pixel rules by which a page is drawn; where pictures are cut into tiles, any size will do."""
        rules = self.profile.pixels
        return rules if self.tiling is None else replace(rules, patch_size=1, merge_size=1, min_pixels=1)

    @property
    def layout(self) -> Layout:
        """What is known of the network without torch."""
        return LAYOUTS[self.profile.network]

    def pieces(self, prompts: Sequence[Prompt], *, truncate: bool) -> list[list[Piece]]:
        """The pieces of each prompt: clips in as many blocks as their grids say, texts tokenised."""
        shown = [unfolded(prompt, self.profile) for prompt in prompts]
        words = [part for prompt in shown for part in prompt if isinstance(part, Words)]
        texts = self._tokenised(words, truncate=truncate)
        pieces = [
            [part if isinstance(part, MediaPiece) else texts[part] for part in prompt] for prompt in shown
        ]
        return [self._started(prompt) for prompt in pieces] if self.start_ids else pieces

    def _started(self, pieces: list[Piece]) -> list[Piece]:
        """The pieces, with the token that begins a text before them, or before each text."""
        if not pieces:
            return pieces
        start = TextPiece(self.start_ids, len(self.start_ids))
        started: list[Piece] = [start]
        for piece in pieces:
            started.append(piece)
            if self.profile.bos == "texts" and isinstance(piece, MediaPiece):
                started.append(start)
        return started

    def _known(
        self,
        layouts: Sequence[list[Segment] | VLM2VecError],
        run: Callable[..., Iterable[Any]] | None,
    ) -> dict[int, MediaPiece | VLM2VecError]:
        """For the `id` of each medium its piece, measured unless `run` is `None`; equal media have one."""
        media = [
            MediaPiece(part, media_key(part))
            for layout in layouts
            if isinstance(layout, list)
            for part in layout
            if isinstance(part, Media)
        ]
        pieces: dict[Hashable, MediaPiece | VLM2VecError] = {piece.key: piece for piece in media}
        if run is not None:
            pieces = dict(zip(pieces, run(self._measured, pieces.values()), strict=True))
        return {id(piece.part): pieces[piece.key] for piece in media}

    def _shown(self, pieces: list[Piece], *, truncate: bool) -> list[Piece]:
        """The pieces within the context; whether a video file fits is known only when it is decoded.

        Whether media in tiles fit is known later still, and here their texts alone are looked at. What is
        far too much is refused before its frames take memory.
        """
        may_fit = sum(piece.tokens for piece in pieces) <= _FAR_TOO_MUCH * self.max_tokens
        if may_fit and self.tiling is not None and any(isinstance(piece, MediaPiece) for piece in pieces):
            if texts := [piece for piece in pieces if isinstance(piece, TextPiece)]:
                within_context(texts, self.max_tokens, truncate=truncate)
            return pieces
        try:
            return within_context(pieces, self.max_tokens, truncate=truncate)
        except ContextLengthError:
            parts = [piece.part for piece in pieces if isinstance(piece, MediaPiece)]
            if may_fit and any(isinstance(part, Clip) and is_file(part) for part in parts):
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

    def _tokenised(self, words: Iterable[Words], *, truncate: bool) -> dict[Words, TextPiece]:
        """Tokens of each text."""
        pieces: dict[Words, TextPiece] = {}
        texts = dict.fromkeys(words)
        for plain in (True, False):
            kind: dict[Words, Words] = {}
            for text in texts:
                if isinstance(text, Plain) != plain:
                    continue
                shortened = self._long_texts.shortened(text)
                if shortened is None and truncate and plain and len(text.text) <= _TRUNCATED_WHOLE:
                    shortened = text
                if shortened is None:
                    pieces[text] = self._too_long
                else:
                    kind[text] = shortened
            # Something of the text itself must be left, not its instruction alone.
            uncut = [_uncut(text) for text in kind.values()]
            ends = list(dict.fromkeys(end for both in uncut for end in both))
            ids = self._token_ids([text.text for text in kind.values()], plain=plain)
            kept = dict(zip(ends, map(len, self._token_ids(ends, plain=plain)), strict=True))
            for (text, shortened), token_ids, (head, tail) in zip(kind.items(), ids, uncut, strict=True):
                floor = min(len(token_ids), kept[head] + 1) if plain else len(token_ids)
                pieces[text] = TextPiece(token_ids, floor, kept[tail], is_part=shortened is not text)
        return pieces

    @cached_property
    def _long_texts(self) -> LongTexts:
        return LongTexts(self.tokenizer, self.max_tokens, self._token_ids)

    @property
    def _too_long(self) -> TextPiece:
        """In place of a text that is too long to be tokenised: more than the context, and none may be cut."""
        count = self.max_tokens + 1
        return TextPiece(array("i", [0]) * count, count, is_part=True)

    def _token_ids(self, texts: list[str], *, plain: bool) -> list[Sequence[int]]:
        ids: list[Sequence[int]] = []
        for some in _some_at_a_time(texts):
            raise_if_cancelled()
            with _TOKENISING:
                # verbose=False: transformers would warn of a long text beside our own error.
                encoded = self.tokenizer(
                    some,
                    add_special_tokens=False,
                    split_special_tokens=plain,
                    return_attention_mask=False,
                    verbose=False,
                )["input_ids"]
            ids += [array("i", row) for row in encoded]
        return ids

    def _measured(self, piece: MediaPiece) -> MediaPiece | VLM2VecError:
        rules, tiling = self.profile.pixels, self.tiling
        try:
            time, (height, width), times = self._shape(piece.part)
        except VLM2VecError as error:
            return error.without_frames()
        if tiling is not None:
            is_block = isinstance(piece.part, Clip) and self.profile.clip == "block"
            tiles = 1 if is_block else tiling.count(height, width, rules, piece.part.max_pixels)
            return piece.measured((time, tiles * tiling.patches, tiling.patches), times, rules.merge_size)
        return piece.measured(
            (time, height // rules.patch_size, width // rules.patch_size), times, rules.merge_size
        )

    def _shape(self, media: Media) -> tuple[int, tuple[int, int], tuple[float, ...]]:
        """Time steps, height and width in pixels, and the seconds of its frames.

        A size is that for the vision tower, or where pictures are cut into tiles that of what is cut.
        """
        rules, limits, tiling = self.profile.pixels, self.limits, self.tiling
        if isinstance(media, Document):
            assert isinstance(media.pages, tuple)  # noqa: S101  # expand_documents makes it one
            size = page_size_in_pixels(
                media.content,
                media.pages[0],
                self.page_rules,
                max_pixels=media.max_pixels,
                password=media.password,
                limits=limits,
            )
            return 1, size, ()
        if isinstance(media, Image):
            size = image_size(media.content, limits=limits)
            if tiling is not None:
                return 1, tiling.size(*size, rules, media.max_pixels), ()
            return 1, target_size(*size, rules, max_pixels=media.max_pixels), ()
        timed = needs_times(self.profile)
        shape = clip_shape(
            media.content,
            sampling_of(media, self.profile),
            limits=limits,
            frame_rate=media.frame_rate,
            timed=timed,
        )
        if tiling is not None:
            size = tiling.size(shape.height, shape.width, rules, media.max_pixels)
            return shape.frames, size, shape.times if timed else ()
        size = frame_size(
            shape.height,
            shape.width,
            rules,
            count=shape.frames,
            of_file=is_sized_as_file(media, self.profile),
            max_pixels=media.max_pixels,
        )
        steps = -(-shape.frames // frames_per_step(self.profile))
        return steps, size, shape.times if timed else ()


def _measured_prompt(
    item: Input | VLM2VecError,
    layout: list[Segment] | VLM2VecError,
    known: Mapping[int, MediaPiece | VLM2VecError],
) -> Prompt | VLM2VecError:
    """The prompt with the pieces of its media, or what is wrong with one."""
    if isinstance(item, VLM2VecError):
        return item
    if isinstance(layout, VLM2VecError):
        return layout
    try:
        return [_own(part, known[id(part)]) if isinstance(part, Media) else part for part in layout]
    except VLM2VecError as error:
        release(item)
        return error.at(item.index, item.describe())


def _some_at_a_time(texts: Iterable[str]) -> Iterator[list[str]]:
    some: list[str] = []
    most, characters = _TOKENISED_AT_ONCE
    for text in texts:
        some.append(text)
        if len(some) == most or sum(map(len, some)) > characters:
            yield some
            some = []
    if some:
        yield some


def _uncut(text: Words) -> tuple[str, str]:
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
