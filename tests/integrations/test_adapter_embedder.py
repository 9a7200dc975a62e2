"""The model behind an adapter: loaded by name when it is needed, small in a pickle, and exact."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vlm2vec.model
from vlm2vec import VLM2Vec
from vlm2vec.errors import ContextLengthError, InputError
from vlm2vec.integrations._embedder import Embedder, only_strings

TEXTS = ["a red circle", "two blue squares above a green ring"]


def test_vectors_are_those_of_the_model(embedded: VLM2Vec) -> None:
    embedder = Embedder(embedded)
    np.testing.assert_allclose(embedder.queries(TEXTS), embedded.encode_query(TEXTS), atol=5e-7)
    np.testing.assert_allclose(embedder.documents(TEXTS), embedded.encode_document(TEXTS), atol=5e-7)


def test_instructions_replace_those_of_the_model(embedded: VLM2Vec) -> None:
    embedder = Embedder(embedded, query_instruction="Find it.", document_instruction="Keep it.")
    np.testing.assert_allclose(
        embedder.queries(TEXTS), embedded.encode(TEXTS, instruction="Find it."), atol=5e-7
    )
    np.testing.assert_allclose(
        embedder.documents(TEXTS), embedded.encode(TEXTS, instruction="Keep it."), atol=5e-7
    )


def test_truncated_vectors_have_unit_length(embedded: VLM2Vec) -> None:
    vectors = np.array(Embedder(embedded, truncate_dim=32).documents(TEXTS))
    whole = embedded.encode_document(TEXTS)[:, :32]
    np.testing.assert_allclose(vectors, whole / np.linalg.norm(whole, axis=1, keepdims=True), atol=5e-7)


def test_no_inputs_are_no_vectors(embedded: VLM2Vec) -> None:
    assert Embedder(embedded).documents([]) == []


def test_long_texts_are_shortened_unless_that_is_not_wanted(embedded: VLM2Vec) -> None:
    text = "a red circle and " * 20_000
    [shortened] = Embedder(embedded).documents([text])
    np.testing.assert_allclose(shortened, embedded.encode_document(text, truncate=True), atol=5e-7)
    with pytest.raises(ContextLengthError):
        Embedder(embedded, truncate=False).documents([text])


def test_a_named_model_is_loaded_once_and_when_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[Any] = []

    class Counted(VLM2Vec):
        def __init__(self, name: Any, **kwargs: Any) -> None:
            loaded.append((name, kwargs))
            super().__init__(name, **kwargs)

    monkeypatch.setattr(vlm2vec.model, "VLM2Vec", Counted)
    monkeypatch.setattr("vlm2vec.integrations._named_model._LOADED", [])
    embedders = [Embedder(model_kwargs={"device": "cpu"}) for _ in range(4)]
    assert loaded == []
    with ThreadPoolExecutor(4) as threads:
        vectors = list(threads.map(lambda embedder: embedder.queries(TEXTS), embedders))
    assert loaded == [(None, {"device": "cpu"})]
    for other in vectors:
        np.testing.assert_allclose(other, vectors[0], atol=5e-7)


@pytest.mark.parametrize("copied", [lambda one: pickle.loads(pickle.dumps(one)), copy.deepcopy])  # noqa: S301
def test_copies_give_the_same_vectors(copied: Any, embedded: VLM2Vec) -> None:
    vectors = embedded.encode_query(TEXTS)
    for embedder in (Embedder(embedded), Embedder(model_kwargs={"device": "cpu"})):
        np.testing.assert_allclose(copied(embedder).queries(TEXTS), vectors, atol=5e-7)


def test_the_pickle_of_a_named_model_is_small_even_once_it_is_loaded() -> None:
    embedder = Embedder(model_kwargs={"device": "cpu"})
    embedder.queries(TEXTS)
    assert len(pickle.dumps(embedder)) < 1000


def test_a_folder_is_found_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    VLM2Vec().save("mine")
    embedder = Embedder("mine")
    monkeypatch.chdir("/")
    assert len(embedder.queries(TEXTS)) == 2


def test_what_is_no_model_is_refused(embedded: VLM2Vec) -> None:
    with pytest.raises(InputError, match="the model is int 3"):
        Embedder(3)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="model_kwargs has device"):
        Embedder(embedded, model_kwargs={"device": "cpu"})


@pytest.mark.parametrize("text", [{"image": "cat.jpg"}, b"bytes", None])
def test_what_is_no_string_is_no_text(text: Any) -> None:
    with pytest.raises(InputError, match="input 1: a text is") as caught:
        only_strings(["a cat", text])
    assert caught.value.index == 1


def test_texts_come_from_any_iterable_that_is_no_text() -> None:
    assert only_strings(text for text in TEXTS) == TEXTS
    with pytest.raises(InputError, match="in place of a list"):
        only_strings("a cat")
