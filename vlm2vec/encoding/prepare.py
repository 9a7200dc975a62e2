"""From planned inputs to what the network reads: media decoded, resized and cut into uint8 patches."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from vlm2vec.encoding.plan import (
    Failed,
    MediaPiece,
    Planned,
    Planner,
    TextPiece,
    sampling_of,
    within_context,
)
from vlm2vec.encoding.positions import token_positions
from vlm2vec.encoding.prompt import IMAGE_TOKEN, VIDEO_TOKEN, Media
from vlm2vec.errors import VLM2VecError
from vlm2vec.inputs.parse import fetched, release
from vlm2vec.inputs.parts import Clip, Document, Image, Input
from vlm2vec.media.frames import Frames, sample_frames
from vlm2vec.media.image import load_picture
from vlm2vec.media.patches import patchify
from vlm2vec.media.pdf import render_page
from vlm2vec.media.resize import fit, resize
from vlm2vec.media.source import Source
from vlm2vec.media.video import read_frames

__all__ = ["Prepared", "Preparer", "Visual"]


@dataclass(frozen=True, eq=False)
class Visual:
    """A picture, page or clip as patches.

    Attributes:
        patches: uint8, `(t * h * w, 588)` of a still, whose two temporal slices are equal, and
            `(t * h * w, 1176)` of a clip.
        grid: Patches in time, height and width.
        is_clip: Whether it stands at a `<|video_pad|>`.
        digest: Equal for equal patches, wherever they came from.
    """

    patches: npt.NDArray[np.uint8]
    grid: tuple[int, int, int]
    is_clip: bool
    digest: bytes


@dataclass(frozen=True, eq=False)
class Prepared:
    """One input, ready to be packed.

    Attributes:
        token_ids: `(tokens,)`.
        positions: `(tokens, 3)`.
        visuals: In order of appearance.
        is_media: `(tokens,)`, whether a token stands for a part of a visual.
        item: What it was made from.
    """

    token_ids: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    visuals: tuple[Visual, ...]
    is_media: npt.NDArray[np.bool_]
    item: Input

    @property
    def cost(self) -> int:
        """Tokens and patches."""
        return len(self.token_ids) + sum(len(visual.patches) for visual in self.visuals)


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
        rules, is_clip = self.planner.profile.pixels, isinstance(media, Clip)
        if not is_clip:
            # Of the two temporal slices of a still, which are equal, one.
            rules = replace(rules, temporal_patch_size=1)
        try:
            patches, grid = patchify(self._pixels(media), rules)
        except VLM2VecError as error:
            return error.without_frames()
        hashed = hashlib.blake2b(repr((grid, is_clip)).encode(), digest_size=16)
        hashed.update(patches.data)
        return Visual(patches, grid, is_clip, hashed.digest())

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
        merge = self.planner.profile.pixels.merge_size
        pieces: list[TextPiece | MediaPiece] = []
        shown = []
        for piece in planned.pieces:
            if isinstance(piece, MediaPiece):
                visual = visuals[piece.key]
                if isinstance(visual, VLM2VecError):
                    raise visual.copy() from visual.__cause__
                shown.append(visual)
                time, height, width = visual.grid
                merged = (time, height // merge, width // merge)
                pieces.append(MediaPiece(piece.part, piece.key, merged, int(np.prod(merged))))
            else:
                pieces.append(piece)
        pieces = within_context(pieces, self.planner.max_tokens, truncate=planned.truncate)
        pads = {False: self._id(IMAGE_TOKEN), True: self._id(VIDEO_TOKEN)}
        ids = [
            piece.ids
            if isinstance(piece, TextPiece)
            else np.full(piece.tokens, pads[isinstance(piece.part, Clip)])
            for piece in pieces
        ]
        return Prepared(
            np.concatenate([np.asarray(row, dtype=np.int64) for row in ids]),
            token_positions(
                [piece.tokens if isinstance(piece, TextPiece) else piece.grid for piece in pieces],
                self.planner.profile.positions,
            ),
            tuple(shown),
            np.repeat([isinstance(piece, MediaPiece) for piece in pieces], [len(row) for row in ids]),
            planned.item,
        )

    def _id(self, token: str) -> int:
        found: int = self.planner.tokenizer.convert_tokens_to_ids(token)
        return found

    def _pixels(self, media: Media) -> npt.NDArray[np.uint8]:
        """The pixels of a medium, `(frames, H, W, 3)`: one frame of a picture or a page."""
        rules, limits = self.planner.profile.pixels, self.planner.limits
        if isinstance(media, Image):
            picture = load_picture(media.content, alpha=rules.alpha, limits=limits)
            return fit(picture, rules, max_pixels=media.max_pixels)[None]
        if isinstance(media, Document):
            assert isinstance(media.pages, tuple)  # noqa: S101  # expand_documents makes it one
            page = render_page(
                media.content,
                media.pages[0],
                rules,
                max_pixels=media.max_pixels,
                password=media.password,
                limits=limits,
            )
            return page[None]
        read: Callable[..., Frames] = read_frames if isinstance(media.content, Source) else sample_frames
        sampling = sampling_of(media, self.planner.profile)
        frames = read(media.content, sampling, alpha=rules.alpha, limits=limits).frames
        first = fit(frames[0], rules, frame=True, max_pixels=media.max_pixels)
        return np.stack([first, *(resize(frame, *first.shape[:2]) for frame in frames[1:])])
