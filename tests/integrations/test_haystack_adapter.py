"""Haystack: components embed texts, files, blobs and pages, lose no document, and are saved."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("haystack")

from haystack import Document, Pipeline
from haystack.components.converters.image import ImageFileToDocument
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.components.writers import DocumentWriter
from haystack.dataclasses import ByteStream
from haystack.document_stores.in_memory import InMemoryDocumentStore

from vlm2vec import VLM2Vec, pdf_pages
from vlm2vec.errors import InputError, MediaError
from vlm2vec.integrations.haystack import VLM2VecDocumentEmbedder, VLM2VecTextEmbedder
from vlm2vec.world.samples import Sample, write_samples

CPU = {"device": "cpu"}


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    return write_samples(tmp_path_factory.mktemp("samples"))


@pytest.fixture(scope="module")
def page(samples: list[Sample]) -> Sample:
    return samples[-1]


@pytest.fixture(scope="module")
def picture(samples: list[Sample]) -> Sample:
    return samples[0]


def of_file(sample: Sample) -> Document:
    page = {"page_number": sample.page} if sample.page else {}
    return Document(meta={"file_path": str(sample.path), **page})


def test_vectors_are_those_of_the_model(embedded: VLM2Vec, picture: Sample, page: Sample) -> None:
    text = "a page about the sea"
    query = VLM2VecTextEmbedder(embedded).run(text)["embedding"]
    np.testing.assert_allclose(query, embedded.encode_query(text), atol=5e-7)
    whole = Document(meta={"file_path": str(page.path)})
    documents = [Document(content=text), of_file(picture), of_file(page), whole]
    result = VLM2VecDocumentEmbedder(embedded, file_path_meta_field="file_path").run(documents)
    pages = pdf_pages(page.path)
    vectors = embedded.encode_document([text, picture.path, pages[page.page - 1], page.path])
    np.testing.assert_allclose([one.embedding for one in result["documents"]], vectors, atol=5e-7)
    assert result["failed_documents"] == []
    assert [one.id for one in result["documents"]] == [one.id for one in documents]
    assert all(one.embedding is None for one in documents)  # those given are left as they were


def test_blobs_are_embedded_as_what_they_are(embedded: VLM2Vec, picture: Sample, page: Sample) -> None:
    document = Document(blob=ByteStream(page.path.read_bytes()), meta={"page_number": page.page})
    # A page number of something without pages is where it was found.
    image = Document(blob=ByteStream(picture.path.read_bytes()), meta={"page_number": 7})
    result = VLM2VecDocumentEmbedder(embedded).run([document, image])
    vectors = embedded.encode_document([pdf_pages(page.path)[page.page - 1], picture.path])
    np.testing.assert_allclose([one.embedding for one in result["documents"]], vectors, atol=5e-7)


def test_a_file_is_opened_only_where_that_is_asked_for(embedded: VLM2Vec, picture: Sample) -> None:
    document = replace(of_file(picture), content="a caption")
    [of_text] = VLM2VecDocumentEmbedder(embedded).run([document])["documents"]
    np.testing.assert_allclose(of_text.embedding, embedded.encode_document("a caption"), atol=5e-7)
    [of_picture] = VLM2VecDocumentEmbedder(embedded, file_path_meta_field="file_path").run([document])[
        "documents"
    ]
    np.testing.assert_allclose(of_picture.embedding, embedded.encode_document(picture.path), atol=5e-7)
    with pytest.raises(InputError, match=r'neither a text nor a blob.*file_path_meta_field="file_path"'):
        VLM2VecDocumentEmbedder(embedded).run([of_file(picture)])


def test_files_lie_below_the_root(embedded: VLM2Vec, picture: Sample, tmp_path: Path) -> None:
    [named] = ImageFileToDocument().run(sources=[picture.path])["documents"]
    assert named.meta["file_path"] == picture.path.name
    settings = {"file_path_meta_field": "file_path"}
    embedder = VLM2VecDocumentEmbedder(embedded, root_path=picture.path.parent, **settings)
    [document] = embedder.run([named])["documents"]
    np.testing.assert_allclose(document.embedding, embedded.encode_document(picture.path), atol=5e-7)
    elsewhere = VLM2VecDocumentEmbedder(embedded, root_path=tmp_path, **settings)
    for path in (str(picture.path), f"../{picture.path.parent.name}/{picture.path.name}"):
        with pytest.raises(InputError, match="files are not read from there"):
            elsewhere.run([Document(meta={"file_path": path})])
    with pytest.raises(InputError, match="root_path is given, and no file is read"):
        VLM2VecDocumentEmbedder(embedded, root_path=tmp_path)


def test_metadata_stand_before_the_text(embedded: VLM2Vec) -> None:
    embedder = VLM2VecDocumentEmbedder(embedded, meta_fields_to_embed=["title", "year", "gone"])
    document = Document(content="A ship sinks.", meta={"title": "The sea", "year": 0, "other": "no"})
    [result] = embedder.run([document])["documents"]
    vector = embedded.encode_document("The sea\n0\nA ship sinks.")
    np.testing.assert_allclose(result.embedding, vector, atol=5e-7)


def test_a_document_that_fails_is_an_error_that_names_it(embedded: VLM2Vec, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    embedder = VLM2VecDocumentEmbedder(embedded, file_path_meta_field="file_path")
    good = Document(content="a text")
    with pytest.raises(InputError, match=r"input 1 .*empty or blank"):
        embedder.run([good, Document(content=" ")])
    with pytest.raises(MediaError, match=r"input 1 \(gone.png\): the file does not exist"):
        embedder.run([good, Document(meta={"file_path": "gone.png"})])
    with pytest.raises(MediaError, match=r"input 1 .*broken.png"):
        embedder.run([good, Document(meta={"file_path": str(tmp_path / "broken.png")})])


def test_documents_that_fail_are_returned_apart(
    embedded: VLM2Vec, page: Sample, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    broken = {"file_path": str(tmp_path / "broken.png")}
    documents = [
        Document(content=""),
        Document(content="a red circle"),
        Document(meta=broken),
        Document(meta={**broken, "again": True}),
        Document(),
        of_file(replace(page, page=9)),
        of_file(page),
    ]
    embedder = VLM2VecDocumentEmbedder(embedded, file_path_meta_field="file_path", raise_on_failure=False)
    with caplog.at_level(logging.WARNING):
        result = embedder.run(documents)
    assert [one.id for one in result["documents"]] == [documents[1].id, documents[6].id]
    vectors = embedded.encode_document(["a red circle", pdf_pages(page.path)[page.page - 1]])
    np.testing.assert_allclose([one.embedding for one in result["documents"]], vectors, atol=5e-7)
    failed = result["failed_documents"]
    assert [one.id for one in failed] == [documents[index].id for index in (0, 2, 3, 4, 5)]
    assert all(one.embedding is None for one in failed)
    causes = [one.meta["embedding_error"] for one in failed]
    for index, part, cause in zip(
        (0, 2, 3, 4, 5), ("blank", "broken.png", "broken.png", "neither", "no page 9"), causes, strict=True
    ):
        assert cause.startswith(f"input {index}")
        assert part in cause
    assert "5 of 7 documents were not embedded." in caplog.text


@pytest.mark.parametrize("path", [3, ["a.png"], b"a.png", ""])
def test_a_path_that_is_none_costs_its_document_alone(
    path: object, embedded: VLM2Vec, tmp_path: Path
) -> None:
    documents = [Document(content="a red circle"), Document(meta={"file_path": path})]
    for root in (None, tmp_path):
        embedder = VLM2VecDocumentEmbedder(
            embedded, file_path_meta_field="file_path", root_path=root, raise_on_failure=False
        )
        result = embedder.run(documents)
        assert [one.id for one in result["documents"]] == [documents[0].id]
        [failed] = result["failed_documents"]
        assert failed.meta["embedding_error"].startswith("input 1: the path is ")


def test_components_that_name_one_model_share_it() -> None:
    query, document = VLM2VecTextEmbedder(model_kwargs=CPU), VLM2VecDocumentEmbedder(model_kwargs=CPU)
    assert query._embedder.model is document._embedder.model


def test_what_is_of_another_type_is_refused(embedded: VLM2Vec) -> None:
    with pytest.raises(TypeError, match="takes a string, not list"):
        VLM2VecTextEmbedder(embedded).run(["a text"])
    for given in ("a text", ["a text"]):
        with pytest.raises(TypeError, match="takes a list of Documents"):
            VLM2VecDocumentEmbedder(embedded).run(given)
    assert VLM2VecDocumentEmbedder(embedded).run([]) == {"documents": [], "failed_documents": []}


def test_a_saved_pipeline_answers(samples: list[Sample]) -> None:
    store = InMemoryDocumentStore()
    indexing = Pipeline()
    embedder = VLM2VecDocumentEmbedder(
        file_path_meta_field="file_path", raise_on_failure=False, model_kwargs=CPU
    )
    indexing.add_component("embed", embedder)
    indexing.add_component("write", DocumentWriter(store))
    indexing.connect("embed.documents", "write.documents")
    indexing = Pipeline.loads(indexing.dumps(), allowed_modules=["vlm2vec.*"])
    indexing.get_component("write").document_store = store  # its rows are in memory, not in the text
    documents = [*map(of_file, samples), Document(content="a text among files"), Document(content="")]
    done = indexing.run({"embed": {"documents": documents}})
    assert done["write"]["documents_written"] == len(samples) + 1
    assert len(done["embed"]["failed_documents"]) == 1

    asking = Pipeline()
    asking.add_component("embed", VLM2VecTextEmbedder(model_kwargs=CPU))
    asking.add_component("find", InMemoryEmbeddingRetriever(store, top_k=1))
    asking.connect("embed.embedding", "find.query_embedding")
    for sample in samples:
        [hit] = asking.run({"embed": {"text": sample.caption}})["find"]["documents"]
        assert (hit.meta["file_path"], hit.meta.get("page_number")) == (str(sample.path), sample.page)
    [hit] = asyncio.run(asking.run_async({"embed": {"text": "a text among files"}}))["find"]["documents"]
    assert hit.content == "a text among files"


def test_components_are_made_again_of_their_dicts() -> None:
    text = VLM2VecTextEmbedder(
        "a/name", instruction="Find it.", truncate=False, truncate_dim=32, model_kwargs=CPU
    )
    assert text.to_dict() == {
        "type": "vlm2vec.integrations.haystack.VLM2VecTextEmbedder",
        "init_parameters": {
            "model": "a/name",
            "instruction": "Find it.",
            "truncate": False,
            "truncate_dim": 32,
            "model_kwargs": CPU,
        },
    }
    assert VLM2VecTextEmbedder.from_dict(text.to_dict()).to_dict() == text.to_dict()
    document = VLM2VecDocumentEmbedder(
        Path("folder"),
        instruction="Keep it.",
        file_path_meta_field="file_path",
        root_path=Path("files"),
        meta_fields_to_embed=["title"],
        embedding_separator=" ",
        raise_on_failure=False,
    )
    assert VLM2VecDocumentEmbedder.from_dict(document.to_dict()).to_dict() == document.to_dict()


def test_warming_up_loads_the_model() -> None:
    for embedder in (VLM2VecTextEmbedder("no/such-model"), VLM2VecDocumentEmbedder("no/such-model")):
        with pytest.raises(Exception, match="no/such-model"):
            embedder.warm_up()


def test_a_model_given_as_an_object_runs_and_is_not_saved(embedded: VLM2Vec) -> None:
    pipeline = Pipeline()
    pipeline.add_component("embed", VLM2VecTextEmbedder(embedded))
    assert len(pipeline.run({"embed": {"text": "a text"}})["embed"]["embedding"]) == 224
    with pytest.raises(InputError, match="was given as an object"):
        pipeline.dumps()
