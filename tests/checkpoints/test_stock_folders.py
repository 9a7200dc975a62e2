"""Folders of networks that run transformers' own forward: saving, what does not fit, half precision."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_stock import DATA, FAMILIES, INPUTS, cases, checkpoint, input_of, model_of, numbers
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import transformer as stock_module
from transformers import AutoModel

from vlm2vec import VLM2Vec, errors
from vlm2vec.model_card import usage

PICTURE = INPUTS / "img/a_224x168.png"
MIXED = ["a cat and a dog", {"image": PICTURE, "text": "what is this"}, PICTURE]


PROFILES = {**FAMILIES, "qwen3_5": "wemm"}
CHECKPOINTS = {
    **{family: checkpoint(family) for family in FAMILIES},
    "qwen3_5": DATA / "golden_qwen3_5/tiny_qwen3_5",
}


def load(family: str, **settings: object) -> VLM2Vec:
    return VLM2Vec(CHECKPOINTS[family], profile=PROFILES[family], device="cpu", **settings)


@pytest.mark.parametrize("family", [*FAMILIES, "qwen3_5"])
def test_a_saved_model_reloads_to_the_same_vectors(family: str, tmp_path: Path) -> None:
    model = load(family, dtype="float32")
    expected = model.encode(MIXED)
    model.save(str(tmp_path))
    again = VLM2Vec(tmp_path, device="cpu")
    assert again.profile == model.profile
    np.testing.assert_array_equal(again.encode(MIXED), expected)
    if family != "phi3v":
        stock = AutoModel.from_pretrained(tmp_path)
        assert type(stock) is type(model[0].model)
        assert stock.state_dict().keys() == model[0].model.state_dict().keys()


@pytest.mark.parametrize("family", [*FAMILIES, "qwen3_5"])
def test_weights_of_half_precision_give_nearly_the_same_vectors(family: str) -> None:
    whole, half = load(family, dtype="float32").encode(MIXED), load(family, dtype="bfloat16").encode(MIXED)
    assert half.dtype == np.float32
    assert ((whole * half).sum(axis=1) > 0.9).all()


def test_published_names_of_weights_of_phi_are_saved_as_they_were(tmp_path: Path) -> None:
    load("phi3v").save(str(tmp_path))
    published = load_file(checkpoint("phi3v") / "model.safetensors")
    saved = load_file(tmp_path / "model.safetensors")
    assert saved.keys() == published.keys() - {"lm_head.weight"}


def test_embeddings_of_phi_may_lie_under_the_name_that_its_tower_had_for_them(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(checkpoint("phi3v"), folder)
    weights = load_file(folder / "model.safetensors")
    tower = "model.vision_embed_tokens.wte.weight"
    both = {**weights, tower: weights["model.embed_tokens.weight"].clone()}
    alone = {name: value for name, value in both.items() if name != "model.embed_tokens.weight"}
    for stored in (both, alone):
        save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
        model = VLM2Vec(folder, profile="vlm2vec-v1-phi3v", device="cpu", dtype="float32")
        np.testing.assert_array_equal(model.encode("a cat"), model_of("phi3v").encode("a cat"))


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_that_are_missing_or_too_many_are_an_error(family: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(checkpoint(family), folder)
    weights = load_file(folder / "model.safetensors")
    key = next(key for key in weights if key.endswith("layers.0.mlp.down_proj.weight"))
    save_file({name: value for name, value in weights.items() if name != key}, folder / "model.safetensors")
    with pytest.raises(errors.CheckpointError, match="1 missing"):
        VLM2Vec(folder, profile=FAMILIES[family], device="cpu")
    save_file({**weights, "model.surplus": weights[key].clone()}, folder / "model.safetensors")
    with pytest.raises(errors.CheckpointError, match="1 unexpected"):
        VLM2Vec(folder, profile=FAMILIES[family], device="cpu")


@pytest.mark.parametrize(
    ("family", "path", "value", "cause"),
    [
        ("llava_next", "text_config.num_hidden_layers", 2**31 - 1, "num_hidden_layers above 10,000"),
        ("llava_next", "vision_config.num_hidden_layers", 5_000, "has 5,00. layers, and the folder"),
        ("llava_next", "text_config.vocab_size", 2**40, "describes .* parameters, and the folder holds"),
        ("llava_next", "vision_config", 5, "configuration cannot be read"),
        ("llava_next", "image_grid_pinpoints", [], "image_grid_pinpoints is missing"),
        ("llava_next", "image_grid_pinpoints.0.1", 0, "image_grid_pinpoints has 336 by 0"),
        ("llava_next", "image_grid_pinpoints.0.1", 500, "image_grid_pinpoints has 336 by 500"),
        ("llava_next", "image_grid_pinpoints.0.1", 336 * 2**40, "image_grid_pinpoints has"),
        ("llava_next", "image_grid_pinpoints.0.1", {"a": 1}, "the configuration"),
        ("llava_next", "image_grid_pinpoints.0", 336, "the configuration"),
        ("llava_next", "vision_feature_layer", 129, "vision_feature_layer is 129, of 3 layers"),
        ("llava_onevision", "vision_aspect_ratio", "square", "vision_aspect_ratio is square"),
        ("phi3v", "num_hidden_layers", 2**31 - 1, "num_hidden_layers above 10,000"),
        ("phi3v", "vocab_size", 2**40, "describes .* parameters, and the folder holds"),
        ("phi3v", "vision_config", {"image_size": 98}, "image_size is 98"),
        ("phi3v", "rope_scaling", "su", "the configuration"),
        ("qwen3_5", "vision_config.depth", 5_000, "has 5,00. layers, and the folder"),
        ("qwen3_5", "text_config.rope_parameters.mrope_section", [2, 2, 9], "rotary sections are"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_an_error(
    family: str, path: str, value: object, cause: str, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(CHECKPOINTS[family], tmp_path / "model"))
    file = folder / "config.json"
    content = place = json.loads(file.read_text(encoding="utf-8"))
    *outer, last = (int(key) if key.isdigit() else key for key in path.split("."))
    for key in outer:
        place = place[key]
    place[last] = value
    file.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(errors.CheckpointError, match=cause):
        VLM2Vec(folder, profile=PROFILES[family], device="cpu")


def test_a_profile_of_another_network_is_an_error() -> None:
    with pytest.raises(
        errors.CheckpointError, match="LLaVA-NeXT, and the profile vlm2vec-v2 is for Qwen2-VL"
    ):
        VLM2Vec(checkpoint("llava_next"), profile="vlm2vec-v2", device="cpu")


def test_a_folder_of_a_known_network_says_which_profiles_there_are() -> None:
    with pytest.raises(errors.ProfileError, match="e5-v, vlm2vec-v1-llava-next"):
        VLM2Vec(checkpoint("llava_next"), device="cpu")


@pytest.mark.parametrize("newer", [False, True])
def test_plain_sentence_transformers_opens_a_saved_folder_of_llava_next(newer: bool, tmp_path: Path) -> None:
    """Texts, pictures and both, alone and padded together, where neither has torchvision."""
    model = load("llava_next", dtype="float32")
    model.save(str(tmp_path))
    plain = SentenceTransformer(str(tmp_path), device="cpu", model_kwargs={"dtype": "float32"})
    assert type(plain[0]) is stock_module.Transformer
    prompt = "Represent this:" if newer else None
    import PIL.Image

    pictures = [
        PIL.Image.open(INPUTS / "img" / name).convert("RGB") for name in ("a_224x168.png", "b_300x410.png")
    ]
    texts = ["A cat and a dog", "Find me an everyday image: a red bus on the street\n"]
    both = [{"image": pictures[0], "text": "what is this"}, {"image": pictures[1], "text": "and this one"}]
    for inputs in (texts, pictures, both):
        theirs = plain.encode(inputs, prompt=prompt)
        np.testing.assert_allclose(model.encode(inputs, instruction=prompt), theirs, rtol=0, atol=3e-4)
        assert ((model.encode(inputs, instruction=prompt) * theirs).sum(axis=1) >= 0.99999).all()


def test_older_folders_without_the_token_of_the_class_load_alike(tmp_path: Path) -> None:
    """Old processors lack `num_additional_image_tokens`, and then miscount; here nothing is counted."""
    folder = tmp_path / "model"
    shutil.copytree(checkpoint("llava_next"), folder)
    (folder / "processor_config.json").unlink()
    (folder / "preprocessor_config.json").unlink()
    model = VLM2Vec(folder, profile="vlm2vec-v1-llava-next", device="cpu", dtype="float32")
    vector = model.encode([input_of(cases("llava_next")["img_only"])])[0]
    np.testing.assert_allclose(vector, numbers("llava_next")["emb_ref/img_only"].numpy(), rtol=0, atol=2e-6)
    model.save(str(tmp_path / "saved"))
    said = json.loads((tmp_path / "saved/processor_config.json").read_text(encoding="utf-8"))
    assert said["num_additional_image_tokens"] == 1


OLDER = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\\n' -}}
{%- for part in message['content'] if part['type'] == 'image' -%}{{- '<image>\\n' -}}{%- endfor -%}
{%- for part in message['content'] if part['type'] == 'text' -%}{{- part['text'] -}}{%- endfor -%}
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""


def test_the_prompt_is_that_of_the_template_in_the_folder(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    newer = model_of("llava_onevision").profile
    assert newer.prefix == "<|im_start|>user "
    assert newer.joiner == "\n"
    assert newer.text_prefix == "<|im_start|>user \n"
    assert newer.suffix == "<|im_end|><|im_start|>assistant\n"
    folder = tmp_path / "model"
    shutil.copytree(checkpoint("llava_onevision"), folder)
    (folder / "chat_template.jinja").write_text(OLDER, encoding="utf-8")
    older = VLM2Vec(folder, profile="unime-v2-llava-onevision", device="cpu").profile
    assert (older.prefix, older.joiner, older.text_prefix) == (
        "<|im_start|>user\n",
        "\n",
        "<|im_start|>user\n",
    )
    assert older.suffix == "<|im_end|>\n<|im_start|>assistant\n"
    (folder / "chat_template.jinja").write_text("{{- 'no picture' -}}", encoding="utf-8")
    with pytest.raises(errors.CheckpointError, match="does not write one <image>"):
        VLM2Vec(folder, profile="unime-v2-llava-onevision", device="cpu")
    (folder / "chat_template.jinja").write_text("{{- broken", encoding="utf-8")
    with pytest.raises(errors.CheckpointError, match="cannot be used"):
        VLM2Vec(folder, profile="unime-v2-llava-onevision", device="cpu")
    (folder / "chat_template.jinja").unlink()
    assert VLM2Vec(folder, profile="unime-v2-llava-onevision", device="cpu").profile.joiner == "\n"
    assert "has no chat template" in caplog.text


def test_words_and_a_picture_make_the_golden_prompts_of_unime_v2() -> None:
    model, golden = model_of("llava_onevision"), numbers("llava_onevision")
    text = model.encode("A man is crossing the street with a red car parked nearby.")
    assert text @ golden["emb_ref/chat_text"].numpy() >= 0.99999
    pair = {"image": PICTURE, "text": "Find an image caption describing the given image."}
    assert model.encode(pair) @ golden["emb_ref/chat_image"].numpy() >= 0.99999
    for side in (336, 1344):
        squeezed = replace(model.profile, pixels=replace(model.profile.pixels, fixed_size=(side, side)))
        vector = model.encode(pair, profile=squeezed)
        assert vector @ golden[f"emb_ref/chat_image_{side}"].numpy() >= 0.99999


@pytest.mark.parametrize(
    ("family", "said"),
    [
        ("llava_next", "vectors of videos are not."),
        ("llava_onevision", "vectors of videos are not."),
        ("phi3v", "cannot open it"),
    ],
)
def test_the_card_says_where_plain_sentence_transformers_differs(family: str, said: str) -> None:
    assert said in usage(model_of(family).profile)


def test_no_weights_are_tied_to_an_inference_pass() -> None:
    """What encoding leaves in the rotary tables of Phi can be trained with afterwards."""
    model = load("phi3v", dtype="float32")
    model.encode("a cat")
    assert not any(buffer.is_inference() for buffer in model[0].model.buffers())
    assert torch.is_grad_enabled()


def test_a_head_that_is_not_needed_is_not_complained_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "with a head"
    shutil.copytree(CHECKPOINTS["llava_next"], folder)
    weights = load_file(folder / "model.safetensors")
    name = next(key for key in weights if key.endswith("embed_tokens.weight"))
    weights["language_model.lm_head.weight"] = weights[name].clone()
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    VLM2Vec(folder, profile=PROFILES["llava_next"], device="cpu")
    assert "lm_head" not in caplog.text + capfd.readouterr().err
