"""A packed batch says the same as the model's own way of writing prompts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from embedded_model.dense_targets import ASPECTS, NOT_ASKED
from embedded_model.network import NetworkSize
from embedded_model.training import new_model
from embedded_model.world_batches import NO_LABEL, ItemCounts, WorldCollator, pack_world
from vlm2vec.world import draw_clip, draw_page, draw_scene, full_caption
from vlm2vec.world.vocabulary import UNSEEN_PAIRS

TINY = NetworkSize(vision_layers=1, vision_width=32, layers=1, width=32)


@pytest.fixture(scope="module")
def model():
    return new_model(TINY, seed=0)


def _items():
    rng = np.random.default_rng(0)
    return [draw_scene(rng), draw_page(rng), draw_clip(rng)]


def test_a_step_has_the_same_batch_every_time_and_another_than_the_next(model):
    collate = WorldCollator(model.tokenizer, model.profile, ItemCounts(2, 2, 2), seed=0, with_captions=True)
    first, again, other = (collate([{"step": step}]) for step in (5, 5, 6))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["world_dense"], other["world_dense"])


def test_there_are_as_many_patches_as_answers(model):
    """Pictures are drawn in several sizes, and seen in one."""
    collate = WorldCollator(model.tokenizer, model.profile, ItemCounts(20, 2, 4), seed=0, with_captions=False)
    batch = collate([{"step": 0}])
    assert len(batch["world_dense"]) == 20 * 16 + 4 * 24 + 2 * 36 == len(batch["world_pixel_values"]) // 4


def test_prompts_are_those_of_the_model(model):
    """Up to the pooled token, a packed prompt is the prompt that `encode` would build."""
    items = _items()
    batch = pack_world(items, model.tokenizer, model.profile, np.random.default_rng(1), with_captions=True)
    ends = torch.cumsum(batch["lengths"], 0)
    starts = ends - batch["lengths"]
    video = np.zeros((8, 84, 84, 3), np.uint8)
    images = [np.zeros((112, 112, 3), np.uint8), np.zeros((168, 112, 3), np.uint8)]
    for row, given in enumerate([*images, video]):
        prompts = [None, model.profile.document_instruction]
        built = [model.preprocess([given], prompt=prompt) for prompt in prompts]
        pooled = starts[row] + int((batch["labels"][starts[row] : ends[row]] != NO_LABEL).nonzero()[0])
        ids = batch["input_ids"][starts[row] : pooled + 1].tolist()
        assert ids in [features["input_ids"][0].tolist() for features in built]
        positions = batch["position_ids"][starts[row] : pooled + 1].tolist()
        assert positions in [features["position_ids"][0].tolist() for features in built]


def test_labels_are_the_next_tokens_and_spell_the_captions(model):
    items = _items()
    batch = pack_world(items, model.tokenizer, model.profile, np.random.default_rng(1), with_captions=True)
    labelled = torch.nonzero(batch["labels"] != NO_LABEL).squeeze(1)
    assert torch.equal(batch["labels"][labelled], batch["input_ids"][labelled + 1])
    captions = model.tokenizer.decode(batch["labels"][labelled]).split("<|im_end|>")[:-1]
    assert captions[1:] == [f" {full_caption(item)}" for item in items[1:]]
    assert all(thing.noun in captions[0] for thing in items[0].things)


def test_half_of_the_clips_are_twins_of_the_others(model):
    collate = WorldCollator(model.tokenizer, model.profile, ItemCounts(1, 4, 1), seed=0, with_captions=False)
    for step in range(10):
        dense = collate([{"step": step}])["world_dense"][16 + 24 :].reshape(4, 36, -1)
        shown = [[set(clip[:, aspect].tolist()) - {0} for aspect in (0, 1)] for clip in dense]
        motions = [clip[:, 3].reshape(4, 9).max(dim=1).values.tolist() for clip in dense]
        assert shown[:2] == shown[2:]
        assert all(one != other for one, other in zip(motions[:2], motions[2:], strict=True))


def test_some_scenes_are_in_colours_without_a_name(model):
    collate = WorldCollator(model.tokenizer, model.profile, ItemCounts(30, 2, 1), seed=0, with_captions=False)
    colours = collate([{"step": 0}])["world_dense"][: 30 * 16].reshape(30, 16, -1)[:, :, 0]
    unnamed = (colours == NOT_ASKED).any(dim=1)
    assert 10 <= unnamed.sum() <= 12 and not (colours[unnamed] > 0).any()


def test_no_batch_shows_a_pair_that_is_kept_for_scoring(model):
    collate = WorldCollator(
        model.tokenizer, model.profile, ItemCounts(30, 10, 1), seed=0, with_captions=False
    )
    dense = collate([{"step": 0}])["world_dense"]
    stills = dense[: 30 * 16]
    shown = {(ASPECTS["colour"][c], ASPECTS["shape"][s]) for c, s in stills[:, :2].tolist() if c > 0}
    assert len(shown) > 20 and not shown & UNSEEN_PAIRS
