"""The inference forward against the training forward, with each of its tricks on and off."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers.activations import ACT2FN

from vlm2vec import VLM2Vec
from vlm2vec.backbones import encode_forward
from vlm2vec.backbones.network import Network
from vlm2vec.backbones.patch_projection import normalised, project_levels
from vlm2vec.backbones.qwen2_vl.layout import LAYOUT
from vlm2vec.backbones.rows import VisionRow
from vlm2vec.blocks import attention, linear, mlp
from vlm2vec.blocks.options import ForwardOptions, Kernel
from vlm2vec.encoding.settings import EngineSettings

RANDOM = np.random.default_rng(5)
PICTURE = RANDOM.integers(0, 256, (70, 100, 3), dtype=np.uint8)
CLIP = RANDOM.integers(0, 256, (5, 56, 84, 3), dtype=np.uint8)
INPUTS = [
    "a short text",
    "a short text that goes on for a while, and on",
    {"image": PICTURE, "text": "what is this"},
    {"image": PICTURE, "text": "what is that, then"},
    [PICTURE, "then", CLIP],
    CLIP,
    PICTURE,
]
# Two programs for one network with random weights: CPUs differ in what their products round to.
ROUNDING = 4e-6


def by_training_forward(model: VLM2Vec, inputs: list[object]) -> np.ndarray:
    # With gradients: without, its vision tower would be the one under test.
    return model(model.preprocess(inputs))["sentence_embedding"].detach().numpy()


@pytest.fixture(params=["1d", "mrope"])
def model(request: pytest.FixtureRequest, tiny: VLM2Vec, embedded: VLM2Vec) -> VLM2Vec:
    return {"1d": tiny, "mrope": embedded}[request.param]


@pytest.fixture(autouse=True)
def few_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """These inputs are small; in blocks of this size most passes have several, and a shorter last one."""
    monkeypatch.setattr(linear, "_BLOCK_ROWS", 7)
    monkeypatch.setattr(encode_forward, "_PATCHES_AT_ONCE", 90)
    rows = torch.empty(20, 1)
    assert [len(rows[block]) for block in linear.some_rows(rows)] == [7, 7, 6]


@pytest.mark.parametrize("switches", list(itertools.product([True, False], repeat=3)))
def test_equals_the_training_forward(
    model: VLM2Vec, switches: tuple[bool, bool, bool], kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    share, pooled, fuse = switches
    settings = EngineSettings(share_prefixes=share, pooled_only=pooled, fuse_projections=fuse, kernel=kernel)
    monkeypatch.setattr(model, "engine_settings", settings)
    np.testing.assert_allclose(model.encode(INPUTS), by_training_forward(model, INPUTS), atol=ROUNDING)


def test_the_vision_tower_takes_parts_on_a_cpu(embedded: VLM2Vec, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    frame_features = encode_forward._frame_features

    def counted(
        network: Network, visual: torch.nn.Module, row: VisionRow, given: ForwardOptions
    ) -> torch.Tensor:
        taken.append(len(row.positions))
        return frame_features(network, visual, row, given)

    monkeypatch.setattr(encode_forward, "_frame_features", counted)
    embedded.encode(INPUTS)
    assert len(taken) > 1


def test_frames_are_taken_in_parts() -> None:
    lengths = [3, 2, 6, 2, 2]  # two stills, then three frames of clips
    patches = torch.arange(15 * 2, dtype=torch.uint8).view(15, 2)
    frames = tuple((1, length) for length in lengths)
    whole = VisionRow(patches[:5], patches[5:], patches, attention.Segments.of(lengths), frames)
    for most, expected in (
        (1, [[3], [2], [6], [2], [2]]),
        (8, [[3, 2], [6, 2], [2]]),
        (11, [[3, 2, 6], [2, 2]]),
    ):
        parts = list(whole.parts(most))
        assert [list(part.segments.lengths) for part in parts] == expected
        assert [part.frames for part in parts] == [tuple((1, one) for one in some) for some in expected]
        assert [part.segments.offsets[-1] for part in parts] == [sum(part) for part in expected]
        for name in ("stills", "clips", "positions"):
            rows = [rows for part in parts if (rows := getattr(part, name)) is not None]
            torch.testing.assert_close(torch.cat(rows), getattr(whole, name))
            assert all(len(some) for some in rows)
    assert [part.segments for part in whole.parts(15)] == [whole.segments]


@pytest.mark.parametrize("on_cpu", [False, True])
def test_gate_and_up_as_one_product_or_two(
    model: VLM2Vec, on_cpu: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlp, "_fuses_gate", lambda rows: not on_cpu)
    np.testing.assert_allclose(model.encode(INPUTS), by_training_forward(model, INPUTS), atol=ROUNDING)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["silu", "quick_gelu", "gelu"])
@torch.inference_mode()
def test_an_activation_gives_what_its_module_does(name: str, dtype: torch.dtype) -> None:
    wide = (10 * torch.randn(7, 12)).to(dtype)
    for given in (wide, wide[:, ::2]):
        activation, half = ACT2FN[name], torch.cat([given, given], dim=-1).chunk(2, dim=-1)[0]
        expected = activation(given)
        for one in (given.clone(), half):
            torch.testing.assert_close(mlp.activated(activation, one), expected)


def test_keys_that_are_gathered_in_parts_give_the_same(
    model: VLM2Vec, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions = [{"image": PICTURE, "text": text} for text in ("what is this", "what is that", "who", "")]
    whole = model.encode(questions)
    parts: list[int] = []
    split = attention.Segments.parts
    monkeypatch.setattr(attention, "_MAX_KEY_ROWS", 20)

    def counted(self: attention.Segments, most: int) -> list[tuple[slice, attention.Segments]]:
        cut = list(split(self, most))
        if most == 20:  # else it is the vision tower's
            parts.append(len(cut))
        return cut

    monkeypatch.setattr(attention.Segments, "parts", counted)
    np.testing.assert_allclose(model.encode(questions), whole, atol=ROUNDING)
    assert max(parts) > 1


def test_states_of_all_tokens_equal_those_of_the_training_forward(model: VLM2Vec) -> None:
    states = model.encode(INPUTS, output_value="token_embeddings")
    features = model.preprocess(INPUTS)
    with torch.no_grad():
        output = model[0](dict(features))
    expected = output["token_embeddings"][0].split(output["cu_seq_lens_q"].diff().tolist())
    for one, other in zip(states, expected, strict=True):
        torch.testing.assert_close(one, other, atol=5e-5, rtol=1e-4)


def test_a_model_that_has_encoded_trains_and_saves_as_before(golden: Path, tmp_path: Path) -> None:
    model = VLM2Vec(golden / "tiny_qwen2vl", profile="vlm2vec-v2", device="cpu")
    untouched = copy.deepcopy(model)
    before = model.encode(INPUTS)
    for one in (model, untouched):
        one.train()
        one(one.preprocess(INPUTS))["sentence_embedding"].std().backward()
    theirs = dict(untouched.named_parameters())
    for name, parameter in model.named_parameters():
        assert parameter.is_leaf
        if theirs[name].grad is not None:
            torch.testing.assert_close(parameter.grad, theirs[name].grad)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.step()
    changed = model.encode(INPUTS)
    assert np.abs(changed - before).max() > 1e-4
    np.testing.assert_allclose(changed, by_training_forward(model.eval(), INPUTS), atol=ROUNDING)
    model.save_pretrained(str(tmp_path))
    np.testing.assert_allclose(VLM2Vec(tmp_path, device="cpu").encode(INPUTS), changed, atol=ROUNDING)
    np.testing.assert_allclose(copy.deepcopy(model).encode(INPUTS), changed, atol=ROUNDING)


def test_an_adapter_that_is_not_merged_counts(golden: Path) -> None:
    from peft import LoraConfig

    model = VLM2Vec(golden / "tiny_qwen2vl", profile="vlm2vec-v2", device="cpu")
    before = model.encode(INPUTS)
    model.add_adapter(LoraConfig(r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False))
    with_adapter = model.encode(INPUTS)
    assert np.abs(with_adapter - before).max() > 1e-3
    np.testing.assert_allclose(with_adapter, by_training_forward(model.eval(), INPUTS), atol=ROUNDING)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("frames", [1, 2])
@torch.no_grad()
def test_folding_the_normalisation_loses_nothing(frames: int, bias: bool) -> None:
    """Against float64, which neither float32 way reaches: the folded projection is as near as the plain."""
    generator = torch.Generator().manual_seed(0)
    projection = torch.nn.Conv3d(3, 32, (2, 14, 14), bias=bias)
    weight = torch.nn.init.normal_(projection.weight, generator=generator).detach()
    constant = torch.nn.init.normal_(projection.bias, generator=generator).detach() if bias else 0
    patches = torch.randint(0, 256, (20, 3, frames, 196), dtype=torch.uint8, generator=generator)
    both = patches.expand(-1, -1, 2, -1).reshape(20, -1)
    pixels = normalised(both, LAYOUT)
    exact = pixels.double() @ weight.double().flatten(1).T + constant
    given = {"stills": None, "clips": None, "clips" if frames == 2 else "stills": patches.flatten(1)}
    error = (project_levels(projection, layout=LAYOUT, **given) - exact).abs().max()
    assert error <= 1.5 * (pixels @ weight.flatten(1).T + constant - exact).abs().max() + 1e-6


def test_bfloat16_drifts_within_the_documented_bound(embedded: VLM2Vec) -> None:
    vectors = embedded.encode(INPUTS)
    half = VLM2Vec(device="cpu", dtype="bfloat16").encode(INPUTS)
    assert half.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(half, axis=1), 1, atol=1e-5)
    assert np.abs(half - vectors).max() > 0
    assert (half * vectors).sum(1).min() > 0.999  # docs/encode.md
