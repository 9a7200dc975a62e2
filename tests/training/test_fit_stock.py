"""Training networks that run transformers' own forward: gradients, adapters, resuming, refusals."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden_stock import DATA, load, model_of
from torch.nn import functional as F  # noqa: N812

from vlm2vec import VLM2Vec, errors
from vlm2vec.backbones.patch_projection import normalised
from vlm2vec.backbones.registry import layout_of
from vlm2vec.inputs.parse import parse_input
from vlm2vec.training import LoRA
from vlm2vec.training.loss.grad_cache import GradCacheLoss, Pairs

LEARNERS = ["llava_next", "phi3v"]
PICTURES = np.random.default_rng(0).integers(0, 256, (3, 60, 90, 3), dtype=np.uint8)
QUERIES: list[Any] = ["a cat", {"image": PICTURES[0], "text": "what is this"}, "a red bus on the street"]
DOCUMENTS: list[Any] = [{"image": PICTURES[1]}, "a dog", {"image": PICTURES[2], "text": "two pictures"}]
ROWS = [{"query": query, "document": document} for query, document in zip(QUERIES, DOCUMENTS, strict=True)]


def plain_vector(model: VLM2Vec, given: Any) -> torch.Tensor:
    """By transformers' own forward of the whole network where it has one, with a mask and placeholders."""
    network, module = model[0].model, model[0]
    ready = module.preparer(parse_input(given))
    ids = torch.from_numpy(ready.token_ids[~ready.is_media])
    if not ready.visuals:
        states = network.language_model(input_ids=ids[None]).last_hidden_state
        return F.normalize(states[0, -1], dim=0)
    (visual,) = ready.visuals
    tiles = torch.from_numpy(visual.patches)
    pixels = normalised(tiles.flatten(1), layout_of(network)).view(tiles.shape)
    size = torch.tensor([[visual.cuts[0].height, visual.cuts[0].width]])
    features = network.get_image_features(pixels, image_sizes=size, return_dict=True).pooler_output[0]
    at = int(ready.is_media.argmax())
    if hasattr(network.config, "image_token_index"):
        placeholder = torch.full((len(features),), network.config.image_token_index)
        whole = torch.cat([ids[:at], placeholder, ids[at:]])[None]
        states = network(
            input_ids=whole,
            attention_mask=torch.ones_like(whole),
            pixel_values=pixels[None],
            image_sizes=size,
        ).last_hidden_state
    else:
        embedded = network.model.embed_tokens(ids)
        whole = torch.cat([embedded[:at], features, embedded[at:]])[None]
        states = network.model(inputs_embeds=whole).last_hidden_state
    return F.normalize(states[0, -1], dim=0)


def gradients(model: VLM2Vec) -> dict[str, torch.Tensor]:
    named = model[0].model.named_parameters()
    return {name: weight.grad for name, weight in named if weight.grad is not None}


@pytest.mark.parametrize("kept", [0, 10**6])
@pytest.mark.parametrize("family", LEARNERS)
def test_gradients_are_those_of_the_whole_batch_at_once(family: str, kept: int) -> None:
    model, plain = load(family).train(), load(family).train()
    queries = torch.stack([plain_vector(plain, given) for given in QUERIES])
    documents = torch.stack([plain_vector(plain, given) for given in DOCUMENTS])
    expected_loss = F.cross_entropy(queries @ documents.T / 0.02, torch.arange(3))
    expected_loss.backward()
    pairs = Pairs(
        [parse_input(given, index=index) for index, given in enumerate(QUERIES)],
        [parse_input(given, index=index) for index, given in enumerate(DOCUMENTS)],
        range(3),
        range(3),
        range(3),
        range(10, 13),
    )
    loss = GradCacheLoss(model, max_inputs_per_chunk=1, kept_tokens=kept)(pairs)
    loss.backward()
    assert loss.item() == pytest.approx(expected_loss.item(), abs=1e-5)
    ours, expected = gradients(model), gradients(plain)
    assert ours.keys() == expected.keys()
    assert any("vision" in name for name in ours)
    whole, apart = (
        torch.cat([one.flatten() for one in each]).norm()
        for each in (expected.values(), [ours[name] - expected[name] for name in expected])
    )
    assert apart <= 1e-5 * whole


@pytest.mark.slow
@pytest.mark.parametrize("family", LEARNERS)
def test_an_adapter_is_trained_saved_loaded_and_resumed(family: str, tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "lora": LoRA(r=4, target_modules=layout_of(model_of(family)[0].model).lora_targets, dropout=0.0),
        "learning_rate": 1e-2,
        "batch_size": 3,
        "save_steps": 1,
        "show_progress_bar": False,
    }
    straight = load(family)
    before = straight.encode(QUERIES)
    straight.fit(ROWS, max_steps=2, output_dir=tmp_path / "straight", **settings)
    after = straight.encode(QUERIES)
    assert np.abs(after - before).max() > 1e-4
    names = [name for name, weight in straight[0].model.named_parameters() if weight.requires_grad]
    assert any("vision" in name for name in names)  # CLIP's attention, as in the original
    assert any("language_model" in name or "model.layers" in name for name in names)
    np.testing.assert_allclose(VLM2Vec(tmp_path / "straight", device="cpu").encode(QUERIES), after, atol=1e-5)

    stopped = load(family)
    stopped.fit(ROWS, max_steps=2, output_dir=tmp_path / "stopped", **settings)
    again = load(family)
    resumed = again.fit(
        ROWS,
        max_steps=2,
        output_dir=tmp_path / "stopped",
        resume=tmp_path / "stopped" / "checkpoint-1",
        **settings,
    )
    assert resumed.resumed_at == 1
    np.testing.assert_allclose(again.encode(QUERIES), after, atol=1e-5)


@pytest.mark.parametrize("family", LEARNERS)
def test_the_default_adapter_changes_the_layers_of_the_original(family: str) -> None:
    model = load(family)
    model.fit(ROWS, max_steps=1, lora=True, batch_size=3, show_progress_bar=False)
    config, layout = model[0].model.peft_config["default"], layout_of(model[0].model)
    assert set(config.target_modules) == set(layout.lora_targets)
    assert config.use_dora


def test_a_frozen_tower_stays_as_it_is() -> None:
    model = load("llava_next")
    before = copy.deepcopy(model[0].model.vision_tower.state_dict())
    settings: dict[str, Any] = {"learning_rate": 1e-2, "show_progress_bar": False}
    model.fit(ROWS, max_steps=1, batch_size=3, freeze_vision=True, **settings)
    for name, weight in model[0].model.vision_tower.state_dict().items():
        torch.testing.assert_close(weight, before[name], rtol=0, atol=0)
    assert all(weight.requires_grad for weight in model[0].model.parameters())


@pytest.mark.parametrize("family", LEARNERS)
def test_gradient_checkpointing_changes_nothing(family: str) -> None:
    losses = []
    for checkpointing in (False, True):
        model = load(family)
        result = model.fit(
            ROWS,
            max_steps=2,
            batch_size=3,
            lora=LoRA(r=4, dropout=0.0, target_modules=("o_proj",)),
            gradient_checkpointing=checkpointing,
            logging_steps=1,
            learning_rate=1e-2,
            show_progress_bar=False,
        )
        losses.append(result.losses)
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)


@pytest.mark.parametrize("family", ["llava_onevision", "qwen3_5"])
def test_other_networks_refuse_and_say_which_can_be_trained(family: str) -> None:
    model = (
        model_of(family)
        if family != "qwen3_5"
        else VLM2Vec(DATA / "golden_qwen3_5/tiny_qwen3_5", profile="wemm", device="cpu")
    )
    with pytest.raises(errors.InputError, match=r"Qwen3-VL, LLaVA-NeXT or Phi-3\.5-V"):
        model.fit(ROWS, max_steps=1)
