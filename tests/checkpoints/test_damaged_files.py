"""Files of a model that are damaged, or lie: an error of this package, before memory or time is taken."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlm2vec import VLM2Vec
from vlm2vec.errors import CheckpointError

SAVED = Path(__file__).parents[1] / "freeze" / "saved" / "model"
DEEP = "[" * 100_000


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SAVED, tmp_path / "model"))


@pytest.fixture
def adapter(golden: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(golden / "tiny_adapter_dora", tmp_path / "adapter"))


def change(file: Path, path: str, value: Any) -> None:
    """Set one value of a JSON file; its path has a dot between keys."""
    content = json.loads(file.read_text(encoding="utf-8"))
    *outer, last = path.split(".")
    place = content
    for key in outer:
        place = place[int(key) if isinstance(place, list) else key]
    place[last] = value
    file.write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize(
    ("path", "value", "cause"),
    [
        ("text_config.num_hidden_layers", 2**31 - 1, "num_hidden_layers above 10,000"),
        ("vision_config.depth", 2**31 - 1, "depth above 10,000"),
        ("vision_config.depth", 5_000, "has 5,00. layers, and the folder .* weights"),
        ("text_config.vocab_size", 2**40, "describes .* parameters, and the folder holds"),
        ("text_config.hidden_size", -8, "configuration"),
        ("text_config.num_attention_heads", 0, "configuration"),
        ("text_config.rope_parameters", {"rope_type": "default", "rope_theta": 1.0}, "configuration"),
        ("text_config.rope_parameters.mrope_section", [2, 2, 9], "rotary sections are"),
        ("text_config.max_position_embeddings", 0, "its context is int 0"),
        ("text_config.max_position_embeddings", -1, "its context is int -1"),
        ("text_config.hidden_act", " ", "describes no network"),
        ("vision_end_token_id", [1], "configuration cannot be read"),
        ("text_config", 5, "configuration cannot be read"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_an_error(
    saved: Path, path: str, value: Any, cause: str
) -> None:
    change(saved / "config.json", path, value)
    with pytest.raises(CheckpointError, match=cause):
        VLM2Vec(saved, device="cpu")


def test_a_complaint_about_a_configuration_does_not_repeat_all_of_it(saved: Path) -> None:
    change(saved / "config.json", "text_config.rope_parameters.mrope_section", [0] * 10_000)
    with pytest.raises(CheckpointError, match="rotary sections are") as caught:
        VLM2Vec(saved, device="cpu")
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("content", ["", "{", "null", DEEP, '"\\ud800"', "\xff"])
@pytest.mark.parametrize(
    "name", ["config.json", "modules.json", "config_sentence_transformers.json", "1_Pooling/config.json"]
)
def test_a_file_that_is_no_settings_is_an_error(saved: Path, name: str, content: str) -> None:
    (saved / name).write_bytes(content.encode("latin-1"))
    with pytest.raises(CheckpointError):
        VLM2Vec(saved, device="cpu")


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("modules.json", "1.path", None),
        ("modules.json", "1.path", "x" * 5000),
        ("modules.json", "1.path", "config.json"),
        ("modules.json", "1.type", "sentence_transformers.base.modules.none.Such"),
        ("modules.json", "1.type", {}),
        ("config_sentence_transformers.json", "prompts", ["a"]),
        ("config_sentence_transformers.json", "default_prompt_name", {}),
        ("1_Pooling/config.json", "embedding_dimension", 32768),
        ("1_Pooling/config.json", "pooling_mode", "none such"),
        ("2_Normalize/config.json", "module_output_name", "elsewhere"),
        ("2_Normalize/config.json", "module_input_name", {}),
    ],
)
def test_modules_that_do_not_fit_are_an_error(saved: Path, name: str, path: str, value: Any) -> None:
    change(saved / name, path, value)
    with pytest.raises(CheckpointError, match="the files of the model cannot be read"):
        VLM2Vec(saved, device="cpu")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("target_modules", [1]),
        ("rank_pattern", ["a"]),
        ("rank_pattern", 1.5),
        ("modules_to_save", 0.5),
        ("layers_pattern", {"a": 1}),
        ("init_lora_weights", "none such"),
        ("r", -4),
        ("r", "4"),
        ("lora_alpha", None),
        ("peft_type", "none such"),
    ],
)
def test_an_adapter_that_makes_no_sense_is_an_error(
    golden: Path, adapter: Path, key: str, value: Any
) -> None:
    change(adapter / "adapter_config.json", key, value)
    with pytest.raises(CheckpointError, match=str(adapter)) as caught:
        VLM2Vec(adapter, base_model=golden / "tiny_qwen2vl", profile="vlm2vec-v2", device="cpu")
    assert str(caught.value).count(str(adapter)) == 1


def test_an_adapter_imports_no_module_that_it_names(
    golden: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "named_by_an_adapter.py").write_text("", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    change(adapter / "adapter_config.json", "use_dora", False)
    change(adapter / "adapter_config.json", "megatron_config", {"a": 1})
    change(adapter / "adapter_config.json", "megatron_core", "named_by_an_adapter")
    with pytest.raises(CheckpointError, match="Megatron"):
        VLM2Vec(adapter, base_model=golden / "tiny_qwen2vl", profile="vlm2vec-v2", device="cpu")
    assert "named_by_an_adapter" not in sys.modules


@pytest.mark.parametrize("content", ["", "{", "[]", "5", DEEP])
def test_an_adapter_without_settings_names_no_base(adapter: Path, content: str) -> None:
    (adapter / "adapter_config.json").write_text(content, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"adapter_config\.json"):
        VLM2Vec(adapter, profile="vlm2vec-v2", device="cpu")


@pytest.mark.parametrize("value", ["many", [1], 0.5, 0, -1, float("nan")])
def test_settings_of_a_tokenizer_are_tried(saved: Path, value: Any) -> None:
    change(saved / "tokenizer_config.json", "model_max_length", value)
    with pytest.raises(CheckpointError, match="the tokenizer cannot be read"):
        VLM2Vec(saved, device="cpu")


@pytest.mark.parametrize("value", [1e30, float("inf"), 10**400], ids=["float", "infinite", "long"])
def test_a_tokenizer_without_a_limit_may_say_so_in_any_way(saved: Path, value: Any) -> None:
    change(saved / "tokenizer_config.json", "model_max_length", value)
    assert np.isfinite(VLM2Vec(saved, device="cpu").encode("a cat")).all()
