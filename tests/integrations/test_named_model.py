"""A model has a name that loads it again, or is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vlm2vec import VLM2Vec
from vlm2vec.errors import InputError
from vlm2vec.integrations._named_model import model_of, named


def test_a_loaded_model_is_the_one_that_its_name_and_options_give() -> None:
    wide, narrow = VLM2Vec(), VLM2Vec(truncate_dim=16)
    assert named(wide) == (None, {"dtype": "float32"})
    assert named(narrow) == (None, {"dtype": "float32", "truncate_dim": 16})
    assert model_of(*named(wide)) is wide
    assert model_of(*named(narrow)) is narrow
    assert model_of(None) not in (wide, narrow)


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
