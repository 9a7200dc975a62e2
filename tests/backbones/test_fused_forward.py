"""Each network with fused kernels, interpreted on the CPU, against the same by torch's operators."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import test_networks
import torch
from golden_cases import raw_input
from peft import LoraConfig
from test_networks import FOLDERS, assert_close, batch_for, encoded_states
from torch import Tensor
from transformers import PreTrainedModel

from vlm2vec import VLM2Vec
from vlm2vec.blocks import fused, linear
from vlm2vec.blocks.attention import Segments
from vlm2vec.blocks.options import ForwardOptions
from vlm2vec.checkpoints.adapter import add_adapter
from vlm2vec.checkpoints.load import load_network
from vlm2vec.encoding.settings import EngineSettings

EAGER, FUSED = ForwardOptions(kernel="torch"), ForwardOptions(kernel="torch", fuse_elementwise=True)
NEAR = 2e-6  # in a state of length 1; on one processor both were 0.8e-6 off float64


@pytest.fixture(autouse=True)
def few_patches_in_two_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Interpreted, each row takes a while."""
    monkeypatch.setattr(test_networks, "STILLS", [(4, 6), (2, 2), (2, 4), (4, 4)])
    monkeypatch.setattr(test_networks, "CLIPS", [(2, 2, 2), (1, 4, 2)])
    monkeypatch.setattr(linear, "_BLOCK_ROWS", 50)


@pytest.fixture
def started(interpreted_kernels: None, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the kernels that were started."""
    launch, names = fused._launch, []

    def recorded(name: str, *arguments: Any, **constants: Any) -> bool:
        names.append(name)
        return launch(name, *arguments, **constants)

    monkeypatch.setattr(fused, "_launch", recorded)
    return names


@pytest.fixture(params=FOLDERS)
def folder(request: pytest.FixtureRequest) -> Path:
    return FOLDERS[request.param]


def loaded(folder: Path, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    return load_network(folder, dtype=dtype).eval()


def length_one(states: Tensor) -> Tensor:
    return states.double() / states.double().norm(dim=-1, keepdim=True)


def test_states_are_those_of_torchs_operators(folder: Path, started: list[str]) -> None:
    model = loaded(folder)
    batch = batch_for(model)
    expected, found = encoded_states(model, batch, EAGER), encoded_states(model, batch, FUSED)
    assert_close(found, expected, atol=NEAR)
    blocks, layers = len(model.visual.blocks), len(model.language_model.layers)
    assert started.count("rotate") == blocks + layers
    assert started.count("activate") >= layers
    assert started.count("add_norm") >= blocks + layers


def test_bfloat16_is_as_near_to_float64(folder: Path, started: list[str]) -> None:
    model = loaded(folder, torch.bfloat16)
    batch = batch_for(model)
    eager, found = (length_one(encoded_states(model, batch, options)) for options in (EAGER, FUSED))
    exact = length_one(encoded_states(model.float().double(), batch, EAGER))
    assert started
    # 0.95 to 1.16 times, by network and processor: rounding of products outweighs what the kernels round.
    assert (found - exact).norm() <= 1.25 * (eager - exact).norm()


def test_an_adapter_that_is_not_merged_counts(folder: Path, started: list[str]) -> None:
    model = loaded(folder)
    targets = ["q_proj", "v_proj", "gate_proj", "down_proj", "qkv", "fc1", "linear_fc2"]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        add_adapter(model, LoraConfig(r=4, target_modules=targets, init_lora_weights=False))
    batch = batch_for(model)
    assert_close(encoded_states(model, batch, FUSED), encoded_states(model, batch, EAGER), atol=2 * NEAR)
    assert set(started) == {"rotate", "activate", "add_norm"}


def test_states_of_pooled_tokens_alone_are_the_same(folder: Path, started: list[str]) -> None:
    model = loaded(folder)
    batch = batch_for(model)
    lengths = list(batch.language.segments.lengths)
    alone = replace(
        batch.language,
        wanted=batch.language.segments.offsets[1:].long() - 1,
        wanted_segments=Segments.of([1] * len(lengths), key_lengths=lengths),
    )
    batch = replace(batch, language=alone)
    assert_close(encoded_states(model, batch, FUSED), encoded_states(model, batch, EAGER), atol=NEAR)
    assert started


@pytest.mark.usefixtures("interpreted_kernels")
@pytest.mark.parametrize("works_until", [0, 2, 5])
def test_a_kernel_that_is_not_built_midway_costs_no_row(
    works_until: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kernels, asked = fused._kernels(), []

    def of(name: str) -> Any:
        class Kernel:
            def __getitem__(self, grid: tuple[int, ...]) -> Any:
                asked.append(name)
                if len(asked) > works_until:
                    raise RuntimeError("out of resources")
                return getattr(kernels, name)[grid]

        return Kernel()

    model = loaded(FOLDERS["qwen3_vl"])
    batch = batch_for(model)
    expected = encoded_states(model, batch, EAGER)
    monkeypatch.setattr(fused, "_REFUSED", {})
    monkeypatch.setattr(fused, "_missing", lambda _: None)
    monkeypatch.setattr(
        fused,
        "_kernels",
        lambda: SimpleNamespace(activate=of("activate"), rotate=of("rotate"), add_norm=of("add_norm")),
    )
    fused._say_once.cache_clear()
    assert_close(encoded_states(model, batch, FUSED), expected, atol=NEAR)
    assert len(asked) == works_until + 1
    assert len(caplog.messages) == 1
    assert "out of resources" in caplog.messages[0]
    fused._say_once.cache_clear()


PICTURE = np.random.default_rng(5).integers(0, 256, (56, 56, 3), dtype=np.uint8)


@pytest.mark.parametrize("share", [True, False])
def test_vectors_of_a_model_with_prefixes_shared_or_not(
    share: bool, tiny: VLM2Vec, started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = [{"image": PICTURE, "text": "what is this"}, {"image": PICTURE, "text": "and that"}, "a text"]
    expected = tiny.encode(inputs)
    monkeypatch.setattr(tiny, "engine_settings", EngineSettings(share_prefixes=share, fuse_elementwise=True))
    np.testing.assert_allclose(tiny.encode(inputs), expected, atol=NEAR)
    assert set(started) == {"rotate", "activate", "add_norm"}


# Of each kind a small one: interpreted, a picture of a thousand tokens takes minutes.
SMALL_CASES = ("text_short", "text_instr", "img_tiny", "img_only")


@pytest.mark.slow
def test_golden_cases(tiny: VLM2Vec, started: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = [raw_input(name) for name in SMALL_CASES]
    expected = tiny.encode(inputs)
    monkeypatch.setattr(tiny, "engine_settings", EngineSettings(fuse_elementwise=True))
    np.testing.assert_allclose(tiny.encode(inputs), expected, atol=NEAR)
    assert started
