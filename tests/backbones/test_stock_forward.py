"""transformers' own forward, one input at a time: the oracle of the packed networks, and on its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from golden_families import CHECKPOINTS, PROFILES
from golden_stock import model_of
from torch.nn import functional as F  # noqa: N812
from transformers import AutoModel

from vlm2vec import VLM2Vec
from vlm2vec.backbones.stock.forward import language_states, media_features
from vlm2vec.encoding.unpacked import Unpacked
from vlm2vec.inputs.parse import parse_input

PICTURES = np.random.default_rng(0).integers(0, 256, (8, 90, 130, 3), dtype=np.uint8)
INPUTS: list[Any] = [
    "a cat and a dog",
    {"image": PICTURES[0], "text": "what is this"},
    {"text": "between", "images": [PICTURES[1], PICTURES[2]]},
    {"video": PICTURES[:5], "text": "what moves"},
    PICTURES[0],
    "another text of some words",
]


@pytest.mark.parametrize("name", ["chat_mrope", "plain_1d"])
@torch.no_grad()
def test_packed_vectors_are_those_of_transformers_own_forward(name: str) -> None:
    """Pictures, clips and positions of a packed batch, each input alone in the stock model of its folder."""
    model = VLM2Vec(CHECKPOINTS[name], profile=PROFILES[name], device="cpu", dtype="float32")
    stock = AutoModel.from_pretrained(CHECKPOINTS[name], dtype=torch.float32).eval()
    ready = model[0].preparer.prepare_all([parse_input(given, index=i) for i, given in enumerate(INPUTS)])
    batch = Unpacked(ready, pooled_only=True, has_positions=True)
    features = {key: media_features(stock, medium) for key, medium in batch.media.items()}
    states = language_states(stock, batch.rows(features, stock.device))
    expected = F.normalize(torch.stack([of_input[-1] for of_input in states]), dim=1)
    np.testing.assert_allclose(model.encode(INPUTS), expected, rtol=0, atol=2e-6)


@torch.no_grad()
def test_inputs_of_one_length_are_computed_together(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of("llava_next")
    shapes = []
    language = model[0].model.language_model
    usual = language.forward

    def watched(*arguments: Any, **options: Any) -> Any:
        shapes.append(tuple(options["inputs_embeds"].shape[:2]))
        return usual(*arguments, **options)

    monkeypatch.setattr(language, "forward", watched)
    texts = ["a cat", "a dog", "a red bus on the street"]
    together = model.encode(texts)
    assert sorted(shapes)[-1][0] == 2
    monkeypatch.undo()
    np.testing.assert_allclose(together, [model.encode(text) for text in texts], rtol=0, atol=5e-7)


def test_equal_pictures_pass_the_tower_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of("llava_next")
    passed = []
    tower = model[0].model.vision_tower
    usual = tower.forward

    def watched(*arguments: Any, **options: Any) -> Any:
        passed.append(1)
        return usual(*arguments, **options)

    monkeypatch.setattr(tower, "forward", watched)
    picture = PICTURES[3]
    model.encode([{"image": picture, "text": text} for text in ("one", "two", "three")])
    assert len(passed) == 1


def test_states_of_all_tokens_are_there_where_they_are_asked_for() -> None:
    model = model_of("llava_next")
    (row,) = model.encode([{"image": PICTURES[0], "text": "what is this"}], output_value="token_embeddings")
    assert row.shape[0] > 1000
    vector = model.encode({"image": PICTURES[0], "text": "what is this"})
    np.testing.assert_allclose(F.normalize(row[-1], dim=0), vector, rtol=0, atol=1e-6)


def test_it_is_said_once_that_it_is_slower(caplog: pytest.LogCaptureFixture) -> None:
    from golden_stock import load

    from vlm2vec.backbones.stock.network import say_slower

    say_slower.cache_clear()
    load("llava_next")
    load("llava_next")
    said = [record for record in caplog.records if "one input at a time" in record.getMessage()]
    assert len(said) == 1
    assert "LLaVA-NeXT" in said[0].getMessage()
