"""The packed forward against transformers' padded one, and its gradients against the original code's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden_cases import GOLDEN, raw_input
from peft import LoraConfig
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F  # noqa: N812
from transformers import Qwen2VLModel

from vlm2vec import VLM2Vec
from vlm2vec.backbones import encode_forward
from vlm2vec.backbones.patch_projection import normalised
from vlm2vec.backbones.qwen2_vl.layout import LAYOUT
from vlm2vec.backbones.rows import LanguageRow
from vlm2vec.backbones.train_forward import language_states
from vlm2vec.blocks.attention import Segments
from vlm2vec.blocks.device import to_device
from vlm2vec.encoding.pack import pack
from vlm2vec.inputs.parse import parse_input


@pytest.fixture(scope="module")
def padded(golden: Path) -> Qwen2VLModel:
    return Qwen2VLModel.from_pretrained(
        golden / "tiny_qwen2vl", dtype=torch.float32, attn_implementation="sdpa"
    ).eval()


def test_normalises_as_transformers_does_to_the_bit() -> None:
    levels = np.arange(256, dtype=np.uint8)
    scaled = (levels * np.float64(1 / 255)).astype(np.float32)  # in float64, as transformers does
    mean, std = np.array(LAYOUT.mean, np.float32)[:, None], np.array(LAYOUT.std, np.float32)[:, None]
    patches = torch.from_numpy(levels).repeat(1, 3)
    assert torch.equal(normalised(patches, LAYOUT), torch.from_numpy((scaled - mean) / std).view(1, -1))


def both_slices(stills: torch.Tensor) -> torch.Tensor:
    """Patches of stills as transformers wants them: each of the two temporal slices written out."""
    return stills.view(len(stills), 3, 1, -1).repeat(1, 1, 2, 1).flatten(1)


def test_equals_the_padded_forward_of_transformers(tiny: VLM2Vec, padded: Qwen2VLModel) -> None:
    image = torch.randint(0, 256, (70, 100, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    clip = torch.randint(
        0, 256, (5, 56, 84, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )
    features = tiny.preprocess(
        [
            "a short text",
            {"image": image.numpy(), "text": "and a few words"},
            [image.numpy(), "then", clip.numpy()],
        ]
    )
    with torch.no_grad():
        expected = padded(
            input_ids=features["input_ids"],
            attention_mask=features["attention_mask"],
            position_ids=features["position_ids"].permute(2, 0, 1),
            pixel_values=both_slices(normalised(features["pixel_values"], LAYOUT)),
            image_grid_thw=features["image_grid_thw"],
            pixel_values_videos=normalised(features["pixel_values_videos"], LAYOUT),
            video_grid_thw=features["video_grid_thw"],
        ).last_hidden_state
        output = tiny[0](dict(features))
    packed = output["token_embeddings"][0].split(output["cu_seq_lens_q"].diff().tolist())
    for row, states, length in zip(expected, packed, features["attention_mask"].sum(1), strict=True):
        torch.testing.assert_close(states, row[:length], atol=5e-5, rtol=1e-4)


def test_gradients_equal_those_of_the_original_code(golden: Path) -> None:
    model = VLM2Vec(golden / "tiny_qwen2vl", profile="vlm2vec-v2", device="cpu")
    pairs = json.loads((GOLDEN / "out" / "gradcache_pairs.json").read_text())
    queries, targets = (
        model(model.preprocess([raw_input(pair[side]) for pair in pairs]))["sentence_embedding"]
        for side in (0, 1)
    )
    loss = F.cross_entropy(queries @ targets.T / 0.02, torch.arange(len(pairs)))
    loss.backward()
    assert float(loss) == pytest.approx(33.62134, abs=1e-4)
    numbers = load_file(GOLDEN / "out" / "golden_gradcache.safetensors")
    expected = {
        key.removeprefix("grad/encoder."): value for key, value in numbers.items() if key.startswith("grad/")
    }
    ours = {_old_name(name): parameter.grad for name, parameter in model[0].model.named_parameters()}
    assert set(ours) == set(expected)
    squares = [float((ours[name] - expected[name]).double().pow(2).sum()) for name in expected]
    total = sum(float(gradient.double().pow(2).sum()) for gradient in expected.values())
    assert total**0.5 == pytest.approx(207.8466, abs=1e-3)
    assert (sum(squares) / total) ** 0.5 <= 1e-5


class Called(nn.Module):
    """A layer that something wraps, as sharding does."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, *arguments: Any, **settings: Any) -> Any:
        return self.layer(*arguments, **settings)


def packed_batch(model: VLM2Vec, inputs: list[Any], *, alone: bool) -> Any:
    """Packed for training: last tokens and shared prefixes alone, or everything."""
    items = [parse_input(one, index=number) for number, one in enumerate(inputs)]
    ready = model[0].preparer.prepare_all(items)
    return pack(ready, model[0].profile.pixels, pooled_only=alone, share_prefixes=alone)


@pytest.mark.parametrize("wrapped", [False, True])
def test_wanted_tokens_and_shared_prefixes_are_the_same_and_teach_the_same(
    golden: Path, wrapped: bool
) -> None:
    pairs = json.loads((GOLDEN / "out" / "gradcache_pairs.json").read_text())
    inputs = [raw_input(side) for pair in pairs for side in pair]
    found = []
    for alone in (False, True):
        model = VLM2Vec(golden / "tiny_qwen2vl", profile="vlm2vec-v2", device="cpu")
        if alone and wrapped:
            layers = model[0].model.language_model.layers
            layers[-1] = Called(layers[-1])
        features = {"packed": packed_batch(model, inputs, alone=alone), "learn": True}
        vectors = model(features)["sentence_embedding"]
        vectors.backward(torch.linspace(-1, 1, vectors.numel()).view_as(vectors))
        gradients = {
            name.replace(".layer.", "."): weight.grad for name, weight in model[0].model.named_parameters()
        }
        found.append((vectors.detach(), gradients))
    (expected_vectors, expected), (vectors, gradients) = found
    torch.testing.assert_close(vectors, expected_vectors, atol=1e-6, rtol=1e-5)
    for name, gradient in expected.items():
        assert (gradients[name] - gradient).norm() <= 2e-5 * gradient.norm(), name


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_what_a_picture_learns_from_many_inputs_is_added_up_in_float32(golden: Path, device: str) -> None:
    model = VLM2Vec(golden / "tiny_qwen2vl", profile="vlm2vec-v2", device=device, dtype="bfloat16")
    network = model[0].model
    width = network.config.text_config.hidden_size
    weights = torch.randn(width, generator=torch.Generator().manual_seed(0)).to(device)

    def gradient(inputs: int) -> torch.Tensor:
        media = torch.ones(1, width, dtype=torch.bfloat16, device=device, requires_grad=True)
        zeros = torch.zeros(inputs, dtype=torch.int64)
        positions, tokens = zeros[:, None].expand(-1, 3), torch.arange(inputs)
        row = LanguageRow(zeros, positions, tokens, zeros, Segments.of([1] * inputs))
        row = to_device(row, torch.device(device))
        (language_states(network, row, media).float() @ weights).sum().backward()
        return media.grad.float()

    of_one = gradient(1)
    assert (gradient(512) - 512 * of_one).abs().max() < 0.02 * 512 * of_one.abs().max()


def test_without_a_graph_and_without_dropout_it_is_the_inference_forward(
    golden: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = VLM2Vec(golden / "tiny_qwen2vl", profile="vlm2vec-v2", device="cpu").train()
    features = {"packed": packed_batch(model, ["a text", "another text"], alone=True), "learn": True}
    expected = model(dict(features))["sentence_embedding"].detach()
    calls: list[int] = []
    whole = encode_forward.language_states
    monkeypatch.setattr(encode_forward, "language_states", lambda *given: calls.append(1) or whole(*given))
    with torch.no_grad():
        torch.testing.assert_close(model(dict(features))["sentence_embedding"], expected)
        assert len(calls) == 1
        with torch.autocast("cpu", torch.bfloat16):
            model(dict(features))
        model.add_adapter(LoraConfig(target_modules=["q_proj"], lora_dropout=0.5))
        model(dict(features))
    assert len(calls) == 1


def test_the_last_layer_computes_no_more_than_last_tokens_need(tiny: VLM2Vec) -> None:
    rows: list[int] = []
    gate = tiny[0].model.language_model.layers[-1].mlp.gate_proj
    hook = gate.register_forward_hook(lambda _, inputs, __: rows.append(inputs[0].shape[1]))
    tiny({"packed": packed_batch(tiny, ["a text", "another text"], alone=True), "learn": True})
    hook.remove()
    assert rows == [2]


def test_a_frozen_tower_builds_no_graph_and_gives_the_same(golden: Path) -> None:
    model = VLM2Vec(golden / "tiny_qwen2vl", profile="vlm2vec-v2", device="cpu")
    pictures = [np.full((70, 100, 3), 99, np.uint8), np.full((3, 56, 84, 3), 7, np.uint8)]
    packed = packed_batch(model, pictures, alone=True)
    expected = model[0].media_of(packed)
    model[0].model.visual.requires_grad_(False)
    frozen = model[0].media_of(packed)
    assert expected.requires_grad
    assert not frozen.requires_grad
    torch.testing.assert_close(frozen, expected, atol=1e-5, rtol=1e-4)


def _old_name(name: str) -> str:
    return name.replace("language_model.", "model.") if name.startswith("language_model.") else name


def test_gradient_checkpointing_gives_the_same_gradients(golden: Path) -> None:
    gradients = []
    for checkpointing in (False, True):
        model = VLM2Vec(golden / "tiny_qwen2vl", profile="vlm2vec-v2", device="cpu").train()
        if checkpointing:
            model.gradient_checkpointing_enable()
        model(model.preprocess(["a cat and a dog", "a dog"]))["sentence_embedding"].sum().backward()
        gradients.append(model[0].model.language_model.layers[0].self_attn.q_proj.weight.grad)
    torch.testing.assert_close(*gradients, atol=1e-6, rtol=1e-5)
