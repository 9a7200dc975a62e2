"""The loss of the embedded model."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from vlm2vec.training.embedded.network import NetworkSize
from vlm2vec.training.embedded.training import new_model
from vlm2vec.training.embedded.world_batches import pack_world
from vlm2vec.training.embedded.world_loss import WorldLoss, info_nce
from vlm2vec.world import draw_clip, draw_page, draw_scene

TINY = NetworkSize(vision_layers=1, vision_width=32, layers=1, width=32)


@pytest.fixture(scope="module")
def model():
    return new_model(TINY, seed=0)


def _batch(model, *, with_text):
    rng = np.random.default_rng(0)
    items = [draw_scene(rng), draw_page(rng), draw_clip(rng)]
    return pack_world(items, model.tokenizer, model.profile, rng, with_text=with_text)


def test_info_nce_is_the_mean_over_rows_and_columns():
    torch.manual_seed(0)
    queries, documents = (torch.nn.functional.normalize(torch.randn(5, 8), dim=1) for _ in range(2))
    expected = 0.0
    for i in range(5):
        row = [math.exp(float(queries[i] @ documents[j]) / 0.1) for j in range(5)]
        column = [math.exp(float(queries[j] @ documents[i]) / 0.1) for j in range(5)]
        expected -= (math.log(row[i] / sum(row)) + math.log(column[i] / sum(column))) / 10
    assert float(info_nce(queries, documents, 0.1)) == pytest.approx(expected, rel=1e-5)


def test_pictures_alone_have_the_dense_part_alone(model):
    parts = WorldLoss(model)([_batch(model, with_text=False)])
    assert list(parts) == ["dense"]
    parts["dense"].backward()
    assert model[0].model.visual.patch_embed.proj.weight.grad.abs().sum() > 0


def test_with_text_all_parts_reach_both_towers(model):
    for part in ("caption", "contrastive"):
        model.zero_grad()
        WorldLoss(model)([_batch(model, with_text=True)])[part].backward()
        network = model[0].model
        assert network.visual.patch_embed.proj.weight.grad.abs().sum() > 0
        assert network.language_model.layers[0].self_attn.q_proj.weight.grad.abs().sum() > 0


def test_pooled_vectors_are_those_of_encode(model):
    """The vectors that are contrasted are the ones that users get: for queries, which are not augmented."""
    batch = _batch(model, with_text=True)
    seen = {}

    def spy(queries, documents, temperature):
        seen["queries"] = queries.detach()
        return info_nce(queries, documents, temperature)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vlm2vec.training.embedded.world_loss.info_nce", spy)
        WorldLoss(model)([batch])
    starts = torch.cumsum(batch["lengths"], 0) - batch["lengths"]
    for row in range(3):
        place = int(batch["pooled"][3 + row])
        start = int(starts[starts <= place].max())
        text = model.tokenizer.decode(batch["input_ids"][start:place])
        expected = model.encode(text, prompt="")
        assert np.allclose(seen["queries"][row].numpy(), expected, atol=1e-5)
