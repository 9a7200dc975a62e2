"""The training command, at a size that takes seconds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from embedded_model.network import NetworkSize, build_network
from embedded_model.tokenizer import build_tokenizer
from embedded_model.training import EMBEDDED_RECIPE, Recipe, Stage, new_tokenizer, train
from embedded_model.world_batches import ItemCounts
from vlm2vec import VLM2Vec

TINY = Recipe(
    NetworkSize(vision_layers=1, vision_width=32, layers=1, width=32),
    (
        Stage(2, ItemCounts(2, 2, 2), learning_rate=1e-3, warmup=1, decay=0, with_captions=False),
        Stage(3, ItemCounts(2, 2, 2), learning_rate=1e-3, warmup=1, decay=2, with_captions=True),
    ),
    {"max_steps": 2, "batch_size": 4, "sub_batch_size": 2},
)


def test_training_saves_a_model_that_loads_to_the_same_vectors(tmp_path):
    trained, result = train(tmp_path, recipe=TINY)
    assert result.steps == 2
    assert len(result.losses) == 2
    loaded = VLM2Vec(tmp_path, device="cpu")
    assert loaded.profile == trained.profile
    inputs = ["a red circle", np.zeros((112, 112, 3), np.uint8), "漢字"]
    # Saved in float16.
    assert np.allclose(loaded.encode_document(inputs), trained.encode_document(inputs), atol=5e-3)
    assert not np.allclose(
        loaded.encode_query("a red circle"), loaded.encode_document("a red circle"), atol=1e-3
    )
    before = build_network(trained.tokenizer, TINY.size, seed=0)
    after = trained[0].model
    for name in ("visual.patch_embed.proj.weight", "language_model.layers.0.mlp.up_proj.weight"):
        assert not torch.equal(before.get_parameter(name), after.get_parameter(name))


@pytest.mark.slow
def test_the_embedded_network_fits_the_wheel():
    network = build_network(new_tokenizer(), EMBEDDED_RECIPE.size, seed=0)
    assert 2 * sum(weight.numel() for weight in network.parameters()) < 7.5 * 2**20


def test_heads_of_the_vision_tower_first_look_where_they_are_told():
    """With queries and keys from biases alone, head 1 of a block attends most to the patch on its left."""
    network = build_network(build_tokenizer(()), EMBEDDED_RECIPE.size, seed=0)
    attention = network.visual.blocks[0].attn
    heads, size = attention.num_heads, attention.head_dim
    query, key, _ = attention.qkv.bias.detach().view(3, heads, size)
    grid = torch.stack(torch.meshgrid(torch.arange(5.0), torch.arange(5.0), indexing="ij"), -1).view(25, 2)
    frequencies = 10_000.0 ** (-torch.arange(size // 4) / (size // 4))
    angles = (grid[:, :, None] * frequencies).flatten(1)
    cos, sin = angles.cos().repeat(1, 2), angles.sin().repeat(1, 2)

    def turned(vector):
        first, second = vector.chunk(2)
        return vector * cos + torch.cat([-second, first]) * sin

    scores = turned(query[1]) @ turned(key[1]).T
    assert int(scores[12].argmax()) == 11
