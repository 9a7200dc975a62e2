"""LlamaIndex: vectors are the model's, indexes of images answer, and copies are the same embedding model."""

from __future__ import annotations

import asyncio
import copy
import io
import pickle
import threading
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("llama_index.core")

from llama_index.core import VectorStoreIndex
from llama_index.core.indices import MultiModalVectorStoreIndex
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import ImageNode, TextNode

from vlm2vec import VLM2Vec
from vlm2vec.errors import CheckpointError, InputError, MediaError
from vlm2vec.integrations.llamaindex import VLM2VecEmbedding
from vlm2vec.world.samples import Sample, write_samples

TEXTS = ["a red circle", "two blue squares above a green ring"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    samples = write_samples(tmp_path_factory.mktemp("samples"))
    return [sample for sample in samples if sample.path.suffix in (".png", ".jpg")]


@pytest.fixture
def embed_model(embedded: VLM2Vec) -> VLM2VecEmbedding:
    return VLM2VecEmbedding(embedded)


def nodes_of(pictures: list[Sample]) -> list[ImageNode]:
    return [ImageNode(image_path=str(one.path), metadata={"name": one.path.name}) for one in pictures]


def test_vectors_are_those_of_the_model(embedded: VLM2Vec, pictures: list[Sample]) -> None:
    embed_model = VLM2VecEmbedding(embedded)
    paths = [picture.path for picture in pictures]
    documents, images = embedded.encode_document(TEXTS), embedded.encode_document(paths)
    query = embedded.encode_query(TEXTS[0])
    np.testing.assert_allclose(embed_model.get_query_embedding(TEXTS[0]), query, atol=5e-7)
    np.testing.assert_allclose(embed_model.get_text_embedding(TEXTS[0]), documents[0], atol=5e-7)
    np.testing.assert_allclose(embed_model.get_text_embedding_batch(TEXTS), documents, atol=5e-7)
    np.testing.assert_allclose(embed_model.get_image_embedding(str(paths[0])), images[0], atol=5e-7)
    opened = [io.BytesIO(path.read_bytes()) for path in paths]
    np.testing.assert_allclose(embed_model.get_image_embedding_batch(opened), images, atol=5e-7)


def test_a_small_batch_gives_the_same_vectors(embedded: VLM2Vec, pictures: list[Sample]) -> None:
    paths = [str(picture.path) for picture in pictures]
    vectors = VLM2VecEmbedding(embedded, embed_batch_size=1).get_image_embedding_batch(paths)
    np.testing.assert_allclose(vectors, embedded.encode_document(list(map(Path, paths))), atol=5e-7)


def test_coroutines_leave_the_event_loop_free(
    embedded: VLM2Vec, embed_model: VLM2VecEmbedding, pictures: list[Sample]
) -> None:
    paths = [str(picture.path) for picture in pictures]
    threads = set()
    encode = embedded[0].forward

    def forward(*args: object, **kwargs: object) -> object:
        threads.add(threading.current_thread())
        return encode(*args, **kwargs)

    async def embed() -> list[list[list[float]]]:
        return await asyncio.gather(
            embed_model.aget_text_embedding_batch(TEXTS),
            embed_model.aget_image_embedding_batch(paths),
            asyncio.gather(*(embed_model.aget_query_embedding(text) for text in TEXTS)),
            asyncio.gather(*(embed_model.aget_text_embedding(text) for text in TEXTS)),
            asyncio.gather(*(embed_model.aget_image_embedding(path) for path in paths[:2])),
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedded[0], "forward", forward)
        documents, images, queries, one_by_one, first = asyncio.run(embed())
    assert threads
    assert threading.main_thread() not in threads
    np.testing.assert_allclose(documents, embedded.encode_document(TEXTS), atol=5e-7)
    np.testing.assert_allclose(one_by_one, documents, atol=5e-7)
    np.testing.assert_allclose(queries, embedded.encode_query(TEXTS), atol=5e-7)
    np.testing.assert_allclose(images, embedded.encode_document(list(map(Path, paths))), atol=5e-7)
    np.testing.assert_allclose(first, images[:2], atol=5e-7)


def test_an_index_of_images_and_texts_answers(embed_model: VLM2VecEmbedding, pictures: list[Sample]) -> None:
    index = MultiModalVectorStoreIndex(
        [*nodes_of(pictures), TextNode(text="a text among pictures")],
        embed_model=embed_model,
        image_embed_model=embed_model,
    )
    retriever = index.as_retriever(similarity_top_k=1, image_similarity_top_k=1)
    for picture in pictures:
        text, image = retriever.retrieve(picture.caption)
        assert text.node.text == "a text among pictures"
        assert image.node.image_path == str(picture.path)
        [same] = retriever.image_to_image_retrieve(str(picture.path))
        assert (same.node.image_path, round(same.score, 5)) == (str(picture.path), 1)


def test_images_and_texts_stand_in_one_store(embed_model: VLM2VecEmbedding, pictures: list[Sample]) -> None:
    nodes = nodes_of(pictures)
    vectors = embed_model.get_image_embedding_batch([node.image_path for node in nodes])
    for node, vector in zip(nodes, vectors, strict=True):
        node.embedding = vector
    index = VectorStoreIndex([*nodes, TextNode(text="a text among pictures")], embed_model=embed_model)
    retriever = index.as_retriever(similarity_top_k=1)
    for picture in pictures:
        assert retriever.retrieve(picture.caption)[0].node.image_path == str(picture.path)
    assert retriever.retrieve("a text among pictures")[0].node.text == "a text among pictures"


def test_a_pipeline_embeds_texts(embedded: VLM2Vec, embed_model: VLM2VecEmbedding) -> None:
    nodes = IngestionPipeline(transformations=[embed_model]).run(
        nodes=[TextNode(text=text) for text in TEXTS]
    )
    np.testing.assert_allclose([node.embedding for node in nodes], embedded.encode_document(TEXTS), atol=5e-7)


def test_a_bad_item_is_named_by_its_index(embed_model: VLM2VecEmbedding, pictures: list[Sample]) -> None:
    good = str(pictures[0].path)
    with pytest.raises(InputError, match=r"input 1 .*empty or blank"):
        embed_model.get_text_embedding_batch(["a text", ""])
    with pytest.raises(InputError, match="a text is dict with image"):
        embed_model.get_query_embedding({"image": good})
    with pytest.raises(MediaError, match=r"input 1 \(gone.png\): the file does not exist"):
        embed_model.get_image_embedding_batch([good, "gone.png"])
    with pytest.raises(InputError, match="URLs are not fetched"):
        embed_model.get_image_embedding("https://example.com/cat.png")


@pytest.mark.parametrize("copied", [lambda one: pickle.loads(pickle.dumps(one)), copy.deepcopy])  # noqa: S301
@pytest.mark.parametrize("given", [True, False])
def test_copies_are_the_same_embedding_model(copied: object, given: bool, embedded: VLM2Vec) -> None:
    settings = {} if given else {"model_kwargs": {"device": "cpu"}}
    embed_model = VLM2VecEmbedding(embedded if given else None, query_instruction="Find it.", **settings)
    other = copied(embed_model)
    assert other.to_dict() == embed_model.to_dict()
    vector = embedded.encode_query(TEXTS[0], instruction="Find it.")
    np.testing.assert_allclose(other.get_query_embedding(TEXTS[0]), vector, atol=5e-7)


@pytest.mark.parametrize("given", [True, False])
def test_fields_that_are_set_later_have_effect(given: bool, embedded: VLM2Vec) -> None:
    embed_model = VLM2VecEmbedding(embedded if given else None)
    embed_model.text_instruction = "Keep it."
    narrow = embed_model.model_copy(update={"truncate_dim": 32})
    for other, dimensions in ((embed_model, None), (narrow, 32)):
        vector = embedded.encode_document(
            TEXTS[0], instruction="Keep it.", truncate_dim=dimensions, normalize_embeddings=True
        )
        np.testing.assert_allclose(other.get_text_embedding(TEXTS[0]), vector, atol=5e-7)


def test_a_dict_makes_the_embedding_model_of_a_name_again(embedded: VLM2Vec) -> None:
    embed_model = VLM2VecEmbedding(
        text_instruction="Keep it.", truncate_dim=32, truncate=False, model_kwargs={"device": "cpu"}
    )
    other = VLM2VecEmbedding.from_dict(embed_model.to_dict())
    assert other.to_dict() == embed_model.to_dict()
    vector = embedded.encode_document(
        TEXTS[0], instruction="Keep it.", truncate_dim=32, normalize_embeddings=True
    )
    np.testing.assert_allclose(other.get_text_embedding(TEXTS[0]), vector, atol=5e-7)
    assert (
        VLM2VecEmbedding("a/name").model_name == VLM2VecEmbedding(model_name="a/name").model_name == "a/name"
    )


def test_a_dict_does_not_take_another_model_for_one_that_was_given(embedded: VLM2Vec) -> None:
    one, other = VLM2VecEmbedding(embedded), VLM2VecEmbedding(embedded)
    assert one.to_dict() != other.to_dict()  # what is cached for one is not used for the other
    with pytest.raises(CheckpointError, match="given as an object"):
        VLM2VecEmbedding.from_dict(one.to_dict()).get_query_embedding("a text")


def test_a_text_in_place_of_a_list_is_refused_and_not_taken_letter_by_letter(
    embed_model: VLM2VecEmbedding,
) -> None:
    for embed in (
        embed_model.get_text_embedding_batch,
        lambda text: asyncio.run(embed_model.aget_text_embedding_batch(text)),
    ):
        with pytest.raises(InputError, match=r"in place of a list of texts. Pass \[text\]"):
            embed("abc")
    for embed in (
        embed_model.get_image_embedding_batch,
        lambda image: asyncio.run(embed_model.aget_image_embedding_batch(image)),
    ):
        with pytest.raises(InputError, match=r"in place of a list of images. Pass \[image\]"):
            embed("a.png")
