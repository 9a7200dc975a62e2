"""Folders on each network: published layouts, adapters, what does not fit, and saving."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden_cases import GOLDEN
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForImageTextToText

from vlm2vec import VLM2Vec, errors, profiles
from vlm2vec.checkpoints.load import load_network

FOLDERS = {
    "vlm2vec-v2-qwen2.5vl": GOLDEN.parent / "golden_qwen2_5_vl" / "tiny_qwen2_5_vl",
    "nomic-multimodal": GOLDEN.parent / "golden_qwen2_5_vl" / "tiny_qwen2_5_vl",
    "qwen3-vl-embedding": GOLDEN.parent / "golden_qwen3_vl" / "tiny_qwen3vl",
}
PICTURE = np.random.default_rng(0).integers(0, 256, (90, 130, 3), dtype=np.uint8)
INPUTS = ["a cat and a dog", {"image": PICTURE, "text": "what is this"}, PICTURE]


@pytest.fixture(params=FOLDERS)
def profile(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def folder(profile: str) -> Path:
    return FOLDERS[profile]


def load(folder: Path, profile: str, **settings: Any) -> VLM2Vec:
    return VLM2Vec(folder, profile=profile, device="cpu", **settings)


def test_a_saved_model_reloads_to_the_same_vectors(folder: Path, profile: str, tmp_path: Path) -> None:
    model = load(folder, profile)
    model.save(str(tmp_path))
    again = VLM2Vec(tmp_path, device="cpu")
    assert again.profile == profiles.get(profile)
    np.testing.assert_array_equal(again.encode(INPUTS), model.encode(INPUTS))
    processor = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert processor["patch_size"] == model.profile.pixels.patch_size
    video = json.loads((tmp_path / "video_preprocessor_config.json").read_text())["size"]
    frames = model.profile.pixels.frames
    assert video["longest_edge"] == (frames.total_pixels if frames else model.profile.pixels.max_pixels)
    # transformers reads the folder as a model of its own class.
    stock = AutoModel.from_pretrained(tmp_path)
    assert type(stock) is type(model[0].model)
    assert stock.state_dict().keys() == model[0].model.state_dict().keys()


OLD_AND_NEW: dict[str, Callable[[str], str]] = {
    "flat, with the tower beside the language model": lambda key: (
        key.removeprefix("model.")
        if "visual." in key
        else f"model.{key.removeprefix('model.').removeprefix('language_model.')}"
    ),
    "nested, as newer releases save it": lambda key: (
        f"model.{key.removeprefix('model.')}"
        if "visual." in key
        else f"model.language_model.{key.removeprefix('model.').removeprefix('language_model.')}"
    ),
}


@pytest.mark.parametrize("layout", OLD_AND_NEW)
def test_weights_load_under_the_names_that_releases_gave_them(
    folder: Path, profile: str, layout: str, tmp_path: Path
) -> None:
    if profile == "qwen3-vl-embedding" and layout.startswith("flat"):
        pytest.skip("Qwen3-VL is younger than the flat layout")
    shutil.copytree(folder, tmp_path / "copy")
    weights = load_file(folder / "model.safetensors")
    renamed = {OLD_AND_NEW[layout](key): value for key, value in weights.items()}
    renamed["lm_head.weight"] = torch.zeros(1)  # a head that is not needed
    save_file(renamed, tmp_path / "copy" / "model.safetensors", metadata={"format": "pt"})
    found = load(tmp_path / "copy", profile).encode(INPUTS)
    np.testing.assert_array_equal(found, load(folder, profile).encode(INPUTS))


def test_a_missing_weight_of_the_tower_is_an_error(folder: Path, profile: str, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    weights = load_file(folder / "model.safetensors")
    key = next(key for key in weights if "visual.merger" in key)
    del weights[key]
    save_file(weights, tmp_path / "copy" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(errors.CheckpointError, match=r"1 missing \(visual\.merger"):
        load(tmp_path / "copy", profile)


# As adapters of this line name their layers: by their ends, or as colpali_engine's recipes do.
TARGETS = {
    "names": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    "a pattern": r"(.*(model)(?!.*visual).*(down_proj|gate_proj|up_proj|k_proj|q_proj|v_proj|o_proj).*$)",
}


@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize("targets", TARGETS)
def test_a_published_adapter_merges_to_what_peft_computes(
    folder: Path, profile: str, targets: str, dora: bool, tmp_path: Path
) -> None:
    # Trained in the class with a language-model head, as most are, so that its keys are that one's.
    whole = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    config = LoraConfig(r=4, target_modules=TARGETS[targets], init_lora_weights=False, use_dora=dora)
    wrapped = get_peft_model(whole, config)
    wrapped.save_pretrained(tmp_path / "adapter")
    reference = wrapped.merge_and_unload().model
    assert load_file(tmp_path / "adapter" / "adapter_model.safetensors").keys()
    model = load(tmp_path / "adapter", profile, base_model=folder, dtype="float32")
    expected = dict(reference.named_parameters())
    found = dict(model[0].model.named_parameters())
    assert found.keys() == expected.keys()
    for name, weight in found.items():
        torch.testing.assert_close(weight, expected[name], msg=name)
    plain = load_network(folder, dtype=torch.float32)
    of_tower = "visual.blocks.0.mlp.down_proj.weight"
    if of_tower in found:  # layers of that name are in the tower of Qwen2.5-VL too, and names mean them all
        changed = not torch.equal(found[of_tower], plain.state_dict()[of_tower])
        assert changed == (targets == "names")


def test_an_adapter_is_trained_saved_and_loaded_again(folder: Path, profile: str, tmp_path: Path) -> None:
    rows = [
        {"query": f"what is in picture {number}", "document": {"image": np.roll(PICTURE, 9 * number, axis=1)}}
        for number in range(4)
    ]
    model = load(folder, profile)
    before = model.encode(INPUTS)
    model.fit(rows, max_steps=2, lora=True, learning_rate=1e-2, show_progress_bar=False)
    after = model.encode(INPUTS)
    assert np.abs(after - before).max() > 1e-4
    model.save(str(tmp_path))
    assert (tmp_path / "adapter_config.json").is_file()
    np.testing.assert_allclose(VLM2Vec(tmp_path, device="cpu").encode(INPUTS), after, atol=2e-6)


@pytest.mark.parametrize(("given", "means"), [("vlm2vec-v2", "Qwen2-VL"), ("qwen3-vl-embedding", "Qwen3-VL")])
def test_a_profile_for_another_network_is_an_error(given: str, means: str) -> None:
    with pytest.raises(errors.CheckpointError) as caught:
        load(FOLDERS["nomic-multimodal"], given)
    assert f"on Qwen2.5-VL, and the profile {given} is for {means}. Choose one of" in str(caught.value)
    assert "nomic-multimodal" in str(caught.value)


def test_a_profile_with_other_patches_is_an_error() -> None:
    profile = profiles.get("qwen3-vl-embedding")
    other = replace(profile, pixels=replace(profile.pixels, patch_size=14))
    with pytest.raises(errors.CheckpointError, match=r"patch_size .* is 14, and that of Qwen3-VL is 16"):
        VLM2Vec(FOLDERS["qwen3-vl-embedding"], profile=other, device="cpu")


def test_a_configuration_with_other_patches_is_an_error(tmp_path: Path) -> None:
    shutil.copytree(FOLDERS["qwen3-vl-embedding"], tmp_path / "copy")
    config = json.loads((tmp_path / "copy" / "config.json").read_text())
    config["vision_config"]["spatial_merge_size"] = 4
    (tmp_path / "copy" / "config.json").write_text(json.dumps(config))
    with pytest.raises(errors.CheckpointError, match=r"none of Qwen3-VL \(merge_size is 4\)"):
        load(tmp_path / "copy", "qwen3-vl-embedding")


def test_a_network_that_is_not_known_is_an_error_that_lists_those_that_are(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mllama"}))
    with pytest.raises(errors.CheckpointError) as caught:
        load(tmp_path, "vlm2vec-v2")
    assert "this is a 'mllama' model" in str(caught.value)
    networks = "Qwen2-VL, Qwen2.5-VL, Qwen3-VL, LLaVA-NeXT, Phi-3.5-V, LLaVA-OneVision and Qwen3.5"
    assert f"checkpoints on {networks}" in str(caught.value)


def test_a_tokenizer_without_a_token_that_is_pooled_is_an_error() -> None:
    with pytest.raises(errors.CheckpointError, match="has no <disc_emb>, which the profile writes"):
        load(GOLDEN / "tiny_qwen2vl", "ume-r1")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("qwen3-vl-embedding", "on Qwen2-VL, and the profile qwen3-vl-embedding is for Qwen3-VL"),
        ("nomic-multimodal", "the profile nomic-multimodal is for Qwen2.5-VL"),
        ("ume-r1", "the tokenizer has no <disc_emb>"),
    ],
)
def test_a_profile_that_does_not_fit_is_an_error_in_each_call_too(name: str, said: str) -> None:
    model = load(GOLDEN / "tiny_qwen2vl", "vlm2vec-v2")
    vector = model.encode("a cat")
    for given in ("a cat", PICTURE):
        with pytest.raises(errors.CheckpointError, match=said):
            model.encode(given, profile=profiles.get(name))
    np.testing.assert_array_equal(model.encode("a cat", profile=profiles.get("vlm2vec-v2")), vector)
    model[0].profile = profiles.get(name)
    with pytest.raises(errors.CheckpointError, match=said):
        model.encode("a cat")


@pytest.mark.parametrize("path", ["seed-1/my-embedding", "runs/seed-2-embedding", "IFM-TTE-again"])
def test_a_folder_of_ones_own_is_not_taken_for_a_repository_that_is_refused(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(FOLDERS["qwen3-vl-embedding"], path)
    for name in (path, str(tmp_path / path)):
        assert load(Path(name), "qwen3-vl-embedding").profile.name == "qwen3-vl-embedding"


@pytest.mark.parametrize(
    "path", ["Qwen3-VL-Embedding-2B", "models--Qwen--Qwen3-VL-Embedding-8B/snapshots/9f2e7f71"]
)
def test_a_local_copy_of_a_published_repository_needs_no_profile(path: str, tmp_path: Path) -> None:
    shutil.copytree(FOLDERS["qwen3-vl-embedding"], tmp_path / path)
    assert VLM2Vec(tmp_path / path, device="cpu").profile.name == "qwen3-vl-embedding"


def test_what_a_folder_says_itself_goes_before_its_name(tmp_path: Path) -> None:
    own = replace(profiles.get("qwen3-vl-embedding"), name="my-own", default_instruction="Mine.")
    VLM2Vec(FOLDERS["qwen3-vl-embedding"], profile=own, device="cpu").save(
        str(tmp_path / "Qwen3-VL-Embedding-2B")
    )
    assert VLM2Vec(tmp_path / "Qwen3-VL-Embedding-2B", device="cpu").profile == own


def test_a_name_that_is_nearly_that_of_a_published_model_is_answered_with_it() -> None:
    with pytest.raises(errors.CheckpointError, match='Did you mean "Qwen/Qwen3-VL-Embedding-2B"'):
        VLM2Vec("qwen3-vl-embedding-2b", local_files_only=True, device="cpu")
