"""What becomes of `model_kwargs` and `processor_kwargs`, as cards of Qwen2-VL models pass them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vlm2vec import VLM2Vec
from vlm2vec.errors import InputError
from vlm2vec.load_settings import device_of, dtype_of, pixel_budget_of, without_placement

IMAGE = np.random.default_rng(0).integers(0, 256, (420, 560, 3), dtype=np.uint8)


def test_dtype_of_reads_what_sentence_transformers_takes() -> None:
    assert dtype_of(None) is dtype_of({"dtype": "auto"}) is None
    assert dtype_of({"torch_dtype": "bfloat16"}) is torch.bfloat16
    assert dtype_of({"dtype": torch.float16}) is torch.float16
    for wrong in ("float17", "int8", torch.int8):
        with pytest.raises(InputError, match=f'{wrong}.*Pass "float32", "bfloat16" or "float16"'):
            dtype_of({"dtype": wrong})


@pytest.mark.parametrize(
    ("device_map", "device", "expected"),
    [
        (None, "cuda:1", "cuda:1"),
        ("auto", None, None),
        ("auto", "cpu", "cpu"),
        ("cuda", None, "cuda"),
        ("cpu", "cpu", "cpu"),
        ({"": "cuda:1"}, None, "cuda:1"),
        ({"": 1}, None, "cuda:1"),
        (torch.device("cpu"), torch.device("cpu"), "cpu"),
    ],
)
def test_a_device_map_of_one_device_is_that_device(
    device_map: Any, device: Any, expected: str | None
) -> None:
    assert device_of({"device_map": device_map}, device) == expected


@pytest.mark.parametrize("device_map", ["balanced", "sequential", {"visual": 0, "language_model": 1}])
def test_a_device_map_of_several_devices_is_refused(device_map: Any) -> None:
    with pytest.raises(InputError, match=r"a model is on one device here\. .*device=\["):
        device_of({"device_map": device_map}, None)


def test_a_device_beside_a_device_map_is_ignored_and_said_so(caplog: pytest.LogCaptureFixture) -> None:
    assert device_of({"device_map": "cpu"}, "cuda") == "cpu"
    assert "device=cuda is ignored: device_map of model_kwargs says cpu" in caplog.text


def test_what_vectors_do_not_depend_on_is_left_out_and_said_so(caplog: pytest.LogCaptureFixture) -> None:
    asked = {"attn_implementation": "flash_attention_2", "dtype": "bfloat16", "device_map": "cpu"}
    with caplog.at_level(logging.INFO):
        assert without_placement(asked) == {"dtype": "bfloat16"}
        assert without_placement({"attn_implementation": "eager", "low_cpu_mem_usage": True}) is None
        assert without_placement({"use_safetensors": True}) is None
    assert "attn_implementation of model_kwargs is left out" in caplog.text
    assert "use_safetensors of model_kwargs is left out: vectors do not depend on it here" in caplog.text
    assert asked["attn_implementation"] == "flash_attention_2"  # the caller's own dict


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("quantization_config", r"LoRA\(quantise=True\)"),
        ("max_memory", "device="),
        ("revision", "VLM2Vec itself"),
        ("num_labels", "dtype, device_map and attn_implementation are taken"),
    ],
)
def test_other_model_kwargs_are_refused_with_what_to_do(name: str, instead: str) -> None:
    with pytest.raises(InputError, match=f"model_kwargs has {name}. .*{instead}"):
        dtype_of({name: "a"})


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("model_max_length", "truncate=True"),
        ("size", "min_pixels and max_pixels"),
        ("num_frames", "'num_frames': 16"),
        ("do_resize", "the profile says the rest"),
    ],
)
def test_other_processor_kwargs_are_refused_with_what_to_do(name: str, instead: str) -> None:
    with pytest.raises(InputError, match=f"processor_kwargs has {name}. .*{instead}"):
        pixel_budget_of({name: 1})


def test_a_pixel_budget_is_the_one_of_the_processor_kwargs() -> None:
    asked = {"min_pixels": 3136, "max_pixels": 50176, "padding_side": "left", "use_fast": True}
    assert pixel_budget_of(asked) == {"min_pixels": 3136, "max_pixels": 50176}
    assert pixel_budget_of(None) == {}
    with pytest.raises(InputError, match=r"max_pixels is float 0\.5"):
        pixel_budget_of({"max_pixels": 0.5})


@pytest.fixture
def published(golden: Path) -> dict[str, Any]:
    """Arguments of a checkpoint that has no modules.json."""
    return {"model_name_or_path": golden / "tiny_qwen2vl", "profile": "vlm2vec-v2"}


def test_a_model_loads_as_its_card_says_and_gives_the_same_vectors(
    published: dict[str, Any], tiny: VLM2Vec
) -> None:
    model = VLM2Vec(
        **published,
        model_kwargs={
            "attn_implementation": "flash_attention_2",
            "device_map": "cpu",
            "torch_dtype": "float32",
        },
        processor_kwargs={"padding_side": "left"},
    )
    assert model.device.type == "cpu"
    np.testing.assert_array_equal(model.encode(["a cat", IMAGE]), tiny.encode(["a cat", IMAGE]))


def test_the_pixel_budget_reaches_pictures_of_published_and_of_saved_models(
    published: dict[str, Any], tiny: VLM2Vec, tmp_path: Path
) -> None:
    small = tiny.encode([{"image": IMAGE, "max_pixels": 28 * 28 * 16}])
    assert np.abs(small - tiny.encode([IMAGE])).max() > 1e-3
    asked = {"max_pixels": 28 * 28 * 16}
    model = VLM2Vec(**published, device="cpu", processor_kwargs=asked)
    np.testing.assert_array_equal(model.encode([IMAGE]), small)
    model.save(str(tmp_path))
    assert VLM2Vec(tmp_path, device="cpu").profile.pixels.max_pixels == 28 * 28 * 16
    tiny.save(str(tmp_path))
    np.testing.assert_array_equal(
        VLM2Vec(tmp_path, device="cpu", processor_kwargs=asked).encode([IMAGE]), small
    )
    assert VLM2Vec(tmp_path, device="cpu").profile == tiny.profile


@pytest.mark.parametrize("asked", [{"max_pixels": 100}, {"min_pixels": 10**7}])
def test_a_pixel_budget_that_cannot_be_is_refused(published: dict[str, Any], asked: dict[str, int]) -> None:
    with pytest.raises(InputError, match="Pass max_pixels of at least 784 and of min_pixels"):
        VLM2Vec(**published, device="cpu", processor_kwargs=asked)


def test_an_argument_that_is_misspelt_is_no_damaged_model() -> None:
    with pytest.raises(InputError, match=r'VLM2Vec has no argument "devise"\. Did you mean "device"\?'):
        VLM2Vec(devise="cpu")
    with pytest.raises(InputError, match=r'no argument "alow_urls"\. Did you mean "allow_urls"\?'):
        VLM2Vec(alow_urls=True)
    with pytest.raises(InputError, match=r'no argument "zzz"\. Correct the name, or leave it out'):
        VLM2Vec(zzz=1)
