"""Adapters by peft alone, beside a transformers that refuses to work with it."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import load_file

from vlm2vec import VLM2Vec
from vlm2vec.checkpoints.adapter import merge_adapter
from vlm2vec.errors import CheckpointError, InputError
from vlm2vec.training import LoRA

TEXTS = ["a red circle", "a blue square moving left", "a page of numbers"]
ROWS = [{"query": f"word {number}", "document": f"the number {number}"} for number in range(8)]
TARGETS = ["q_proj", "down_proj"]


@pytest.fixture(autouse=True)
def gate(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transformers that asks for a version of peft that is not there, as 5.24.0 did."""

    def refuse(*_: Any, **__: Any) -> None:
        raise ImportError("peft>=99 is required")

    patched = 0
    for name, module in list(sys.modules.items()):
        if name.startswith("transformers") and "check_peft_version" in vars(module):
            monkeypatch.setattr(module, "check_peft_version", refuse)
            patched += 1
    assert patched


def config(**settings: Any) -> LoraConfig:
    return LoraConfig(**{"r": 4, "target_modules": TARGETS, "init_lora_weights": False, **settings})


def with_adapter(name: str = "default", **settings: Any) -> VLM2Vec:
    model = VLM2Vec(device="cpu")
    torch.manual_seed(0)
    model.add_adapter(config(**settings), name)
    return model


@pytest.mark.parametrize("dora", [False, True])
def test_an_adapter_is_trained_saved_loaded_resumed_and_merged(tmp_path: Path, dora: bool) -> None:
    lora = LoRA(r=4, use_dora=dora)
    settings: dict[str, Any] = {"lora": lora, "learning_rate": 1e-2, "save_steps": 2, "output_dir": tmp_path}
    straight = VLM2Vec(device="cpu")
    straight.fit(ROWS, max_steps=4, show_progress_bar=False, **settings)
    assert straight.active_adapters() == ["default"]
    files = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert {"adapter_config.json", "adapter_model.safetensors"} <= files
    assert "model.safetensors" not in files
    trained = straight.encode(TEXTS)
    assert np.abs(trained - VLM2Vec(device="cpu").encode(TEXTS)).max() > 1e-3
    np.testing.assert_allclose(VLM2Vec(tmp_path, device="cpu").encode(TEXTS), trained, atol=4e-6)

    resumed = VLM2Vec(device="cpu")
    settings["resume"] = tmp_path / "checkpoint-2"
    assert resumed.fit(ROWS, max_steps=4, show_progress_bar=False, **settings).resumed_at == 2
    np.testing.assert_allclose(resumed.encode(TEXTS), trained, atol=1e-6)

    straight.merge_adapter()
    np.testing.assert_allclose(straight.encode(TEXTS), trained, atol=4e-6)
    with pytest.raises(InputError, match="no adapter"):
        straight.active_adapters()
    straight.save(str(tmp_path / "merged"))
    np.testing.assert_allclose(VLM2Vec(tmp_path / "merged", device="cpu").encode(TEXTS), trained, atol=4e-6)


def test_a_saved_adapter_has_the_names_that_peft_reads(tmp_path: Path) -> None:
    model = with_adapter(name="mine")
    model.save(str(tmp_path))
    saved = load_file(tmp_path / "adapter_model.safetensors")
    own = {key: value for key, value in model[0].model.state_dict().items() if "lora_" in key}
    assert {f"base_model.model.{key.replace('.mine', '')}" for key in own} == set(saved)
    for key, value in own.items():
        assert torch.equal(saved[f"base_model.model.{key.replace('.mine', '')}"], value)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["r"] == 4


def test_the_network_s_own_way_to_save_never_writes_wrapped_weights(tmp_path: Path) -> None:
    with pytest.raises(ImportError, match="peft"):
        with_adapter()[0].model.save_pretrained(tmp_path)
    assert not (tmp_path / "model.safetensors").exists()


def test_adapters_are_switched_and_taken_away() -> None:
    model = VLM2Vec(device="cpu")
    plain = model.encode(TEXTS)
    torch.manual_seed(1)
    model.add_adapter(config())
    first = model.encode(TEXTS)
    model.add_adapter(config(r=2), "other")
    assert model.active_adapters() == ["other"]
    other = model.encode(TEXTS)
    for one, two in ((plain, first), (plain, other), (first, other)):
        assert np.abs(one - two).max() > 1e-3
    model.set_adapter("default")
    assert model.active_adapter() == "default"
    np.testing.assert_array_equal(model.encode(TEXTS), first)
    model.disable_adapters()
    np.testing.assert_allclose(model.encode(TEXTS), plain, atol=5e-7)
    model.enable_adapters()
    np.testing.assert_array_equal(model.encode(TEXTS), first)
    weights = model.get_adapter_state_dict("other")
    assert all(min(value.shape) == 2 for value in weights.values())
    model.delete_adapter("default")
    assert model.active_adapters() == ["other"]
    model.delete_adapter(["other"])
    assert not any(isinstance(module, BaseTunerLayer) for module in model.modules())
    np.testing.assert_array_equal(model.encode(TEXTS), plain)
    for call in (
        model.active_adapters,
        model.disable_adapters,
        lambda: model.set_adapter("default"),
        lambda: model.set_adapter([]),
    ):
        with pytest.raises(InputError, match="no adapter"):
            call()


def test_two_adapters_of_one_name_are_an_error() -> None:
    with pytest.raises(InputError, match="'default' already"):
        with_adapter().add_adapter(config())


@pytest.mark.parametrize("name", ["", "version.2"])
def test_a_name_that_no_weight_can_have_is_an_error(name: str) -> None:
    with pytest.raises(InputError, match="cannot be called"):
        VLM2Vec(device="cpu").add_adapter(config(), name)


def test_adapters_with_like_names_are_told_apart(tmp_path: Path) -> None:
    with_adapter().save(str(tmp_path))
    model = VLM2Vec(device="cpu")
    for name in ("v10", "v1", "q"):  # weights of the third are below "q_proj"
        model.load_adapter(tmp_path, name)
    np.testing.assert_allclose(model.encode(TEXTS), with_adapter().encode(TEXTS), atol=5e-7)


@pytest.mark.parametrize("targets", [["q_proj", "input_layernorm"], ["no_such_layer"]])
def test_an_adapter_that_cannot_be_added_leaves_the_model_as_it_was(targets: list[str]) -> None:
    model = VLM2Vec(device="cpu")
    plain = model.encode(TEXTS)
    with pytest.raises(ValueError, match=r"not supported|not found"):
        model.add_adapter(config(target_modules=targets))
    with pytest.raises(InputError, match="no adapter"):
        model.active_adapters()
    np.testing.assert_array_equal(model.encode(TEXTS), plain)
    model.add_adapter(config())


def test_an_adapter_of_the_patch_projection_is_refused_unless_it_is_merged(tmp_path: Path) -> None:
    model = VLM2Vec(device="cpu")
    plain = model.encode(TEXTS)
    with pytest.raises(InputError, match=r"patch_embed.*merged"):
        model.add_adapter(config(target_modules=["patch_embed.proj", "q_proj"]))
    np.testing.assert_array_equal(model.encode(TEXTS), plain)


@pytest.mark.parametrize(
    "settings",
    [
        {"modules_to_save": ["merger"]},
        {"init_lora_weights": "pissa"},
        {"init_lora_weights": "olora"},
        {"bias": "all"},
        {"trainable_token_indices": [3, 5]},
        {"use_rslora": True, "alpha_pattern": {"layers.0.self_attn.q_proj": 64}},
    ],
    ids=str,
)
def test_published_kinds_of_adapters_are_merged_into_bfloat16_as_exactly_as_by_peft(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    VLM2Vec(device="cpu", dtype="bfloat16").save(str(tmp_path / "base"))
    base = VLM2Vec(tmp_path / "base", device="cpu", dtype="float32")[0].model
    torch.manual_seed(3)
    wrapped = get_peft_model(base, config(**settings))
    with torch.no_grad():
        for name, weight in wrapped.named_parameters():
            if weight.requires_grad and "lora_A" not in name:
                weight.add_(torch.randn_like(weight) * 0.02)
    wrapped.save_pretrained(str(tmp_path / "adapter"))
    expected = wrapped.merge_and_unload().state_dict()
    shutil.copy(tmp_path / "base" / "vlm2vec.json", tmp_path / "adapter")
    path = str(tmp_path / "base")
    loaded = VLM2Vec(tmp_path / "adapter", base_model=path, device="cpu", dtype="float32")[0].model
    found = loaded.state_dict()
    assert found.keys() == expected.keys()
    for name, weight in expected.items():
        torch.testing.assert_close(found[name], weight, rtol=1e-5, atol=1e-6, msg=name)


def test_names_of_the_whole_network_are_those_of_the_part_that_is_used(tmp_path: Path) -> None:
    model = with_adapter(alpha_pattern={"layers.0.self_attn.q_proj": 64})
    expected = model.encode(TEXTS)
    model.save(str(tmp_path))
    file = tmp_path / "adapter_config.json"
    content = json.loads(file.read_text())
    content["alpha_pattern"] = {"model.language_model.layers.0.self_attn.q_proj": 64}
    file.write_text(json.dumps(content))
    np.testing.assert_allclose(VLM2Vec(tmp_path, device="cpu").encode(TEXTS), expected, atol=4e-6)


def test_layers_that_were_trained_as_a_whole_rest_with_their_adapter() -> None:
    model = VLM2Vec(device="cpu")
    plain = model.encode(TEXTS)
    model.add_adapter(config(modules_to_save=["norm"]))
    with torch.no_grad():
        model[0].model.language_model.norm.modules_to_save["default"].weight[0] = 7.0
    model.disable_adapters()
    np.testing.assert_allclose(model.encode(TEXTS), plain, atol=5e-7)


@pytest.mark.parametrize("dora", [False, True])
def test_an_adapter_that_is_loaded_beside_gives_the_vectors_of_one_that_is_merged(
    tmp_path: Path, dora: bool
) -> None:
    with_adapter(use_dora=dora).save(str(tmp_path))
    beside = VLM2Vec(device="cpu")
    beside.load_adapter(tmp_path)
    assert not any(weight.requires_grad for weight in beside.parameters())
    merged = VLM2Vec(tmp_path, device="cpu")
    assert not any(isinstance(module, BaseTunerLayer) for module in merged.modules())
    np.testing.assert_allclose(beside.encode(TEXTS), merged.encode(TEXTS), atol=4e-6)


def test_an_adapter_that_does_not_fit_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    with_adapter().save(str(tmp_path))
    file = tmp_path / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "r": 3}))
    model = VLM2Vec(device="cpu")
    plain = model.encode(TEXTS)
    with pytest.raises(CheckpointError, match="does not fit its base model"):
        model.load_adapter(tmp_path)
    assert not any(isinstance(module, BaseTunerLayer) for module in model.modules())
    np.testing.assert_array_equal(model.encode(TEXTS), plain)


def test_an_adapter_that_does_not_fit_leaves_others_as_they_were(tmp_path: Path) -> None:
    with_adapter(target_modules=["v_proj", "q_proj"]).save(str(tmp_path))
    file = tmp_path / "adapter_config.json"
    right = json.loads(file.read_text())
    model = with_adapter()
    expected = model.encode(TEXTS)
    learned = {name for name, weight in model.named_parameters() if weight.requires_grad}
    for wrong in ({"r": 3}, {"target_modules": ["v_proj", "input_layernorm"]}):
        file.write_text(json.dumps({**right, **wrong}))
        with pytest.raises(CheckpointError, match="does not fit its base model"):
            model.load_adapter(tmp_path, "other")
        assert model.active_adapters() == ["default"]
        assert {name for name, weight in model.named_parameters() if weight.requires_grad} == learned
        np.testing.assert_array_equal(model.encode(TEXTS), expected)
    model.save(str(tmp_path / "again"))


def test_layers_that_only_the_removed_adapter_changed_are_plain_again(tmp_path: Path) -> None:
    model = with_adapter(modules_to_save=["norm"])
    model.add_adapter(config(target_modules=["v_proj"]), "other")
    expected = model.encode(TEXTS)
    model.delete_adapter("default")
    wrapped = {name for name, module in model.named_modules() if isinstance(module, BaseTunerLayer)}
    assert wrapped
    assert all(name.endswith(".v_proj") for name in wrapped)
    np.testing.assert_allclose(model.encode(TEXTS), expected, atol=5e-7)
    model.save(str(tmp_path))
    np.testing.assert_allclose(VLM2Vec(tmp_path, device="cpu").encode(TEXTS), expected, atol=4e-6)


def test_merging_an_adapter_leaves_out_what_only_the_resting_one_trained() -> None:
    model = with_adapter(modules_to_save=["norm"])
    torch.manual_seed(4)
    model.add_adapter(config(target_modules=["v_proj"]), "other")
    expected = model.encode(TEXTS)
    model.merge_adapter()
    np.testing.assert_allclose(model.encode(TEXTS), expected, atol=4e-6)


def test_layers_that_were_trained_as_a_whole_come_with_an_adapter(tmp_path: Path) -> None:
    model = with_adapter(modules_to_save=["norm"])
    with torch.no_grad():
        model[0].model.language_model.norm.modules_to_save["default"].weight.mul_(torch.rand(()) + 1.5)
        model[0].model.language_model.norm.modules_to_save["default"].weight[0] = 7.0
    expected = model.encode(TEXTS)
    model.save(str(tmp_path))
    np.testing.assert_allclose(VLM2Vec(tmp_path, device="cpu").encode(TEXTS), expected, atol=4e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_layers_are_merged_in_float32_and_rounded_once(dtype: torch.dtype) -> None:
    model = VLM2Vec(device="cpu", dtype="bfloat16")
    network = model[0].model
    before = network.language_model.layers[1].mlp.down_proj.weight.detach().double()
    torch.manual_seed(2)
    model.add_adapter(config())
    layer = network.language_model.layers[1].mlp.down_proj
    down, up = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    assert down.dtype == torch.float32
    expected = before + layer.scaling["default"] * (up.double() @ down.double())
    merge_adapter(network, dtype)
    merged = network.language_model.layers[1].mlp.down_proj.weight
    assert merged.dtype == dtype
    # Half a unit in the last place of the type, and what float32 adds up.
    allowed = torch.finfo(dtype).eps / 2 * expected.abs() + 1e-6
    assert ((merged.double() - expected).abs() <= allowed).all()


def test_a_folder_holds_what_was_saved_last(tmp_path: Path) -> None:
    model = with_adapter()
    model.save(str(tmp_path))
    model.merge_adapter()
    merged = model.encode(TEXTS)
    model.save(str(tmp_path))
    assert not list(tmp_path.glob("adapter*"))
    np.testing.assert_array_equal(VLM2Vec(tmp_path, device="cpu").encode(TEXTS), merged)


def test_an_adapter_is_not_saved_over_the_weights_that_it_belongs_to(tmp_path: Path) -> None:
    VLM2Vec(device="cpu").save(str(tmp_path))
    model = VLM2Vec(tmp_path, device="cpu")
    with pytest.raises(InputError, match="holds the weights that the adapter belongs to"):
        model.fit(ROWS, lora=True, max_steps=1, output_dir=tmp_path)
    model.add_adapter(config())
    with pytest.raises(InputError, match="holds the weights that the adapter belongs to"):
        model.save(str(tmp_path))
    assert not list(tmp_path.glob("adapter*"))


def test_an_adapter_that_diverged_is_merged_into_nothing() -> None:
    model = with_adapter()
    layers = model[0].model.language_model.layers
    with torch.no_grad():
        layers[-1].mlp.down_proj.lora_B["default"].weight[0, 0] = torch.nan
    before = layers[0].mlp.down_proj.base_layer.weight.clone()
    with pytest.raises(CheckpointError, match="NaN or infinite"):
        model.merge_adapter()
    assert torch.equal(layers[0].mlp.down_proj.base_layer.weight, before)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (("no_such_layer",), "no layer 'no_such_layer'.*Name layers of it: .* k_proj, o_proj, "),
        (("q_proj", "w_proj"), "no layer 'w_proj'.*Name layers of it"),
        (("input_layernorm",), "'input_layernorm' is a Qwen2VLRMSNorm.*Name linear layers"),
    ],
)
def test_each_target_has_to_name_linear_layers(targets: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        VLM2Vec(device="cpu").fit(ROWS, lora=LoRA(target_modules=targets), max_steps=1)


def test_what_is_no_configuration_is_refused() -> None:
    for wrong in ({"r": 4}, LoRA(r=4)):
        with pytest.raises(InputError, match=r"Pass a peft\.LoraConfig"):
            VLM2Vec(device="cpu").add_adapter(wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="Pass a list"):
        LoRA(target_modules="q_proj")  # type: ignore[arg-type]


def test_an_adapter_over_weights_that_are_saved_nowhere_is_not_saved(tmp_path: Path) -> None:
    model = VLM2Vec(device="cpu")
    model.fit(ROWS, max_steps=1, lora=False, show_progress_bar=False)
    model.add_adapter(config())
    with pytest.raises(InputError, match=r"saved nowhere.*merge_adapter"):
        model.save(str(tmp_path))


def test_a_loaded_adapter_says_how_it_learns(tmp_path: Path) -> None:
    with_adapter().save(str(tmp_path))
    model = VLM2Vec(device="cpu")
    model.load_adapter(tmp_path)
    with pytest.raises(InputError, match="is_trainable=True"):
        model.fit(ROWS, max_steps=1, show_progress_bar=False)
    model.delete_adapter("default")
    model.load_adapter(tmp_path, is_trainable=True)
    assert model.fit(ROWS, max_steps=1, show_progress_bar=False).steps == 1


def test_an_error_of_another_cause_is_told_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise ValueError("peft is broken")

    monkeypatch.setattr("vlm2vec.checkpoints.adapter.inject_adapter_in_model", fails)
    with pytest.raises(ValueError, match=r"^peft is broken$"):
        VLM2Vec(device="cpu").fit(ROWS, lora=True, max_steps=1)
