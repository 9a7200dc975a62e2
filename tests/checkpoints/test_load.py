"""Checkpoints that load, and the many ways in which one may not fit."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers.utils.logging
from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, BertConfig, Qwen2VLModel

from vlm2vec import VLM2Vec, errors
from vlm2vec.checkpoints.load import load_network, load_tokenizer, resolve_folder

TEXT = "a cat and a dog"


def copy(golden: Path, name: str, target: Path) -> Path:
    shutil.copytree(golden / name, target / name)
    return target / name


def edit_weights(folder: Path, change: Any, file: str = "model.safetensors") -> None:
    weights = load_file(folder / file)
    change(weights)
    save_file(weights, folder / file, metadata={"format": "pt"})


def load(folder: Path, **kwargs: Any) -> VLM2Vec:
    return VLM2Vec(folder, profile="vlm2vec-v2", device="cpu", **kwargs)


def test_the_newer_layout_gives_the_same_network(golden: Path, tmp_path: Path, tiny: VLM2Vec) -> None:
    folder = copy(golden, "tiny_qwen2vl", tmp_path)

    def rename(weights: dict[str, torch.Tensor]) -> None:
        for key in list(weights):
            inner = key.removeprefix("model.")
            new = f"model.{inner}" if inner.startswith("visual.") else f"model.language_model.{inner}"
            weights[new] = weights.pop(key)

    edit_weights(folder, rename)
    model = load(folder)
    assert (model.encode(TEXT) == tiny.encode(TEXT)).all()
    model.save(str(tmp_path / "saved"))
    for name, tensor in load(tmp_path / "saved")[0].model.state_dict().items():
        assert torch.equal(tensor, model[0].model.state_dict()[name])


def test_weights_in_a_pickle_load_too(golden: Path, tmp_path: Path, tiny: VLM2Vec) -> None:
    folder = copy(golden, "tiny_qwen2vl", tmp_path)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert (load(folder).encode(TEXT) == tiny.encode(TEXT)).all()


@pytest.mark.parametrize("key", ["model.norm.weight", "visual.blocks.1.attn.qkv.bias"])
def test_a_missing_weight_is_an_error(golden: Path, tmp_path: Path, key: str) -> None:
    folder = copy(golden, "tiny_qwen2vl", tmp_path)
    edit_weights(folder, lambda weights: weights.pop(key))
    with pytest.raises(errors.CheckpointError, match=r"1 missing \(.*" + key.rpartition(".")[0][-8:]):
        load(folder)


def test_an_unexpected_weight_is_an_error(golden: Path, tmp_path: Path) -> None:
    folder = copy(golden, "tiny_qwen2vl", tmp_path)
    edit_weights(folder, lambda weights: weights.update({"model.layers.9.extra": torch.zeros(2)}))
    with pytest.raises(errors.CheckpointError, match="1 unexpected"):
        load(folder)


def test_the_language_model_head_is_not_needed(golden: Path, tmp_path: Path, tiny: VLM2Vec) -> None:
    folder = copy(golden, "tiny_qwen2vl", tmp_path)
    head = torch.zeros(576, 64, dtype=torch.bfloat16)
    edit_weights(folder, lambda weights: weights.update({"lm_head.weight": head}))
    assert (load(folder).encode(TEXT) == tiny.encode(TEXT)).all()


def test_a_weight_of_another_shape_is_an_error(golden: Path, tmp_path: Path) -> None:
    folder = copy(golden, "tiny_qwen2vl", tmp_path)
    edit_weights(folder, lambda weights: weights.update({"model.norm.weight": torch.zeros(3)}))
    with pytest.raises(errors.CheckpointError, match=r"shape|mismatch"):
        load(folder)


def test_an_incomplete_folder_is_an_error(golden: Path, tmp_path: Path) -> None:
    folder = copy(golden, "tiny_qwen2vl", tmp_path)
    (folder / "model.safetensors").unlink()
    with pytest.raises(errors.CheckpointError, match="weights cannot be loaded"):
        load(folder)
    (folder / "config.json").unlink()
    with pytest.raises(errors.CheckpointError, match=r"config"):
        load(folder)


def test_a_folder_without_a_model_is_told_what_is_missing(golden: Path, tmp_path: Path) -> None:
    expected = "neither config.json nor adapter_config.json"
    for profile in (None, "vlm2vec-v2"):
        with pytest.raises(
            errors.CheckpointError, match=f"{expected}; it is empty.*tokenizer.json and weights"
        ):
            VLM2Vec(tmp_path, profile=profile)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(errors.CheckpointError, match=f"{expected}. A model is config.json"):
        VLM2Vec(str(tmp_path))
    copy(golden, "tiny_qwen2vl", tmp_path)
    with pytest.raises(errors.CheckpointError, match=f"{expected}. Pass a folder in it .*: tiny_qwen2vl."):
        VLM2Vec(tmp_path)


def test_a_cut_off_weights_file_is_an_error(golden: Path, tmp_path: Path) -> None:
    file = copy(golden, "tiny_qwen2vl", tmp_path) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(errors.CheckpointError, match="weights cannot be loaded"):
        load(file.parent)


def test_another_kind_of_model_is_an_error(tmp_path: Path) -> None:
    BertConfig().save_pretrained(tmp_path)
    with pytest.raises(errors.CheckpointError, match="'bert' model"):
        load(tmp_path)


def test_a_missing_tokenizer_is_an_error(golden: Path, tmp_path: Path) -> None:
    folder = copy(golden, "tiny_qwen2vl", tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"):
        (folder / name).unlink()
    with pytest.raises(errors.CheckpointError, match="tokenizer"):
        load_tokenizer(folder, AutoConfig.from_pretrained(folder))


def test_what_is_neither_a_folder_nor_on_the_hub_is_an_error() -> None:
    with pytest.raises(errors.CheckpointError, match="no folder of this name"):
        resolve_folder("nobody/nothing")


def test_an_adapter_finds_its_base_beside_it(golden: Path, tmp_path: Path) -> None:
    copy(golden, "tiny_qwen2vl", tmp_path)
    vector = load(copy(golden, "tiny_adapter_dora", tmp_path)).encode(TEXT)
    named = load(tmp_path / "tiny_adapter_dora", base_model=golden / "tiny_qwen2vl").encode(TEXT)
    assert (vector == named).all()


def test_an_adapter_without_a_tokenizer_takes_its_base_models(golden: Path, tmp_path: Path) -> None:
    folder = copy(golden, "tiny_adapter_dora", tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"):
        (folder / name).unlink()
    vector = load(folder, base_model=golden / "tiny_qwen2vl").encode(TEXT)
    assert (vector == load(golden / "tiny_adapter_dora").encode(TEXT)).all()


def test_an_adapter_without_its_base_is_an_error(golden: Path, tmp_path: Path) -> None:
    folder = copy(golden, "tiny_adapter_dora", tmp_path)
    with pytest.raises(errors.CheckpointError, match="tiny_qwen2vl"):
        load(folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": None}))
    with pytest.raises(errors.CheckpointError, match="does not name its base"):
        load(folder)


@pytest.mark.parametrize("kind", ["lora_A.weight", "lora_magnitude_vector"])
def test_an_adapter_with_a_missing_key_is_an_error(golden: Path, tmp_path: Path, kind: str) -> None:
    folder = copy(golden, "tiny_adapter_dora", tmp_path)

    def drop(weights: dict[str, torch.Tensor]) -> None:
        weights.pop(next(key for key in weights if kind in key))

    edit_weights(folder, drop, "adapter_model.safetensors")
    with pytest.raises(errors.CheckpointError, match="1 missing"):
        load(folder, base_model=golden / "tiny_qwen2vl")


def test_an_adapter_with_an_unexpected_key_is_an_error(golden: Path, tmp_path: Path) -> None:
    folder = copy(golden, "tiny_adapter_dora", tmp_path)
    extra = {"base_model.model.model.layers.7.mlp.up_proj.lora_A.weight": torch.zeros(16, 64)}
    edit_weights(folder, lambda weights: weights.update(extra), "adapter_model.safetensors")
    with pytest.raises(errors.CheckpointError, match="1 unexpected"):
        load(folder, base_model=golden / "tiny_qwen2vl")


def test_an_adapter_without_weights_is_an_error(golden: Path, tmp_path: Path) -> None:
    folder = copy(golden, "tiny_adapter_dora", tmp_path)
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(errors.CheckpointError, match=r"neither adapter_model\.safetensors"):
        load(folder, base_model=golden / "tiny_qwen2vl")


def test_a_plain_lora_on_both_towers_merges_to_what_peft_computes(golden: Path, tmp_path: Path) -> None:
    base = load_network(golden / "tiny_qwen2vl", dtype=torch.float32)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "qkv"], init_lora_weights=False)
    wrapped = get_peft_model(base, config)
    wrapped.save_pretrained(tmp_path / "adapter")
    merged = wrapped.merge_and_unload()
    ours = load_network(tmp_path / "adapter", base_model=golden / "tiny_qwen2vl", dtype=torch.float32)
    for (name, one), other in zip(ours.named_parameters(), merged.parameters(), strict=True):
        torch.testing.assert_close(one, other, msg=name)
    plain = load_network(golden / "tiny_qwen2vl", dtype=torch.float32)
    assert not torch.equal(ours.visual.blocks[0].attn.qkv.weight, plain.visual.blocks[0].attn.qkv.weight)


def test_a_tokenizer_of_another_model_is_an_error(golden: Path, tmp_path: Path) -> None:
    folder = copy(golden, "tiny_qwen2vl", tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "image_token_id": 500}))
    with pytest.raises(errors.CheckpointError, match=r"<\|image_pad\|> at 524, .* at 500"):
        load(folder)


def broken_adapters() -> dict[str, Any]:
    def cut(folder: Path) -> None:
        file = folder / "adapter_model.safetensors"
        file.write_bytes(file.read_bytes()[:500])

    def junk_pickle(folder: Path) -> None:
        (folder / "adapter_model.safetensors").unlink()
        (folder / "adapter_model.bin").write_bytes(b"no pickle at all")

    def setting(**changes: Any) -> Any:
        def change(folder: Path) -> None:
            file = folder / "adapter_config.json"
            file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))

        return change

    return {
        "cut off": cut,
        "a pickle that is none": junk_pickle,
        "bad JSON": lambda folder: (folder / "adapter_config.json").write_text("{"),
        "an unknown target": setting(target_modules=["nowhere"]),
        "another rank": setting(r=3),
        "another kind": setting(peft_type="IA3"),
    }


@pytest.mark.parametrize("kind", broken_adapters())
def test_a_broken_adapter_is_a_checkpoint_error(golden: Path, tmp_path: Path, kind: str) -> None:
    folder = copy(golden, "tiny_adapter_dora", tmp_path)
    broken_adapters()[kind](folder)
    with pytest.raises(errors.CheckpointError, match="adapter"):
        load(folder, base_model=golden / "tiny_qwen2vl")


def test_a_base_for_what_is_no_adapter_is_an_error(golden: Path) -> None:
    with pytest.raises(errors.CheckpointError, match="no adapter"):
        load(golden / "tiny_qwen2vl", base_model=golden / "tiny_qwen2vl")


def test_adapters_in_half_precision_keep_exact_positions(golden: Path, tmp_path: Path) -> None:
    model = load(golden / "tiny_adapter_dora", model_kwargs={"dtype": "bfloat16"})
    network = model[0].model
    assert {parameter.dtype for parameter in network.parameters()} == {torch.bfloat16}
    assert network.language_model.rotary_emb.inv_freq.dtype == torch.float32
    model.save(str(tmp_path))
    again = VLM2Vec(tmp_path, device="cpu", model_kwargs={"dtype": "bfloat16"})
    assert (again.encode(TEXT * 50) == model.encode(TEXT * 50)).all()


def with_adapter(model: VLM2Vec) -> VLM2Vec:
    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    model.add_adapter(config)
    return model


@pytest.mark.parametrize("start", ["tiny_qwen2vl", "tiny_adapter_dora"])
def test_an_adapter_of_ones_own_reloads_to_equal_vectors(golden: Path, tmp_path: Path, start: str) -> None:
    model = with_adapter(load(golden / start))
    model.save(str(tmp_path))
    assert json.loads((tmp_path / "adapter_config.json").read_text())["base_model_name_or_path"].endswith(
        start
    )
    assert not (tmp_path / "model.safetensors").exists()
    again = VLM2Vec(tmp_path, device="cpu")
    assert abs(again.encode(TEXT) - model.encode(TEXT)).max() <= 1e-6
    assert abs(again.encode(TEXT) - load(golden / start).encode(TEXT)).max() > 1e-3


@pytest.fixture
def halved(golden: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A checkpoint whose weights are bfloat16, and an adapter for it."""
    base = tmp_path / "base"
    network = load_network(golden / "tiny_qwen2vl", dtype=torch.bfloat16)
    network.save_pretrained(base)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"):
        shutil.copy(golden / "tiny_qwen2vl" / name, base)
    adapter = copy(golden, "tiny_adapter_dora", tmp_path)
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": str(base)}))
    return base, adapter


def types_of(model: VLM2Vec) -> set[torch.dtype]:
    return {parameter.dtype for parameter in model.parameters()}


@pytest.mark.parametrize("kind", ["merged", "adapter"])
def test_large_networks_keep_their_type_on_a_cpu_unless_asked_otherwise(
    halved: tuple[Path, Path], kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = halved[kind == "adapter"]
    assert types_of(load(folder)) == {torch.float32}
    assert types_of(load(folder, dtype="auto")) == {torch.bfloat16}
    parameters = sum(weight.numel() for weight in load(folder).parameters())
    monkeypatch.setattr("vlm2vec.blocks.device.LARGE", parameters)
    with caplog.at_level("INFO", logger="vlm2vec"):
        assert types_of(load(folder)) == {torch.bfloat16}
    assert sum("stay bfloat16, as in the checkpoint" in message for message in caplog.messages) == 1
    assert types_of(load(folder, dtype="float32")) == {torch.float32}
    monkeypatch.setattr("vlm2vec.blocks.device.LARGE", parameters + 1)
    assert types_of(load(folder)) == {torch.float32}


def test_a_large_network_in_float16_is_bfloat16_on_a_cpu(
    golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    VLM2Vec(golden / "tiny_qwen2vl", profile="vlm2vec-v2", device="cpu", dtype="float16").save(str(tmp_path))
    assert types_of(load(tmp_path, dtype="auto")) == {torch.float16}
    monkeypatch.setattr("vlm2vec.blocks.device.LARGE", 1)
    with caplog.at_level("INFO", logger="vlm2vec"):
        assert types_of(load(tmp_path)) == {torch.bfloat16}
    assert any("become bfloat16" in message for message in caplog.messages)


def test_an_adapter_is_merged_without_its_base_ever_being_in_float32(
    halved: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = load_network(halved[1], dtype=torch.float32)
    asked: list[torch.dtype] = []
    whole = Qwen2VLModel.from_pretrained

    def noted(*arguments: Any, **settings: Any) -> Any:
        asked.append(settings["dtype"])
        return whole(*arguments, **settings)

    monkeypatch.setattr(Qwen2VLModel, "from_pretrained", noted)
    merged = load_network(halved[1])
    assert asked == [torch.bfloat16]
    # Rounded once, from what float32 gives.
    for (name, one), other in zip(merged.named_parameters(), exact.parameters(), strict=True):
        assert torch.equal(one, other.to(torch.bfloat16)), name


def test_an_adapter_on_an_adapter_is_merged_into_it(golden: Path, tmp_path: Path) -> None:
    model = with_adapter(load(golden / "tiny_adapter_dora"))
    model.save(str(tmp_path))
    network = load_network(tmp_path, dtype=torch.float32)
    model.merge_adapter()
    for (name, one), other in zip(network.named_parameters(), model[0].model.parameters(), strict=True):
        torch.testing.assert_close(one, other, msg=name)


@pytest.mark.parametrize("where", ["text_config", "nowhere"])
def test_a_type_that_the_configuration_does_not_name_is_that_of_the_weights(
    halved: tuple[Path, Path], where: str
) -> None:
    file = halved[0] / "config.json"
    config = json.loads(file.read_text())
    del config["dtype"]
    for part in ("text_config", "vision_config"):
        config[part].pop("dtype", None)
    if where == "text_config":
        config["text_config"]["dtype"] = "bfloat16"
    file.write_text(json.dumps(config))
    assert types_of(load(halved[0], dtype="auto")) == {torch.bfloat16}


def test_the_tokenizer_of_an_adapter_on_an_adapter_is_that_of_the_base(golden: Path, tmp_path: Path) -> None:
    folder = copy(golden, "tiny_adapter_dora", tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"):
        (folder / name).unlink(missing_ok=True)
    file = folder / "adapter_config.json"
    content = {**json.loads(file.read_text()), "base_model_name_or_path": str(golden / "tiny_qwen2vl")}
    file.write_text(json.dumps(content))
    shutil.copytree(folder, tmp_path / "above")
    file = tmp_path / "above" / "adapter_config.json"
    file.write_text(json.dumps({**content, "base_model_name_or_path": str(folder)}))
    assert load(tmp_path / "above").encode(TEXT).shape == load(folder).encode(TEXT).shape


def test_an_adapter_that_is_its_own_base_is_an_error(golden: Path, tmp_path: Path) -> None:
    folder = copy(golden, "tiny_adapter_dora", tmp_path)
    with pytest.raises(errors.CheckpointError, match="names itself as its base"):
        load(folder, base_model=folder)


@pytest.mark.parametrize("is_terminal", [False, True])
@pytest.mark.parametrize("downloads_have_bars", [False, True])
def test_the_bars_of_loading_and_saving_are_for_terminals_and_settings_stay(
    is_terminal: bool, downloads_have_bars: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stream(io.StringIO):
        def isatty(self) -> bool:
            return is_terminal

    stream = Stream()
    monkeypatch.setattr(sys, "stderr", stream)
    (enable_progress_bars if downloads_have_bars else disable_progress_bars)()
    try:
        VLM2Vec(device="cpu").save_pretrained(str(tmp_path / "saved"))
        assert ("Loading weights" in stream.getvalue()) == is_terminal
        assert ("Writing model shards" in stream.getvalue()) == is_terminal
        assert transformers.utils.logging.is_progress_bar_enabled()
        assert are_progress_bars_disabled() != downloads_have_bars
    finally:
        enable_progress_bars()
