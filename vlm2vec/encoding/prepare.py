"""From planned inputs to what the network reads: media decoded, resized and cut into uint8 patches."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from vlm2vec.encoding.clips import is_sized_as_file, needs_times, sampling_of, ticks_of
from vlm2vec.encoding.pieces import MediaPiece, Piece, TextPiece, within_context
from vlm2vec.encoding.plan import Failed, Planned, Planner
from vlm2vec.encoding.positions import Span, token_positions
from vlm2vec.encoding.prompt import Media, unfolds
from vlm2vec.errors import VLM2VecError
from vlm2vec.inputs.parse import fetched, release
from vlm2vec.inputs.parts import Clip, Document, Image, Input
from vlm2vec.media.documents import render_page
from vlm2vec.media.frames import Frames, sample_frames
from vlm2vec.media.image import load_picture
from vlm2vec.media.patches import patchify
from vlm2vec.media.resize import FrameFit, fit
from vlm2vec.media.source import Source
from vlm2vec.media.tiles import Cut, Tiling
from vlm2vec.media.video import read_frames

__all__ = ["Prepared", "Preparer", "Visual"]


@dataclass(frozen=True, eq=False)
class Visual:
    """A picture, page or clip as patches.

    Attributes:
        patches: uint8, `(t * h * w, 3 * patch_size**2)` of a still, whose temporal slices are equal, and
            `(t * h * w, 3 * temporal_patch_size * patch_size**2)` of a clip; or tiles `(n, 3, side, side)`.
        grid: Patches in time, height and width.
        is_clip: Whether it stands at a `<|video_pad|>`. A clip that is shown as pictures does not: it is as
            many stills of one size, one after the other.
        digest: Equal for equal patches at equal places, wherever they came from.
        times: Seconds of each frame of a clip; empty where there is no clock, or nobody asks for it.
        ticks: How far apart two time steps are in its positions, where they tell time.
        cuts: The pictures that tiles were cut from, in order; none of a clip or of patches.
    """

    patches: npt.NDArray[np.uint8]
    grid: tuple[int, int, int]
    is_clip: bool
    digest: bytes
    times: tuple[float, ...] = ()
    ticks: int = 0
    cuts: tuple[Cut, ...] = ()

    @property
    def grids(self) -> list[tuple[int, int, int]]:
        """The grid of a clip, or of each still."""
        time, height, width = self.grid
        return [self.grid] if self.is_clip else [(1, height, width)] * time


@dataclass(frozen=True, eq=False)
class Prepared:
    """One input, ready to be packed.

    Attributes:
        token_ids: `(tokens,)`.
        positions: `(tokens, 3)`.
        visuals: In order of appearance.
        is_media: `(tokens,)`, whether a token stands for a part of a visual.
        item: What it was made from.
        sized: Where the number of tokens of media is known from their features alone: gives the input with
            it, for the tokens of each picture of each visual, by digest; till then they are as many as
            patches.
    """

    token_ids: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    visuals: tuple[Visual, ...]
    is_media: npt.NDArray[np.bool_]
    item: Input
    sized: Callable[[Mapping[bytes, Sequence[int]]], Prepared] | None = None

    @property
    def cost(self) -> int:
        """Tokens and patches."""
        return len(self.token_ids) + sum(prod(visual.grid) for visual in self.visuals)


@dataclass(frozen=True, eq=False)
class Preparer:
    """Prepares inputs for one model.

    Attributes:
        planner: Knows the tokenizer, the profile and the limits.
    """

    planner: Planner

    def __call__(self, item: Input, *, truncate: bool = False) -> Prepared:
        """Decode, resize and tokenise one input.

        Raises:
            VLM2VecError: With the index and the source of the input.
        """
        return self.prepare_all([item], truncate=truncate)[0]

    def prepare_all(self, items: Sequence[Input], *, truncate: bool = False) -> list[Prepared]:
        """Prepare several inputs, one after the other.

        Raises:
            VLM2VecError: The first that an input gave, with its index and source.
        """
        prepared = []
        arrived = [fetched(item) for item in items]
        for planned in self.planner.plan(list(enumerate(arrived)), truncate=truncate, measure=False):
            if isinstance(planned, Failed):
                raise planned.error
            visuals = {key: self.decode(piece.part) for key, piece in planned.media.items()}
            release(planned.item)
            ready = self.lay_out(planned, visuals)
            if isinstance(ready, VLM2VecError):
                raise ready
            prepared.append(ready)
        return prepared

    def decode(self, media: Media) -> Visual | VLM2VecError:
        """The patches of a medium, or what is wrong with it."""
        profile = self.planner.profile
        if self.planner.tiling is not None:
            return self._decode_tiles(media, self.planner.tiling)
        is_clip = isinstance(media, Clip) and profile.clip != "images"
        # Of the two temporal slices of a still, which are equal, one.
        rules = profile.pixels if is_clip else replace(profile.pixels, temporal_patch_size=1)
        try:
            pixels, times = self._frames(media) if isinstance(media, Clip) else (self._picture(media), ())
            patches, grid = patchify(pixels, rules)
        except VLM2VecError as error:
            return error.without_frames()
        ticks = ticks_of(media, times, profile) if isinstance(media, Clip) else 0
        hashed = hashlib.blake2b(repr((grid, is_clip, ticks)).encode(), digest_size=16)
        hashed.update(patches.data)
        return Visual(patches, grid, is_clip, hashed.digest(), times, ticks)

    def lay_out(
        self, planned: Planned, visuals: Mapping[Hashable, Visual | VLM2VecError]
    ) -> Prepared | VLM2VecError:
        """An input with what its media turned out to be, which may be less than was planned.

        Args:
            planned: The input.
            visuals: For the key of each of its media.
        """
        try:
            return self._laid_out(planned, visuals)
        except VLM2VecError as error:
            return error.at(planned.item.index, planned.item.describe())

    def _laid_out(self, planned: Planned, visuals: Mapping[Hashable, Visual | VLM2VecError]) -> Prepared:
        seen = dict[Hashable, Visual]()
        for key in planned.media:
            visual = visuals[key]
            if isinstance(visual, VLM2VecError):
                raise visual.copy() from visual.__cause__
            seen[key] = visual
        pieces = self._pieces(planned, seen)
        if self.planner.tiling is not None and seen:
            prepared = self._joined(planned, pieces, seen)
            return replace(prepared, sized=partial(self._sized, planned, pieces, seen))
        pieces = within_context(pieces, self.planner.max_tokens, truncate=planned.truncate)
        return self._joined(planned, pieces, seen)

    def _sized(
        self,
        planned: Planned,
        pieces: Sequence[Piece],
        seen: Mapping[Hashable, Visual],
        counts: Mapping[bytes, Sequence[int]],
    ) -> Prepared:
        """An input, when it is known how many tokens each picture of its media has."""

        def sized(piece: Piece) -> Piece:
            if isinstance(piece, TextPiece):
                return piece
            of_pictures = counts[seen[piece.key].digest]
            return replace(piece, tokens=sum(of_pictures) if piece.step is None else of_pictures[piece.step])

        try:
            pieces = within_context(
                [sized(piece) for piece in pieces], self.planner.max_tokens, truncate=planned.truncate
            )
        except VLM2VecError as error:
            raise error.at(planned.item.index, planned.item.describe()) from None
        return self._joined(planned, pieces, seen)

    def _joined(self, planned: Planned, pieces: Sequence[Piece], seen: Mapping[Hashable, Visual]) -> Prepared:
        """The tokens of the pieces and their positions."""
        profile, layout = self.planner.profile, self.planner.layout
        merge = profile.pixels.merge_size
        pads = {False: self._id(layout.image_token), True: self._id(layout.video_token)}
        ids = [
            piece.ids
            if isinstance(piece, TextPiece)
            else np.full(piece.tokens, pads[seen[piece.key].is_clip])
            for piece in pieces
        ]
        has_grid = self.planner.tiling is None
        spans: list[Span] = [
            (*piece.span(merge), seen[piece.key].ticks)
            if isinstance(piece, MediaPiece) and has_grid
            else piece.tokens
            for piece in pieces
        ]
        return Prepared(
            np.concatenate([np.asarray(row, dtype=np.int64) for row in ids]),
            token_positions(spans, profile.positions),
            tuple(seen[piece.key] for piece in pieces if isinstance(piece, MediaPiece) and piece.is_first),
            np.repeat([isinstance(piece, MediaPiece) for piece in pieces], [len(row) for row in ids]),
            planned.item,
        )

    def _pieces(self, planned: Planned, seen: Mapping[Hashable, Visual]) -> Sequence[Piece]:
        """The pieces with what came of the media; texts are written again where they tell of it."""

        def came(piece: MediaPiece) -> MediaPiece:
            visual = seen[piece.key]
            return piece.measured(visual.grid, visual.times, self.planner.profile.pixels.merge_size)

        is_as_planned = all(
            (piece.grid, piece.times) == (seen[piece.key].grid, seen[piece.key].times)
            for piece in planned.pieces
            if isinstance(piece, MediaPiece)
        )
        if is_as_planned:
            return planned.pieces
        if not any(unfolds(piece.part, self.planner.profile) for piece in planned.media.values()):
            return [came(piece) if isinstance(piece, MediaPiece) else piece for piece in planned.pieces]
        prompt = [came(part) if isinstance(part, MediaPiece) else part for part in planned.prompt]
        return self.planner.pieces([prompt], truncate=planned.truncate)[0]

    def _id(self, token: str | None) -> int:
        if token is None:
            return -1
        found: int = self.planner.tokenizer.convert_tokens_to_ids(token)
        return found

    def _decode_tiles(self, media: Media, tiling: Tiling) -> Visual | VLM2VecError:
        """The tiles of a medium, or what is wrong with it."""
        rules, limits = self.planner.profile.pixels, self.planner.limits
        is_clip = isinstance(media, Clip) and self.planner.profile.clip == "block"
        times: tuple[float, ...] = ()
        try:
            if isinstance(media, Clip):
                frames = self._sampled(media)
                pictures: Sequence[Any] = frames.frames
                times = tuple(frames.times) if needs_times(self.planner.profile) else ()
            elif isinstance(media, Image):
                pictures = [load_picture(media.content, alpha=rules.alpha, limits=limits)]
            else:
                pictures = [self._page(media)]
            cut = [] if is_clip else [tiling.cut(picture, rules, media.max_pixels) for picture in pictures]
        except VLM2VecError as error:
            return error.without_frames()
        tiles = tiling.frames(pictures) if is_clip else np.concatenate([part for part, _ in cut])
        cuts = tuple(size for _, size in cut)
        per_picture = tiling.read(cuts[0]) if cuts else 1
        hashed = hashlib.blake2b(repr((cuts, is_clip)).encode(), digest_size=16)
        hashed.update(tiles.data)
        grid = (len(pictures), per_picture * tiling.patches, tiling.patches)
        return Visual(tiles, grid, is_clip, hashed.digest(), times, cuts=cuts)

    def _picture(self, media: Image | Document) -> npt.NDArray[np.uint8]:
        """The pixels of a picture or page, `(1, H, W, 3)`."""
        rules, limits = self.planner.profile.pixels, self.planner.limits
        if isinstance(media, Image):
            picture = load_picture(media.content, alpha=rules.alpha, limits=limits)
            return fit(picture, rules, max_pixels=media.max_pixels)[None]
        return self._page(media)[None]

    def _page(self, media: Document) -> npt.NDArray[np.uint8]:
        """The pixels of a page, `(H, W, 3)`."""
        assert isinstance(media.pages, tuple)  # noqa: S101  # expand_documents makes it one
        return render_page(
            media.content,
            media.pages[0],
            self.planner.page_rules,
            max_pixels=media.max_pixels,
            password=media.password,
            limits=self.planner.limits,
        )

    def _frames(self, clip: Clip) -> tuple[npt.NDArray[np.uint8], tuple[float, ...]]:
        """The pixels of a clip, `(frames, H, W, 3)`, and where they are asked for its seconds."""
        profile = self.planner.profile
        of_file = is_sized_as_file(clip, profile)
        fitted = FrameFit(profile.pixels, of_file=of_file, max_pixels=clip.max_pixels)
        frames = self._sampled(clip, fit=fitted)
        return np.stack(frames.frames), tuple(frames.times) if needs_times(profile) else ()

    def _sampled(self, clip: Clip, **fit: FrameFit) -> Frames:
        """The frames of a clip that are shown, as they are, or with `fit` resized as they come."""
        profile, limits = self.planner.profile, self.planner.limits
        read: Callable[..., Frames] = read_frames if isinstance(clip.content, Source) else sample_frames
        return read(
            clip.content,
            sampling_of(clip, profile),
            alpha=profile.pixels.alpha,
            limits=limits,
            frame_rate=clip.frame_rate,
            **fit,
        )
