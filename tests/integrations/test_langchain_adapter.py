"""LangChain: vectors are the model's, strings are texts, and pages of a PDF are found in a vector store."""

from __future__ import annotations

import asyncio
import base64
import io
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

pytest.importorskip("langchain_core")

from langchain_core.vectorstores import InMemoryVectorStore

from vlm2vec import VLM2Vec
from vlm2vec.errors import InputError, MediaError, VLM2VecError
from vlm2vec.integrations.langchain import VLM2VecEmbeddings, VLM2VecPDFLoader
from vlm2vec.world.samples import Sample, write_samples


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    return write_samples(tmp_path_factory.mktemp("samples"))


@pytest.fixture(scope="module")
def pages(samples: list[Sample]) -> list[Sample]:
    return [sample for sample in samples if sample.page is not None]


@pytest.fixture(scope="module")
def pictures(samples: list[Sample]) -> list[Sample]:
    return [sample for sample in samples if sample.path.suffix in (".png", ".jpg")]


@pytest.fixture
def embeddings(embedded: VLM2Vec) -> VLM2VecEmbeddings:
    return VLM2VecEmbeddings(embedded, data_uris=True)


def data_uri(path: Path, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def test_vectors_are_those_of_the_model(embedded: VLM2Vec, pictures: list[Sample]) -> None:
    embeddings = VLM2VecEmbeddings(embedded)
    texts = ["a red circle", "a page about the sea"]
    paths = [picture.path for picture in pictures]
    np.testing.assert_allclose(embeddings.embed_documents(texts), embedded.encode_document(texts), atol=5e-7)
    np.testing.assert_allclose(embeddings.embed_query(texts[0]), embedded.encode_query(texts[0]), atol=5e-7)
    vectors = embedded.encode_document(paths)
    np.testing.assert_allclose(embeddings.embed_image(uris=[str(path) for path in paths]), vectors, atol=5e-7)


def test_images_are_taken_in_every_form(embedded: VLM2Vec, pictures: list[Sample]) -> None:
    path = pictures[0].path  # a PNG
    forms = [path, str(path), path.read_bytes(), PIL.Image.open(path), data_uri(path, "image/png")]
    vectors = VLM2VecEmbeddings(embedded).embed_image(forms)
    np.testing.assert_allclose(vectors, [embedded.encode_document(path)] * len(forms), atol=5e-7)


def test_a_string_that_names_a_file_is_a_text(embedded: VLM2Vec, pictures: list[Sample]) -> None:
    name = str(pictures[0].path)
    embeddings = VLM2VecEmbeddings(embedded)
    np.testing.assert_allclose(
        embeddings.embed_documents([name]), embedded.encode_document([name]), atol=5e-7
    )
    np.testing.assert_allclose(embeddings.embed_query(name), embedded.encode_query(name), atol=5e-7)


def test_what_is_no_string_opens_no_file(embeddings: VLM2VecEmbeddings, pictures: list[Sample]) -> None:
    for given in (pictures[0].path, {"image": str(pictures[0].path)}):
        with pytest.raises(InputError, match="input 0: a text is"):
            embeddings.embed_query(given)  # type: ignore[arg-type]
        with pytest.raises(InputError, match="input 1: a text is"):
            embeddings.embed_documents(["a text", given])  # type: ignore[list-item]


def test_a_bad_item_is_named_by_its_index(embeddings: VLM2VecEmbeddings, pictures: list[Sample]) -> None:
    with pytest.raises(InputError, match=r"input 1 .*empty or blank"):
        embeddings.embed_documents(["a text", " "])
    with pytest.raises(MediaError, match=r"input 1 \(gone.png\): the file does not exist"):
        embeddings.embed_image([pictures[0].path, "gone.png"])
    with pytest.raises(InputError, match=r"input 0 .*URLs are not fetched"):
        embeddings.embed_image(["https://example.com/cat.png"])
    with pytest.raises(VLM2VecError, match="input 1") as caught:
        embeddings.embed_documents(["a text", "data:image/png;base64,AAAA"])
    assert caught.value.index == 1


@pytest.mark.parametrize("form", [str, Path, lambda path: path.read_bytes()])
def test_one_image_is_no_list_of_images(
    embeddings: VLM2VecEmbeddings, pictures: list[Sample], form: Callable[[Path], Any]
) -> None:
    with pytest.raises(InputError, match=r"in place of a list of images\. Pass \[image\]"):
        embeddings.embed_image(form(pictures[0].path))


def test_files_are_read_from_chosen_folders_alone(pictures: list[Sample], tmp_path: Path) -> None:
    embeddings = VLM2VecEmbeddings(model_kwargs={"allow_files": [tmp_path], "device": "cpu"})
    with pytest.raises(InputError, match="files are not read from there"):
        embeddings.embed_image([pictures[0].path])


def test_a_data_uri_is_media_only_where_that_is_asked_for(
    embedded: VLM2Vec, embeddings: VLM2VecEmbeddings, samples: list[Sample], pictures: list[Sample]
) -> None:
    document = next(sample.path for sample in samples if sample.page)
    clip = next(sample.path for sample in samples if sample.path.suffix == ".mp4")
    paths = {pictures[0].path: "image/png", document: "application/pdf", clip: "video/mp4"}
    texts = [*(data_uri(path, kind) for path, kind in paths.items()), "a text about data:image/png;base64,"]
    vectors = embedded.encode_document([*paths, texts[-1]])
    np.testing.assert_allclose(embeddings.embed_documents(texts), vectors, atol=5e-7)
    with pytest.raises(InputError, match="input 1: the text is a data-URI"):
        VLM2VecEmbeddings(embedded).embed_documents(["a text", *texts])
    query = "data:image/png;base64,AAAA"
    np.testing.assert_allclose(embeddings.embed_query(query), embedded.encode_query(query), atol=5e-7)


def test_the_event_loop_goes_on_meanwhile(embedded: VLM2Vec, pictures: list[Sample]) -> None:
    embeddings = VLM2VecEmbeddings(embedded)
    texts, paths = ["a red circle", "a blue square"], [picture.path for picture in pictures]
    threads = set()
    encode = embedded[0].forward

    def forward(*args: object, **kwargs: object) -> object:
        threads.add(threading.current_thread())
        return encode(*args, **kwargs)

    async def embed() -> list[list[list[float]]]:
        return await asyncio.gather(
            embeddings.aembed_documents(texts),
            embeddings.aembed_image(paths),
            *(embeddings.aembed_query(text) for text in texts),
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedded[0], "forward", forward)
        documents, images, *queries = asyncio.run(embed())
    assert threads
    assert threading.main_thread() not in threads
    np.testing.assert_allclose(documents, embedded.encode_document(texts), atol=5e-7)
    np.testing.assert_allclose(images, embedded.encode_document(paths), atol=5e-7)
    np.testing.assert_allclose(queries, embedded.encode_query(texts), atol=5e-7)


def test_a_loaded_page_says_where_it_is_and_shows_it(pages: list[Sample]) -> None:
    path = pages[0].path
    loaded = VLM2VecPDFLoader(path, pages="2-3", max_pixels=200_000).load()
    assert [page.metadata for page in loaded] == [
        {"source": str(path), "page": 1, "page_label": "2", "total_pages": 3},
        {"source": str(path), "page": 2, "page_label": "3", "total_pages": 3},
    ]
    for page in loaded:
        kind, _, encoded = page.page_content.partition(",")
        assert kind == "data:image/png;base64"
        width, height = PIL.Image.open(io.BytesIO(base64.b64decode(encoded))).size
        assert 190_000 < width * height <= 200_000


def test_queries_find_pages_in_a_vector_store(embeddings: VLM2VecEmbeddings, pages: list[Sample]) -> None:
    store = InMemoryVectorStore(embeddings)
    store.add_texts(["a text among the pages"])
    for path in sorted({page.path for page in pages}):
        store.add_documents(VLM2VecPDFLoader(str(path)).load())
    for page in pages:
        [hit] = store.similarity_search(page.caption, k=1)
        assert (hit.metadata["source"], hit.metadata["page_label"]) == (str(page.path), str(page.page))


def test_pages_are_drawn_as_they_are_asked_for(pages: list[Sample], monkeypatch: pytest.MonkeyPatch) -> None:
    from vlm2vec.integrations import langchain

    drawn = []
    render = langchain.render_page
    monkeypatch.setattr(
        langchain,
        "render_page",
        lambda source, page, *a, **k: drawn.append(page) or render(source, page, *a, **k),
    )
    loading = VLM2VecPDFLoader(pages[0].path).lazy_load()
    assert drawn == []
    next(loading)
    assert drawn == [1]


def test_a_pdf_that_cannot_be_loaded_is_an_error(tmp_path: Path, pages: list[Sample]) -> None:
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.7 and then nothing")
    (tmp_path / "text.pdf").write_text("no PDF", encoding="utf-8")
    for name in ("broken.pdf", "text.pdf", "gone.pdf"):
        with pytest.raises(MediaError, match=name):
            VLM2VecPDFLoader(tmp_path / name).load()
    with pytest.raises(InputError, match=f"{pages[0].path.name}: .*there is no page 4"):
        VLM2VecPDFLoader(pages[0].path, pages=4).load()
