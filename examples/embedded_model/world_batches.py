"""What one step of training sees: scenes, clips and pages with their truth, packed into one row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from embedded_model.dense_targets import dense_targets, ink_targets, letter_targets
from vlm2vec.encoding.positions import token_positions
from vlm2vec.media.patches import patchify
from vlm2vec.media.pixels import PixelRules
from vlm2vec.media.resize import fit
from vlm2vec.profiles import Profile
from vlm2vec.world.captions import describe, full_caption
from vlm2vec.world.clips import Clip
from vlm2vec.world.ink import with_ink
from vlm2vec.world.items import Item, any_clip, any_page, any_scene
from vlm2vec.world.pages import Page
from vlm2vec.world.scenes import Scene, with_unnamed_colours
from vlm2vec.world.twins import twin
from vlm2vec.world.vocabulary import COUNTS

__all__ = ["ItemCounts", "WorldCollator", "pack_world"]

NO_LABEL = -100
"""Where a token is not to be predicted; what torch's cross entropy leaves out."""

_INSTRUCTED = 0.75
"""Share of documents and queries that carry the default instruction."""

_UNNAMED = 0.4
"""Share of scenes in colours that have no name."""

_IN_FULL = 0.5
"""Share of queries that say all there is, as the captions of documents do."""


@dataclass(frozen=True)
class ItemCounts:
    """How many of each kind a step sees."""

    scenes: int
    clips: int
    pages: int


@dataclass(frozen=True)
class WorldCollator:
    """Draws the batch of a step; called by the trainer's data loader.

    Attributes:
        tokenizer: Of the model.
        profile: Prompt layout and pixel rules of the model.
        counts: How many of each kind.
        seed: Of all batches.
        with_captions: Whether there are captions, or pictures alone.
    """

    tokenizer: PreTrainedTokenizerBase
    profile: Profile
    counts: ItemCounts
    seed: int
    with_captions: bool
    valid_label_columns: tuple[str, ...] = ()

    def __call__(self, rows: Sequence[dict[str, int]]) -> dict[str, Tensor]:
        """The batch of the step that the one row names.

        Returns:
            The features of `pack_world`, their names led by `world_`, by which sentence-transformers' trainer
            knows them as one input.
        """
        rng = np.random.default_rng([self.seed, rows[0]["step"]])
        items = _draw(self.counts, rng)
        features = pack_world(items, self.tokenizer, self.profile, rng, with_captions=self.with_captions)
        return {f"world_{name}": tensor for name, tensor in features.items()}


def pack_world(
    items: Sequence[Item],
    tokenizer: PreTrainedTokenizerBase,
    profile: Profile,
    rng: np.random.Generator,
    *,
    with_captions: bool,
) -> dict[str, Tensor]:
    """Everything that the loss needs to know of a batch.

    Args:
        items: Some of each kind, scenes first and clips last.
        tokenizer: Of the model.
        profile: Of the model.
        rng: Chooses wordings, instructions and small changes of brightness.
        with_captions: Whether to add prompts: each item with its caption, and texts about the items.

    Returns:
        `pixel_values` `(patches, 1176)` uint8 and `grids` `(n, 3)`; `dense` `(media tokens, 6)`, `ink`
        `(tokens of scenes and clips, 49)` and `letters` `(tokens of pages, 35)`. With captions also a packed
        row of `n` documents, each followed by its caption, and `n` queries: `input_ids` `(tokens,)`,
        `position_ids` `(tokens, 3)`, `lengths` `(2n,)`, `labels` `(tokens,)`, the token that comes next in a
        caption, `pooled` `(2n,)`, the place of each vector, and `words`, the different tokens of each caption
        or query one behind the other, `word_counts` `(2n,)` of each.
    """
    visuals = [patchify(_frames(item, profile.pixels, rng), profile.pixels) for item in items]
    features = {
        "pixel_values": _rows([patches for patches, _ in visuals]),
        "grids": torch.tensor([grid for _, grid in visuals]),
        "dense": _rows([dense_targets(item) for item in items]),
        "ink": _rows([ink_targets(item) for item in items if not isinstance(item, Page)]),
        "letters": _rows([letter_targets(item) for item in items if isinstance(item, Page)]),
    }
    if not with_captions:
        return features
    grids = [(time, height // 2, width // 2) for _, (time, height, width) in visuals]
    writer = _Writer(tokenizer, profile)
    prompts = [
        writer.captioned(item, grid, instructed=bool(rng.random() < _INSTRUCTED))
        for item, grid in zip(items, grids, strict=True)
    ]
    asked = [full_caption(item) if rng.random() < _IN_FULL else describe(item, rng) for item in items]
    prompts += sorted(
        (writer.query(text, instructed=bool(rng.random() < _INSTRUCTED)) for text in asked),
        key=lambda prompt: len(prompt.ids),
    )
    return features | _packed(prompts)


@dataclass(frozen=True)
class _Prompt:
    ids: list[int]
    spans: list[int | tuple[int, int, int]]
    labels: list[int]
    pooled: int
    words: list[int]

    def lengthened(self, length: int) -> _Prompt:
        """The prompt with filling at its end, which no token before it can see."""
        missing = length - len(self.ids)
        filling, unlabelled = [self.ids[-1]] * missing, [NO_LABEL] * missing
        return _Prompt(
            self.ids + filling, [*self.spans, missing], self.labels + unlabelled, self.pooled, self.words
        )


@dataclass(frozen=True)
class _Writer:
    """Prompts as the model's own profile lays them out (`vlm2vec.encoding.prompt`)."""

    tokenizer: PreTrainedTokenizerBase
    profile: Profile

    def captioned(self, item: Item, grid: tuple[int, int, int], *, instructed: bool) -> _Prompt:
        """The item as a document, and behind its pooled token a caption to predict."""
        profile = self.profile
        instruction = f"{profile.document_instruction}{profile.instruction_joiner}" if instructed else ""
        before = self._encode(instruction) + self._encode(profile.media_start)
        pad = self._encode("<|video_pad|>" if isinstance(item, Clip) else "<|image_pad|>")
        after = self._encode(profile.media_end + profile.suffix)
        caption = self._encode(" " + full_caption(_from_left_to_right(item))) + self._encode(profile.suffix)
        prompt = before + pad * int(np.prod(grid)) + after
        labels = [NO_LABEL] * (len(prompt) - 1) + caption + [NO_LABEL]
        spans: list[int | tuple[int, int, int]] = [len(before), grid, len(after) + len(caption)]
        return _Prompt(prompt + caption, spans, labels, len(prompt) - 1, sorted(set(caption[:-1])))

    def query(self, text: str, *, instructed: bool) -> _Prompt:
        """A text, of which nothing is predicted but which words are in it."""
        instruction = (
            f"{self.profile.query_instruction}{self.profile.instruction_joiner}" if instructed else ""
        )
        ids = self._encode(instruction + text) + self._encode(self.profile.suffix)
        words = sorted(set(self._encode(" " + text)))
        return _Prompt(ids, [len(ids)], [NO_LABEL] * len(ids), len(ids) - 1, words)

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids


def _packed(prompts: Sequence[_Prompt]) -> dict[str, Tensor]:
    # Neighbours of equal length are one call of the attention kernel, so lengths are made few.
    longer = [prompt.lengthened(_longest(prompts, like=prompt)) for prompt in prompts]
    starts = np.cumsum([0, *(len(prompt.ids) for prompt in longer[:-1])])
    return {
        "input_ids": torch.tensor([token for prompt in longer for token in prompt.ids]),
        "position_ids": _rows([token_positions(prompt.spans, "mrope") for prompt in longer]),
        "lengths": torch.tensor([len(prompt.ids) for prompt in longer]),
        "labels": torch.tensor([label for prompt in longer for label in prompt.labels]),
        "pooled": torch.tensor([start + prompt.pooled for start, prompt in zip(starts, longer, strict=True)]),
        "words": torch.tensor([word for prompt in longer for word in prompt.words]),
        "word_counts": torch.tensor([len(prompt.words) for prompt in longer]),
    }


def _rows(parts: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.concatenate(parts))


def _longest(prompts: Sequence[_Prompt], *, like: _Prompt) -> int:
    """Tokens of the longest prompt with the same picture size."""
    if len(like.spans) == 1:
        return -(-len(like.ids) // 4) * 4
    return max(len(prompt.ids) for prompt in prompts if prompt.spans[1:2] == like.spans[1:2])


def _draw(counts: ItemCounts, rng: np.random.Generator) -> list[Item]:
    clips = [any_clip(rng) for _ in range(counts.clips // 2)]
    # Each clip comes with its twin, the one negative that only motion tells apart.
    clips += [twin(clip, rng) for clip in clips]
    scenes = [any_scene(rng) for _ in range(counts.scenes)]
    unnamed = int(_UNNAMED * counts.scenes)
    scenes[:unnamed] = [_without_names(scene, rng) for scene in scenes[:unnamed]]
    return [*scenes, *(any_page(rng) for _ in range(counts.pages)), *clips]


def _without_names(scene: Scene, rng: np.random.Generator) -> Scene:
    """The scene in colours without names, unless there are then more alike than there are words for."""
    other = with_unnamed_colours(scene, rng)
    return other if max(map(len, other.groups)) <= len(COUNTS) else scene


def _frames(item: Item, rules: PixelRules, rng: np.random.Generator) -> np.ndarray:
    """The item in ink, as large as the model sees it: `(t, height, width, 3)`."""
    shown = with_ink(item, rng)
    return np.asarray(shown.frames) if isinstance(item, Clip) else fit(shown, rules)[None]


def _from_left_to_right(item: Item) -> Item:
    """A scene's things in an order that can be seen; other items as they are."""
    if not isinstance(item, Scene):
        return item
    return replace(item, things=tuple(sorted(item.things, key=lambda thing: thing.x)))
