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
from vlm2vec.integrations._named_model import model_of, named


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
    with pytest.raises(InputError, match="model_kwargs are given for a model that is loaded: dtype"):
        named(VLM2Vec(), {"dtype": "float32"})
    with pytest.raises(InputError, match=r"JSON.*plain values"):
        named(None, {"dtype": torch.float32})
    with pytest.raises(InputError, match="model is int 7"):
        named(7)  # type: ignore[arg-type]
