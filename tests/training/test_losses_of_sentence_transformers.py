"""Losses of sentence-transformers that look below the last layer."""

from __future__ import annotations

import copy

import pytest
import torch
from sentence_transformers.sentence_transformer import losses

from vlm2vec import VLM2Vec

QUERIES, DOCUMENTS = ["a red circle", "two words and more"], ["one", "a blue square left of a green triangle"]


def test_states_of_all_layers_are_those_of_transformers(tiny: VLM2Vec) -> None:
    features = tiny.preprocess(DOCUMENTS)
    network = tiny[0].model
    network.config.output_hidden_states = True
    try:
        found = tiny[0](dict(features))["all_layer_embeddings"]
    finally:
        network.config.output_hidden_states = False
    assert len(found) == network.config.text_config.num_hidden_layers + 1
    # transformers' own layers, each input by itself: at 1-D positions all three axes are equal.
    mask, start = features["attention_mask"].bool(), 0
    for row in range(len(DOCUMENTS)):
        ids = features["input_ids"][row][mask[row]]
        expected = _naive_states(network, ids)
        for mine, states in zip(found, expected, strict=True):
            torch.testing.assert_close(mine[0, start : start + len(ids)], states, rtol=1e-4, atol=1e-5)
        start += len(ids)
    assert "all_layer_embeddings" not in tiny[0](dict(features))


def _naive_states(network: torch.nn.Module, ids: torch.Tensor) -> list[torch.Tensor]:
    """Of one text: what transformers calls hidden states."""
    from transformers import Qwen2VLModel

    config = copy.deepcopy(network.config)
    for part in (config, config.text_config, config.vision_config):
        part._attn_implementation = "eager"
    plain = Qwen2VLModel(config).eval()
    plain.load_state_dict(network.state_dict())
    with torch.no_grad():
        output = plain.language_model(input_ids=ids[None], output_hidden_states=True)
    return [states[0] for states in output.hidden_states]


@pytest.mark.parametrize("shortened", [False, True])
def test_layers_below_the_last_learn(tiny: VLM2Vec, shortened: bool) -> None:
    model = copy.deepcopy(tiny)
    inner = losses.MultipleNegativesRankingLoss(model)
    loss = (
        losses.Matryoshka2dLoss(model, inner, matryoshka_dims=[64, 16])
        if shortened
        else losses.AdaptiveLayerLoss(
            model, inner, n_layers_per_step=-1, last_layer_weight=0, kl_div_weight=0
        )
    )
    value = loss([model.preprocess(QUERIES), model.preprocess(DOCUMENTS)], torch.zeros(2))
    value.backward()
    assert torch.isfinite(value)
    first, *_, last = (
        [weight.grad for weight in layer.parameters()] for layer in model[0].model.language_model.layers
    )
    assert all(gradient.abs().sum() > 0 for gradient in first if gradient is not None)
    assert any(gradient is not None for gradient in first)
    # By the loss of the states below it alone, the last layer learns nothing.
    learned = sum(gradient.abs().sum().item() for gradient in last if gradient is not None)
    assert (learned > 0) is shortened
