"""GradCache on every network against the whole batch in one graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from golden_families import CHECKPOINTS, PROFILES

from vlm2vec import VLM2Vec
from vlm2vec.inputs.parse import parse_input
from vlm2vec.training.loss.grad_cache import GradCacheLoss, Pairs

NEAR = 1e-5  # lengths of a difference, in lengths of what is expected

RANDOM = np.random.default_rng(7)
PICTURE = RANDOM.integers(0, 256, (90, 130, 3), dtype=np.uint8)
OTHER = RANDOM.integers(0, 256, (64, 220, 3), dtype=np.uint8)
CLIP = [RANDOM.integers(0, 256, (64, 96, 3), dtype=np.uint8) for _ in range(3)]
QUERIES: list[Any] = [
    "what moves?",
    {"image": PICTURE, "text": "what is this"},
    "a wide picture",
    "and this?",
]
DOCUMENTS: list[Any] = [
    {"video": CLIP, "text": "a clip"},
    "a thing",
    {"images": [PICTURE, OTHER]},
    {"image": OTHER},
]


@pytest.fixture(params=["qwen3_vl", "chat_mrope"])
def model(request: pytest.FixtureRequest) -> VLM2Vec:
    name = request.param
    return VLM2Vec(CHECKPOINTS[name], profile=PROFILES[name], device="cpu", dtype="float32").train()


def gradients_of(model: VLM2Vec) -> dict[str, torch.Tensor]:
    found = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
    model.zero_grad()
    return found


def whole_batch(model: VLM2Vec) -> torch.Tensor:
    """The naive one: all pairs in one graph, padded."""
    queries, documents = (
        torch.nn.functional.normalize(model(model.preprocess(side))["sentence_embedding"], dim=1)
        for side in (QUERIES, DOCUMENTS)
    )
    return torch.nn.functional.cross_entropy(queries @ documents.T / 0.02, torch.arange(len(QUERIES)))


def in_chunks(model: VLM2Vec, chunk: int, kept: int) -> torch.Tensor:
    queries, documents = (
        [parse_input(one, index=index) for index, one in enumerate(side)] for side in (QUERIES, DOCUMENTS)
    )
    numbers = list(range(len(queries)))
    pairs = Pairs(queries, documents, numbers, numbers, numbers, [100 + number for number in numbers])
    loss: torch.Tensor = GradCacheLoss(model, max_inputs_per_chunk=chunk, kept_tokens=kept)(pairs)
    return loss


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize(("chunk", "kept"), [(1, 0), (3, 0), (2, 10**6)])
def test_chunks_teach_what_the_whole_batch_does(model: VLM2Vec, chunk: int, kept: int, frozen: bool) -> None:
    model[0].model.visual.requires_grad_(not frozen)
    expected_loss = whole_batch(model)
    expected_loss.backward()
    expected = gradients_of(model)
    loss = in_chunks(model, chunk, kept)
    loss.backward()
    assert loss.item() == pytest.approx(expected_loss.item(), abs=1e-4)
    ours = gradients_of(model)
    assert ours.keys() == expected.keys()
    assert any("visual" in name for name in ours) != frozen
    whole = sum(float(one.double().square().sum()) for one in expected.values())
    apart = sum(float((ours[name] - expected[name]).double().square().sum()) for name in expected)
    assert (apart / whole) ** 0.5 <= NEAR
