"""From one parsed input to what the network reads: token ids, positions and uint8 patches."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedTokenizerBase

from vlm2vec.encoding.pages import expand_documents
from vlm2vec.encoding.prompt import IMAGE_TOKEN, VIDEO_TOKEN, Control, Media, Plain, lay_out
from vlm2vec.errors import ContextLengthError, InputError, VLM2VecError
from vlm2vec.inputs.parts import Clip, Document, Image, Input
from vlm2vec.media.clip import Frames
from vlm2vec.media.frames import sample_frames
from vlm2vec.media.image import load_image
from vlm2vec.media.limits import Limits
from vlm2vec.media.patches import patchify
from vlm2vec.media.pdf import render_page
from vlm2vec.media.resize import fit, resize
from vlm2vec.media.source import Source
from vlm2vec.media.video import read_frames
from vlm2vec.modeling.positions import token_positions
from vlm2vec.profiles import Profile

__all__ = ["Prepared", "Preparer", "Visual"]

# Whether control tokens are plain text is a switch inside the tokenizer, which all threads share.
_TOKENISING = threading.Lock()


@dataclass(frozen=True, eq=False)
class Visual:
    """A picture, page or clip as patches.

    Attributes:
        patches: `(t * h * w, 1176)` uint8.
        grid: Patches in time, height and width.
        is_clip: Whether it stands at a `<|video_pad|>`.
    """

    patches: npt.NDArray[np.uint8]
    grid: tuple[int, int, int]
    is_clip: bool


@dataclass(frozen=True, eq=False)
class Prepared:
    """One input, ready to be packed.

    Attributes:
        token_ids: `(tokens,)`.
        positions: `(tokens, 3)`.
        visuals: In order of appearance.
    """

    token_ids: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    visuals: tuple[Visual, ...]


@dataclass(frozen=True, eq=False)
class Preparer:
    """Prepares inputs for one model.

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

    def __call__(self, item: Input, *, truncate: bool = False) -> Prepared:
        """Decode, resize and tokenise one input.

        Args:
            item: The parsed input.
            truncate: Shorten a text that does not fit the context, instead of refusing it.

        Raises:
            VLM2VecError: With the index and the source of the input.
        """
        try:
            return self._prepare(item, truncate)
        except VLM2VecError as error:
            raise error.at(item.index, item.describe()) from error.__cause__

    def _prepare(self, item: Input, truncate: bool) -> Prepared:
        merge = self.profile.pixels.merge_size
        pieces: list[_Piece] = []
        visuals = []
        for segment in lay_out(expand_documents(item, self.limits), self.profile):
            if isinstance(segment, Plain | Control):
                pieces.append(self._text_piece(segment))
                continue
            visual = self._see(segment)
            time, height, width = visual.grid
            grid = (time, height // merge, width // merge)
            token = self.tokenizer.convert_tokens_to_ids(VIDEO_TOKEN if visual.is_clip else IMAGE_TOKEN)
            count = int(np.prod(grid))
            pieces.append(_Piece([token] * count, grid, floor=count))
            visuals.append(visual)
        pieces = self._within_context(pieces, truncate)
        return Prepared(
            np.array([token for piece in pieces for token in piece.ids], dtype=np.int64),
            token_positions([piece.span for piece in pieces], self.profile.positions),
            tuple(visuals),
        )

    def _text_piece(self, segment: Plain | Control) -> _Piece:
        ids = self._token_ids(segment.text, plain=isinstance(segment, Plain))
        floor = len(ids)
        if isinstance(segment, Plain):
            # Something of the text itself must be left, not its instruction alone.
            floor = min(floor, len(self._token_ids(segment.text[: segment.uncut], plain=True)) + 1)
        return _Piece(ids, len(ids), floor)

    def _token_ids(self, text: str, *, plain: bool) -> Sequence[int]:
        with _TOKENISING:
            # verbose=False: transformers would warn of a long text beside our own error.
            ids: list[int] = self.tokenizer.encode(
                text, add_special_tokens=False, split_special_tokens=plain, verbose=False
            )
        return ids

    def _see(self, media: Media) -> Visual:
        frames = self._pixels(media)
        patches, grid = patchify(np.stack(frames), self.profile.pixels)
        return Visual(patches, grid, isinstance(media, Clip))

    def _pixels(self, media: Media) -> list[npt.NDArray[np.uint8]]:
        """Frames of one size: what the vision tower sees, one for a picture or a page."""
        rules, limits = self.profile.pixels, self.limits
        if isinstance(media, Image):
            image = load_image(media.content, alpha=rules.alpha, limits=limits)
            return [fit(image, rules, max_pixels=media.max_pixels)]
        if isinstance(media, Document):
            assert isinstance(media.pages, tuple)  # noqa: S101  # expand_documents has seen to it
            page = render_page(
                media.content,
                media.pages[0],
                rules,
                max_pixels=media.max_pixels,
                password=media.password,
                limits=limits,
            )
            return [page]
        frames = self._frames(media)
        first = fit(frames[0], rules, frame=True, max_pixels=media.max_pixels)
        return [first, *(resize(frame, *first.shape[:2]) for frame in frames[1:])]

    def _frames(self, clip: Clip) -> list[npt.NDArray[np.uint8]]:
        read: Callable[..., Frames] = read_frames if isinstance(clip.content, Source) else sample_frames
        default = self.profile.num_frames if clip.fps is None else None
        chosen = read(
            clip.content,
            num_frames=default if clip.num_frames is None else clip.num_frames,
            fps=clip.fps,
            start=clip.start,
            end=clip.end,
            alpha=self.profile.pixels.alpha,
            limits=self.limits,
        )
        return chosen.frames

    def _within_context(self, pieces: list[_Piece], truncate: bool) -> list[_Piece]:
        total = sum(len(piece.ids) for piece in pieces)
        if not total:
            raise InputError("there is nothing to embed", fix="Give a text, an instruction or media.")
        excess = total - self.max_tokens
        if excess <= 0:
            return pieces
        if truncate:
            pieces, excess = _shortened(pieces, excess)
        if excess > 0:
            raise ContextLengthError(
                f"the input has {total:,} tokens, and the model's context holds {self.max_tokens:,}",
                fix="Shorten the text or pass truncate=True, or give fewer pages, frames or max_pixels.",
            )
        return pieces


@dataclass(frozen=True)
class _Piece:
    """Tokens of one segment; `floor` is how many of the first truncation must leave."""

    ids: Sequence[int]
    span: int | tuple[int, int, int]
    floor: int


def _shortened(pieces: list[_Piece], excess: int) -> tuple[list[_Piece], int]:
    """Cut texts from the end; media, instructions and the last token, which is the one pooled, stay."""
    shortened = list(pieces)
    for place in reversed(range(len(pieces))):
        piece = pieces[place]
        tail = list(piece.ids[-1:]) if place == len(pieces) - 1 else []
        cut = min(excess, len(piece.ids) - len(tail) - piece.floor)
        if cut <= 0:
            continue
        excess -= cut
        ids = [*piece.ids[: len(piece.ids) - len(tail) - cut], *tail]
        shortened[place] = _Piece(ids, len(ids), piece.floor)
    return shortened, excess
