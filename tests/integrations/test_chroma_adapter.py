"""Collections of Chroma with `VLM2VecEmbeddingFunction`: they embed, are searched, and are opened again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vlm2vec
from vlm2vec import VLM2Vec
from vlm2vec.errors import InputError, MediaError
from vlm2vec.world.samples import Sample, write_samples

chromadb = pytest.importorskip("chromadb")

from chromadb.api.types import DefaultEmbeddingFunction  # noqa: E402
from chromadb.utils.data_loaders import ImageLoader  # noqa: E402

from vlm2vec.integrations.chroma import VLM2VecEmbeddingFunction  # noqa: E402

CLOSE = {"rtol": 0, "atol": 5e-7}
SETTINGS = chromadb.Settings(anonymized_telemetry=False)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    return write_samples(tmp_path_factory.mktemp("samples"))


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing goes to a network, and Chroma's own function, which it downloads, is not called."""

    def refused(*values: Any, **named: Any) -> None:
        raise AssertionError(f"called with {values}")

    monkeypatch.setattr("socket.socket.connect", refused)
    monkeypatch.setattr("socket.getaddrinfo", refused)
    monkeypatch.setattr(DefaultEmbeddingFunction, "__call__", lambda self, input: refused(input))


def files(uris: list[str]) -> list[Path]:
    return [Path(uri) for uri in uris]


def client_in(folder: Path) -> Any:
    return chromadb.PersistentClient(str(folder / "base"), settings=SETTINGS)


def vectors_of(collection: Any, ids: list[str]) -> np.ndarray:
    return np.asarray(collection.get(ids=ids, include=["embeddings"])["embeddings"], dtype=np.float32)


def test_documents_and_queries_have_the_vectors_of_encode() -> None:
    function = VLM2VecEmbeddingFunction(
        query_instruction="Find a picture of this.", document_instruction="Represent it.", truncate_dim=64
    )
    width = {"truncate_dim": 64, "normalize_embeddings": True}
    texts, model = ["a red ring", "a blue diamond"], VLM2Vec()
    expected = model.encode_document(texts, instruction="Represent it.", **width)
    np.testing.assert_allclose(function(texts), expected, **CLOSE)
    expected = model.encode_query(texts, instruction="Find a picture of this.", **width)
    np.testing.assert_allclose(function.embed_query(texts), expected, **CLOSE)


def test_each_side_has_the_instruction_that_the_model_has_for_it() -> None:
    prompts = {"query": "Find a picture of this.", "document": "Represent the shape."}
    model = VLM2Vec(prompts=prompts)
    function = VLM2VecEmbeddingFunction(model_kwargs={"prompts": prompts})
    np.testing.assert_allclose(function(["a red ring"])[0], model.encode_document("a red ring"), **CLOSE)
    np.testing.assert_allclose(
        function.embed_query(["a red ring"])[0], model.encode_query("a red ring"), **CLOSE
    )
    assert abs(model.encode_query("a red ring") - model.encode_document("a red ring")).max() > 1e-3


def test_a_text_finds_pictures_that_are_arrays_in_memory() -> None:
    colours = {"red": (200, 20, 20), "blue": (20, 20, 200), "green": (20, 160, 20)}
    arrays = [np.full((112, 112, 3), colour, np.uint8) for colour in colours.values()]
    client = chromadb.EphemeralClient()
    collection = client.create_collection("colours", embedding_function=VLM2VecEmbeddingFunction())
    try:
        collection.add(ids=list(colours), images=arrays)
        expected = VLM2Vec().encode_document(arrays)
        np.testing.assert_allclose(vectors_of(collection, list(colours)), expected, **CLOSE)
        assert collection.query(query_images=[arrays[1]], n_results=1)["ids"] == [["blue"]]
        collection.add(ids=["text"], documents=["a green star"])  # in one space with the pictures
        assert collection.query(query_texts=["a green star"], n_results=1)["ids"] == [["text"]]
    finally:
        client.delete_collection("colours")  # clients in memory share what they have


@pytest.mark.parametrize("loader", [ImageLoader(), files], ids=["ImageLoader", "files"])
def test_pictures_by_uri_are_found_by_text(loader: Any, tmp_path: Path, samples: list[Sample]) -> None:
    pictures = samples[:6]
    names = [sample.path.name for sample in pictures]
    collection = client_in(tmp_path).create_collection(
        "pictures", embedding_function=VLM2VecEmbeddingFunction(), data_loader=loader
    )
    collection.add(ids=names, uris=[str(sample.path) for sample in pictures])
    expected = VLM2Vec().encode_document([sample.path for sample in pictures])
    np.testing.assert_allclose(vectors_of(collection, names), expected, **CLOSE)
    for wanted in pictures[:3]:
        found = collection.query(query_texts=[wanted.caption], n_results=1)
        assert found["ids"] == [[wanted.path.name]]
        cosine = 1 - found["distances"][0][0]
        model = VLM2Vec()
        expected = model.encode_query(wanted.caption) @ model.encode_document(wanted.path)
        assert cosine == pytest.approx(float(expected), abs=1e-5)


def test_a_loader_of_paths_gives_clips_and_documents(tmp_path: Path, samples: list[Sample]) -> None:
    paths = sorted({sample.path for sample in samples if sample.path.suffix in (".mp4", ".pdf")})
    collection = client_in(tmp_path).create_collection(
        "files", embedding_function=VLM2VecEmbeddingFunction(), data_loader=files
    )
    names = [path.name for path in paths]
    collection.add(ids=names, uris=[str(path) for path in paths])
    np.testing.assert_allclose(vectors_of(collection, names), VLM2Vec().encode_document(paths), **CLOSE)


def test_a_string_is_a_text_even_where_a_file_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes.txt").write_text("a red ring", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    function, model = VLM2VecEmbeddingFunction(), VLM2Vec()
    np.testing.assert_allclose(function(["notes.txt"]), [model.encode_document("notes.txt")], **CLOSE)
    np.testing.assert_allclose(
        function.embed_query(["notes.txt"]), [model.encode_query("notes.txt")], **CLOSE
    )


def test_a_broken_file_is_named_and_nothing_is_added(tmp_path: Path, samples: list[Sample]) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    collection = client_in(tmp_path).create_collection(
        "pictures", embedding_function=VLM2VecEmbeddingFunction(), data_loader=files
    )
    with pytest.raises(MediaError, match=r"input 1 .*broken\.jpg\): the content is not a known format"):
        collection.add(ids=["1", "2"], uris=[str(samples[0].path), str(broken)])
    assert collection.count() == 0


def test_a_long_text_is_shortened_unless_that_is_refused() -> None:
    text = "a red ring and " * 20_000
    expected = VLM2Vec().encode_document([text], truncate=True)
    np.testing.assert_allclose(VLM2VecEmbeddingFunction()([text]), expected, **CLOSE)
    with pytest.raises(InputError.__base__, match="context holds"):
        VLM2VecEmbeddingFunction(truncate=False)([text])


def test_distances_of_a_new_collection_are_by_cosine(tmp_path: Path) -> None:
    function = VLM2VecEmbeddingFunction()
    assert set(function.supported_spaces()) == {"cosine", "l2", "ip"}
    collection = client_in(tmp_path).create_collection("notes", embedding_function=function)
    assert collection.configuration["hnsw"]["space"] == "cosine"


def test_settings_come_back_from_their_plain_values() -> None:
    settings = {
        "model": "someone/model",
        "query_instruction": "Find it.",
        "document_instruction": None,
        "truncate_dim": 64,
        "truncate": False,
        "model_kwargs": {"dtype": "bfloat16"},
    }
    function = VLM2VecEmbeddingFunction.build_from_config(settings)  # nothing is loaded
    assert function.get_config() == settings
    narrow = VLM2VecEmbeddingFunction(VLM2Vec(truncate_dim=32))
    assert VLM2VecEmbeddingFunction.build_from_config(narrow.get_config())(["a red ring"])[0].shape == (32,)
    with pytest.raises(InputError, match=r'"truncat".*Did you mean "truncate"'):
        VLM2VecEmbeddingFunction.build_from_config({"truncat": True})


def test_only_what_leaves_vectors_as_they_are_can_change(tmp_path: Path) -> None:
    collection = client_in(tmp_path).create_collection("notes", embedding_function=VLM2VecEmbeddingFunction())
    with pytest.raises(
        InputError, match="truncate_dim is None for the vectors of this collection, and 64 now"
    ):
        collection.modify(configuration={"embedding_function": VLM2VecEmbeddingFunction(truncate_dim=64)})
    other = VLM2VecEmbeddingFunction(query_instruction="Find it.")
    collection.modify(configuration={"embedding_function": other})
    kept = client_in(tmp_path).get_collection("notes").configuration["embedding_function"]
    assert kept.get_config()["query_instruction"] == "Find it."


def test_a_model_that_could_not_be_loaded_again_is_refused() -> None:
    trained = VLM2Vec()
    trained.fit([{"query": "a", "document": "b"}, {"query": "c", "document": "d"}], max_steps=1)
    with pytest.raises(InputError, match=r"model\.save"):
        VLM2VecEmbeddingFunction(trained)


def test_a_collection_opened_in_a_new_process_has_its_function_again(
    tmp_path: Path, samples: list[Sample]
) -> None:
    model = VLM2Vec()
    model.save(str(tmp_path / "model"))
    function = VLM2VecEmbeddingFunction(tmp_path / "model", truncate_dim=64)
    collection = client_in(tmp_path).create_collection(
        "pictures", embedding_function=function, data_loader=files
    )
    collection.add(
        ids=[sample.path.name for sample in samples[:3]], uris=[str(sample.path) for sample in samples[:3]]
    )
    code = f"""
import chromadb
import vlm2vec.integrations.chroma
settings = chromadb.Settings(anonymized_telemetry=False)
client = chromadb.PersistentClient({str(tmp_path / "base")!r}, settings=settings)
collection = client.get_collection("pictures")
print(collection.query(query_texts=[{samples[2].caption!r}], n_results=1)["ids"])
collection.add(ids=["text"], documents=["a red ring"])
"""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(Path(vlm2vec.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str([[samples[2].path.name]])
    expected = model.encode_document(["a red ring"], truncate_dim=64, normalize_embeddings=True)
    np.testing.assert_allclose(
        vectors_of(client_in(tmp_path).get_collection("pictures"), ["text"]), expected, **CLOSE
    )
