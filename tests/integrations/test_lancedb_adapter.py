"""Tables of LanceDB with the function "vlm2vec": they embed, are searched, and are opened again."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vlm2vec import VLM2Vec
from vlm2vec.errors import InputError
from vlm2vec.integrations._named_model import model_of
from vlm2vec.world.samples import Sample, write_samples

lancedb = pytest.importorskip("lancedb")

from lancedb.pydantic import LanceModel  # noqa: E402
from pydantic import ValidationError  # noqa: E402

import vlm2vec.integrations.lancedb  # noqa: E402

CLOSE = {"rtol": 0, "atol": 5e-7}


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    return write_samples(tmp_path_factory.mktemp("samples"))


@pytest.fixture(scope="module")
def pictures(samples: list[Sample]) -> list[Sample]:
    return [sample for sample in samples if sample.path.suffix in (".png", ".jpg")]


def function_of(**settings: Any) -> Any:
    return lancedb.embeddings.get_registry().get("vlm2vec").create(**settings)


def table_of(folder: Path, kind: type = str, **settings: Any) -> Any:
    function = function_of(**settings)

    class Row(LanceModel):
        content: kind = function.SourceField()
        vector: list[float] = function.VectorField()

    return lancedb.connect(folder / "base").create_table("rows", schema=Row)


def vectors_of(table: Any) -> np.ndarray:
    return np.array([row["vector"] for row in table.search().to_list()], dtype=np.float32)


def test_a_table_of_texts_has_the_vectors_of_encode_document(tmp_path: Path) -> None:
    table = table_of(tmp_path, document_instruction="Represent the shape.", truncate_dim=64)
    texts = ["a red ring", "a blue diamond", "two green hearts"]
    table.add([{"content": text} for text in texts])
    expected = VLM2Vec().encode_document(
        texts, instruction="Represent the shape.", truncate_dim=64, normalize_embeddings=True
    )
    np.testing.assert_allclose(vectors_of(table), expected, **CLOSE)
    assert table.search("a ring that is red").limit(1).to_list()[0]["content"] == "a red ring"


def test_a_query_has_the_vector_of_encode_query() -> None:
    function = function_of(query_instruction="Find a picture of this.")
    (vector,) = function.compute_query_embeddings_with_retry("a red ring")
    expected = VLM2Vec().encode_query("a red ring", instruction="Find a picture of this.")
    np.testing.assert_allclose(vector, expected, **CLOSE)


def test_each_side_has_the_instruction_that_the_model_has_for_it() -> None:
    prompts = {"query": "Find a picture of this.", "document": "Represent the shape."}
    function, model = function_of(model_kwargs={"prompts": prompts}), VLM2Vec(prompts=prompts)
    for vectors, encode in (
        (function.compute_query_embeddings("a red ring"), model.encode_query),
        (function.compute_source_embeddings(["a red ring"]), model.encode_document),
    ):
        np.testing.assert_allclose(vectors[0], encode("a red ring"), **CLOSE)
    assert abs(model.encode_query("a red ring") - model.encode_document("a red ring")).max() > 1e-3


def test_paths_in_an_image_column_are_found_by_text_and_by_picture(
    tmp_path: Path, pictures: list[Sample]
) -> None:
    table = table_of(tmp_path, source="image", allow_files=True)
    table.add([{"content": str(sample.path)} for sample in pictures])
    expected = VLM2Vec().encode_document([sample.path for sample in pictures])
    np.testing.assert_allclose(vectors_of(table), expected, **CLOSE)
    wanted = pictures[2]
    for query in (wanted.caption, Image.open(wanted.path), wanted.path):
        assert table.search(query).limit(1).to_list()[0]["content"] == str(wanted.path)


def test_bytes_need_no_file_and_are_the_same_vectors(tmp_path: Path, pictures: list[Sample]) -> None:
    table = table_of(tmp_path, bytes, source="image")
    table.add([{"content": sample.path.read_bytes()} for sample in pictures])
    expected = VLM2Vec().encode_document([sample.path for sample in pictures])
    np.testing.assert_allclose(vectors_of(table), expected, **CLOSE)


def test_clips_and_documents_are_sources_too(samples: list[Sample]) -> None:
    for source, suffix in (("video", ".mp4"), ("pdf", ".pdf")):
        path = next(sample.path for sample in samples if sample.path.suffix == suffix)
        (vector,) = function_of(source=source, allow_files=[str(path.parent)]).compute_source_embeddings(
            [str(path)]
        )
        np.testing.assert_allclose(vector, VLM2Vec().encode_document(path), **CLOSE)


def test_a_string_in_a_text_column_is_a_text_even_where_a_file_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes.txt").write_text("a red ring", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    function = function_of(allow_files=True)
    expected = VLM2Vec().encode_document("notes.txt")
    np.testing.assert_allclose(function.compute_source_embeddings(["notes.txt"])[0], expected, **CLOSE)
    query = function.compute_query_embeddings("notes.txt")[0]
    np.testing.assert_allclose(query, VLM2Vec().encode_query("notes.txt"), **CLOSE)


def test_one_broken_file_costs_its_own_vector(
    tmp_path: Path, pictures: list[Sample], caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    paths = [str(pictures[0].path), str(broken), str(tmp_path / "gone.png"), str(pictures[1].path)]
    table = table_of(tmp_path, source="image", allow_files=True)
    with caplog.at_level(logging.WARNING):
        table.add([{"content": path} for path in paths], on_bad_vectors="null")
    assert table.count_rows() == 4
    without = table.search().where("vector IS NULL").to_list()
    assert [row["content"] for row in without] == paths[1:3]
    said = [record.getMessage() for record in caplog.records if record.name.startswith("vlm2vec")]
    assert len(said) == 2
    assert "input 1 " in said[0] and "broken.jpg): the content is not a known format" in said[0]
    assert "input 2 " in said[1] and "gone.png): the file does not exist" in said[1]
    found = [row["content"] for row in table.search(pictures[0].caption).limit(9).to_list()]
    assert sorted(found) == sorted([paths[0], paths[3]])
    table.add([{"content": path} for path in paths], on_bad_vectors="drop")
    assert table.count_rows() == 6


def test_nothing_is_tried_again_with_pauses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def sleep(seconds: float) -> None:
        raise AssertionError(f"it waits for {seconds} s")

    monkeypatch.setattr("lancedb.embeddings.utils.time.sleep", sleep)
    table = table_of(tmp_path, source="image", allow_files=True, max_retries=7)
    with pytest.raises(Exception, match="on_bad_vectors='null'"):  # by default of LanceDB
        table.add([{"content": str(tmp_path / "gone.png")}])
    with pytest.raises(InputError, match="empty or blank"):
        table.search(" ")
    with pytest.raises(InputError, match="allow_files=True"):
        function_of(source="image").compute_source_embeddings_with_retry([str(tmp_path / "gone.png")])


@pytest.mark.parametrize("named", ["pictures/cat.png", "file:///etc/hostname", "https://example.com/cat.png"])
def test_what_a_string_names_is_read_only_where_that_was_asked_for(
    named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(*address: Any) -> None:
        raise AssertionError(f"it connects to {address}")

    monkeypatch.setattr("socket.socket.connect", connect)
    with pytest.raises(InputError, match=r"input 1 .*(allow_files=True|allow_urls=True)"):
        function_of(source="image").compute_source_embeddings(["data:image/png;base64,AAAA", named])
    with pytest.raises(InputError, match="files are not read"):
        function_of(source="image").compute_query_embeddings(Path("cat.png"))


def test_addresses_are_read_where_the_model_reads_them(caplog: pytest.LogCaptureFixture) -> None:
    function = function_of(source="image", model_kwargs={"allow_urls": True})
    assert function.compute_source_embeddings(["http://127.0.0.1:9/cat.png"]) == [None]
    assert "127.0.0.1" in caplog.text and "not fetched" not in caplog.text


def test_files_are_read_below_the_folders_that_were_named(
    tmp_path: Path, pictures: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = pictures[0].path
    monkeypatch.chdir(inside.parent.parent)
    (tmp_path / "outside.png").write_bytes(inside.read_bytes())
    function = function_of(source="image", allow_files=[Path(inside.parent.name)])
    monkeypatch.chdir(tmp_path)
    vectors = function.compute_source_embeddings([str(inside), str(tmp_path / "outside.png")])
    assert vectors[0] is not None and vectors[1] is None


def test_a_long_text_is_shortened_unless_that_is_refused() -> None:
    text = "a red ring and " * 20_000
    (vector,) = function_of().compute_source_embeddings([text])
    np.testing.assert_allclose(vector, VLM2Vec().encode_document(text, truncate=True), **CLOSE)
    assert function_of(truncate=False).compute_source_embeddings([text]) == [None]


def test_a_null_and_an_empty_text_have_no_vector() -> None:
    vectors = function_of().compute_source_embeddings(["a red ring", None, ""])
    assert [vector is None for vector in vectors] == [False, True, True]


def test_settings_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ValidationError, match="allow_file"):
        function_of(source="image", allow_file=True)
    with pytest.raises(ValidationError, match="source"):
        function_of(source="audio")


def test_a_model_that_is_loaded_is_used_again_for_each_call(tmp_path: Path) -> None:
    model = VLM2Vec(truncate_dim=32)
    table_of(tmp_path, model=model)
    table = lancedb.connect(tmp_path / "base").open_table("rows")
    function = table.embedding_functions["vector"].function
    assert function.ndims() == 32
    assert model_of(function.model, function.model_kwargs) is model


def test_a_table_opened_in_a_new_process_has_its_function_again(
    tmp_path: Path, pictures: list[Sample]
) -> None:
    model = VLM2Vec()
    model.save(str(tmp_path / "model"))
    settings = {
        "model": tmp_path / "model",
        "truncate_dim": 64,
        "query_instruction": "Find a picture of this.",
    }
    table = table_of(tmp_path, source="image", allow_files=True, **settings)
    table.add([{"content": str(sample.path)} for sample in pictures[:3]])
    code = f"""
import lancedb, numpy
import vlm2vec.integrations.lancedb
table = lancedb.connect({str(tmp_path / "base")!r}).open_table("rows")
print(table.search({pictures[2].caption!r}).limit(1).to_list()[0]["content"])
table.add([{{"content": {str(pictures[3].path)!r}}}])
function = table.embedding_functions["vector"].function
print(function.model, function.truncate_dim, function.allow_files)
numpy.save("query.npy", function.compute_query_embeddings("a red ring")[0])
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
    assert done.stdout.splitlines() == [str(pictures[2].path), f"{tmp_path / 'model'} 64 True"]
    table.checkout_latest()
    width = {"truncate_dim": 64, "normalize_embeddings": True}
    expected = model.encode_document([sample.path for sample in pictures[:4]], **width)
    np.testing.assert_allclose(vectors_of(table), expected, **CLOSE)
    query = model.encode_query("a red ring", instruction="Find a picture of this.", **width)
    np.testing.assert_allclose(np.load(tmp_path / "query.npy"), query, **CLOSE)
