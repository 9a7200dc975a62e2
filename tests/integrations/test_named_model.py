"""A model has a name that loads it again, or is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vlm2vec import VLM2Vec
from vlm2vec.errors import InputError
from vlm2vec.integrations._named_model import _LOADING, model_of, named


@pytest.mark.filterwarnings("ignore:.*follows the profile:vlm2vec.errors.VLM2VecWarning")
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"truncate_dim": 16},
        {"dtype": "bfloat16"},
        {"prompts": {"query": "Find a picture.", "document": "A shape."}},
        {"allow_files": False, "allow_urls": True},
        {"allow_files": ["/data"]},
        {"profile": "vlm2vec-v2"},
    ],
)
def test_a_loaded_model_is_the_one_that_its_name_and_options_give(settings: dict[str, Any]) -> None:
    model = VLM2Vec(**settings)
    name, options = named(model)
    assert model_of(name, json.loads(json.dumps(options))) is model
    again = VLM2Vec(name, **options)  # as another process does
    assert named(again) == (name, options)
    assert again.profile == model.profile and again.prompts == model.prompts
    np.testing.assert_array_equal(again.encode_query("a red ring"), model.encode_query("a red ring"))


def test_models_that_differ_do_not_stand_in_for_each_other() -> None:
    models = [VLM2Vec(), VLM2Vec(truncate_dim=16), VLM2Vec(prompts={"query": "Find it."})]
    keys = [named(model) for model in models]
    assert [model_of(*key) for key in keys] == models


def test_a_model_is_loaded_once_for_each_set_of_options() -> None:
    narrow = {"truncate_dim": 8}
    assert model_of(None, narrow) is model_of(None, dict(narrow))
    assert model_of(None, narrow) is not model_of(None)
    assert model_of(None, narrow).truncate_dim == 8


def test_a_folder_is_kept_as_an_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    assert named("mine") == named(Path("mine")) == (str(tmp_path / "mine"), {})
    assert named("someone/model", {"revision": "main"}) == ("someone/model", {"revision": "main"})


def test_what_nothing_could_load_again_is_refused() -> None:
    trained = VLM2Vec()
    trained.fit([{"query": "a", "document": "b"}, {"query": "c", "document": "d"}], max_steps=1)
    with pytest.raises(InputError, match=r"no name.*model\.save"):
        named(trained)
    with pytest.raises(InputError, match="model_kwargs has dtype, and the model is loaded"):
        named(VLM2Vec(), {"dtype": "float32"})
    with pytest.raises(InputError, match=r"JSON.*plain values"):
        named(None, {"dtype": torch.float32})
    with pytest.raises(InputError, match="model is int 7"):
        named(7)  # type: ignore[arg-type]
    with pytest.raises(InputError, match='the model is text ""'):
        named("")


PAIRS = [{"query": "a", "document": "b"}, {"query": "c", "document": "d"}]


def test_a_model_with_an_adapter_is_not_taken_for_its_base(tmp_path: Path) -> None:
    model = VLM2Vec()
    model.fit(PAIRS, max_steps=1, lora=True)
    with pytest.raises(InputError, match=r"adapter that is not merged.*model\.save"):
        named(model)
    model.save(str(tmp_path / "mine"))
    name, options = named(VLM2Vec(tmp_path / "mine"))
    again = VLM2Vec(name, **options).encode_query("a red ring")
    np.testing.assert_allclose(again, model.encode_query("a red ring"), atol=5e-7)


def test_a_pixel_budget_is_kept_by_a_folder_and_by_no_name(tmp_path: Path) -> None:
    model = VLM2Vec(processor_kwargs={"max_pixels": 56 * 56})
    with pytest.raises(InputError, match=r"pixel budget.*model\.save"):
        named(model)
    model.save(str(tmp_path / "mine"))
    name, options = named(VLM2Vec(tmp_path / "mine"))
    assert VLM2Vec(name, **options).profile.pixels == model.profile.pixels


def test_a_model_of_the_hub_is_kept_with_its_commit(golden: Path, tmp_path: Path) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--somebody--tiny"
    (repository / "snapshots").mkdir(parents=True)
    (repository / "snapshots" / commit).symlink_to(golden / "tiny_qwen2vl", target_is_directory=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    model = VLM2Vec("somebody/tiny", profile="vlm2vec-v2", device="cpu", cache_folder=str(tmp_path))
    name, options = named(model)
    assert (name, options["revision"], options["profile"]) == ("somebody/tiny", commit, "vlm2vec-v2")
    # A folder of the cache is a folder.
    assert "revision" not in named(VLM2Vec(model[0].folders[0], profile="vlm2vec-v2", device="cpu"))[1]


def test_options_are_the_same_after_a_file_of_json() -> None:
    _, options = named(None, {"allow_files": ("/data",)})
    assert options == json.loads(json.dumps(options))


def test_a_model_that_is_loading_keeps_none_waiting_for_another() -> None:
    there = model_of(None)
    with _LOADING:  # as while another is loaded
        assert model_of(None) is there


def test_what_a_caller_does_to_its_options_later_is_nothing_to_the_models() -> None:
    options: dict[str, Any] = {"allow_files": ["/data"]}
    model = model_of(None, options)
    options["allow_files"].append("/")
    assert model_of(None, options) is not model
    assert model_of(None, {"allow_files": ["/data"]}) is model
