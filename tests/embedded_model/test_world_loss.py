"""The loss of the embedded model."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch

from embedded_model.network import NetworkSize
from embedded_model.training import new_model
from embedded_model.world_batches import pack_world
from embedded_model.world_loss import WorldLoss
from vlm2vec.backbones.patch_projection import normalised
from vlm2vec.backbones.qwen2_vl.layout import LAYOUT
from vlm2vec.world import draw_clip, draw_page, draw_scene

TINY = NetworkSize(vision_layers=1, vision_width=32, layers=1, width=32)


@pytest.fixture(scope="module")
def model():
    return new_model(TINY, seed=0)


def _batch(model, *, with_captions):
    rng = np.random.default_rng(0)
    items = [draw_scene(rng), draw_page(rng), draw_clip(rng)]
    return pack_world(items, model.tokenizer, model.profile, rng, with_captions=with_captions)


def test_pictures_alone_have_the_dense_part_alone(model):
    parts = WorldLoss(model)([_batch(model, with_captions=False)])
    assert list(parts) == ["dense"]
    parts["dense"].backward()
    assert model[0].model.visual.patch_embed.proj.weight.grad.abs().sum() > 0


def test_captions_reach_both_towers(model):
    model.zero_grad()
    parts = WorldLoss(model)([_batch(model, with_captions=True)])
    assert list(parts) == ["dense", "caption", "words"]
    network = model[0].model
    for part in ("caption", "words"):
        model.zero_grad()
        parts[part].backward(retain_graph=True)
        assert network.visual.patch_embed.proj.weight.grad.abs().sum() > 0
        assert network.language_model.layers[0].self_attn.q_proj.weight.grad.abs().sum() > 0


def test_words_are_named_from_the_vectors_that_encode_gives(model):
    """Of queries, which are not augmented: those of encode, through the head of the loss."""
    batch, loss = _batch(model, with_captions=True), WorldLoss(model)
    starts = torch.cumsum(batch["lengths"], 0) - batch["lengths"]
    words = batch["words"].split(batch["word_counts"].tolist())
    costs: dict[int, list[float]] = {}
    with torch.no_grad():
        for row, own in enumerate(words):
            start, place = int(starts[row]), int(batch["pooled"][row])
            if row < 3:
                continue
            text = model.tokenizer.decode(batch["input_ids"][start:place])
            assert set(model.tokenizer.decode(own).split()) <= set(text.split())
            vector = torch.from_numpy(model.encode(text, prompt=""))
            named = torch.log_softmax(loss.words(vector) * loss.log_sharpness.exp(), dim=0)
            for word in own.tolist():
                costs.setdefault(word, []).append(-named[word].item())
        only_queries = {**batch, "words": torch.cat(words[3:]), "word_counts": batch["word_counts"].clone()}
        only_queries["word_counts"][:3] = 0
        expected = np.mean([np.mean(each) for each in costs.values()])  # each word counts alike
        assert loss([only_queries])["words"].item() == pytest.approx(expected, rel=1e-4)


def test_captions_cost_what_the_stock_network_says_of_each_alone(model):
    batch = _batch(model, with_captions=True)
    network, lengths, grids = deepcopy(model[0].model), batch["lengths"].tolist(), batch["grids"]
    network.set_attn_implementation("sdpa")
    pixels = normalised(batch["pixel_values"], LAYOUT).split(grids.prod(dim=1).tolist())
    texts = (batch[name].split(lengths)[:3] for name in ("input_ids", "position_ids", "labels"))
    losses = []
    for own, grid, ids, positions, labels in zip(pixels, grids, *texts, strict=True):
        media = {"pixel_values": own, "image_grid_thw": grid[None]}
        if grid[0] > 1:
            media = {"pixel_values_videos": own, "video_grid_thw": grid[None]}
        found = network(input_ids=ids[None], position_ids=positions.T[:, None], **media)
        scores = found.last_hidden_state[0] @ network.language_model.embed_tokens.weight.T
        losses += torch.nn.functional.cross_entropy(scores, labels, reduction="none")[labels >= 0].tolist()
    assert WorldLoss(model)([batch])["caption"].item() == pytest.approx(np.mean(losses), rel=1e-4)
