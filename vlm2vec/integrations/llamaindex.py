"""LlamaIndex: an embedding model of texts and images, for its indexes, retrievers and pipelines."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from vlm2vec.errors import InputError
from vlm2vec.extra import extra
from vlm2vec.integrations._embedder import Embedder, only_strings
from vlm2vec.integrations._named_model import full_name, given_model

with extra("llamaindex"):
    from llama_index.core.bridge.pydantic import BaseModel, Field, PrivateAttr
    from llama_index.core.embeddings import MultiModalEmbedding

if TYPE_CHECKING:
    from vlm2vec.model import VLM2Vec

__all__ = ["VLM2VecEmbedding"]

_BATCH = 2048  # the most that LlamaIndex hands over at a time: what fits into memory is found out inside


class VLM2VecEmbedding(MultiModalEmbedding):  # type: ignore[misc]
    """An embedding model for LlamaIndex: a `MultiModalEmbedding`, of texts and of images.

    Texts are texts, always, and a string given as an image is a path, or a data-URI.

    Args:
        model: A model; or folder or hub id of one, loaded when it is needed. `None` is the small one in the
            package. `model_name` is another name of this argument. A model that is given as an object has no
            name by which another program could load it: `from_dict(to_dict())` fails, and vectors that
            LlamaIndex cached for one object are not taken for another's.
        query_instruction: In place of the model's own for queries.
        text_instruction: In place of the model's own for documents: texts and images.
        truncate: Shorten texts that do not fit the model's context, instead of refusing them.
        truncate_dim: Components to keep of each vector, whose length is made one again.
        model_kwargs: Arguments of `VLM2Vec` for a model that is named: `device`, `dtype`, `profile`, ...
        **kwargs: As every embedding model of LlamaIndex takes them: `embed_batch_size`, 2,048 by default
            since a batch is cut by tokens inside, `callback_manager`, `num_workers`, `embeddings_cache`, ...

    Raises:
        InputError: `model` is none of these, or has no use for `model_kwargs`.

    Example:
        >>> import PIL.Image
        >>> embed_model = VLM2VecEmbedding()
        >>> query = embed_model.get_query_embedding("a red circle")
        >>> picture = io.BytesIO()
        >>> PIL.Image.new("RGB", (56, 56), "red").save(picture, "PNG")
        >>> len(query), len(embed_model.get_image_embedding(picture))
        (224, 224)
    """

    embed_batch_size: int = Field(default=_BATCH, description="The batch size for embedding calls.", gt=0)
    query_instruction: str | None = Field(default=None, description="In place of the model's own.")
    text_instruction: str | None = Field(default=None, description="In place of the model's own.")
    truncate: bool = Field(default=True, description="Shorten texts that do not fit the context.")
    truncate_dim: int | None = Field(default=None, description="Components to keep of each vector.")
    model_kwargs: dict[str, Any] = Field(default_factory=dict, description="Arguments of VLM2Vec.")

    _source: VLM2Vec | str | None = PrivateAttr()

    def __init__(
        self,
        model: VLM2Vec | str | Path | None = None,
        *,
        query_instruction: str | None = None,
        text_instruction: str | None = None,
        truncate: bool = True,
        truncate_dim: int | None = None,
        model_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        model = kwargs.pop("model_name", None) if model is None else model  # what `to_dict` calls it
        model = None if isinstance(model, str) and model == _EMBEDDED else model
        given = given_model(model, model_kwargs)
        super().__init__(
            model_name=str(model or _EMBEDDED) if given is None else _name_of(given),
            query_instruction=query_instruction,
            text_instruction=text_instruction,
            truncate=truncate,
            truncate_dim=truncate_dim,
            model_kwargs=dict(model_kwargs or {}),
            **kwargs,
        )
        self._source = full_name(model) if given is None else given

    @classmethod
    def class_name(cls) -> str:
        """The name of this class in what LlamaIndex saves."""
        return "VLM2VecEmbedding"

    @property
    def model(self) -> VLM2Vec:
        """The model itself, for inputs that LlamaIndex has no place for."""
        return self._embedder.model

    @property
    def _embedder(self) -> Embedder:
        return Embedder(
            self._source,
            query_instruction=self.query_instruction,
            document_instruction=self.text_instruction,
            truncate=self.truncate,
            truncate_dim=self.truncate_dim,
            model_kwargs=self.model_kwargs,
        )

    # LlamaIndex goes through what it gets: of a text in place of a list, through its letters.
    def get_text_embedding_batch(self, texts: Sequence[str], *others: Any, **named: Any) -> Any:
        """Vectors of texts, as LlamaIndex batches them."""
        return super().get_text_embedding_batch(only_strings(texts), *others, **named)

    async def aget_text_embedding_batch(self, texts: Sequence[str], *others: Any, **named: Any) -> Any:
        """The same, off the event loop."""
        return await super().aget_text_embedding_batch(only_strings(texts), *others, **named)

    def get_image_embedding_batch(self, img_file_paths: Sequence[Any], *others: Any, **named: Any) -> Any:
        """Vectors of images, as LlamaIndex batches them."""
        return super().get_image_embedding_batch(_list_of_images(img_file_paths), *others, **named)

    async def aget_image_embedding_batch(
        self, img_file_paths: Sequence[Any], *others: Any, **named: Any
    ) -> Any:
        """The same, off the event loop."""
        return await super().aget_image_embedding_batch(_list_of_images(img_file_paths), *others, **named)

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._embedder.queries(only_strings([query]))[0]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await asyncio.to_thread(self._get_query_embedding, query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return await asyncio.to_thread(self._get_text_embedding, text)

    def _get_text_embeddings(self, texts: Sequence[str]) -> list[list[float]]:
        return self._embedder.documents(only_strings(texts))

    async def _aget_text_embeddings(self, texts: Sequence[str]) -> list[list[float]]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)

    def _get_image_embedding(self, img_file_path: Any) -> list[float]:
        return self._get_image_embeddings([img_file_path])[0]

    async def _aget_image_embedding(self, img_file_path: Any) -> list[float]:
        return await asyncio.to_thread(self._get_image_embedding, img_file_path)

    def _get_image_embeddings(self, img_file_paths: Sequence[Any]) -> list[list[float]]:
        return self._embedder.documents([{"image": _image(image)} for image in img_file_paths])

    async def _aget_image_embeddings(self, img_file_paths: Sequence[Any]) -> list[list[float]]:
        return await asyncio.to_thread(self._get_image_embeddings, img_file_paths)

    def __getstate__(self) -> dict[str, Any]:
        # LlamaIndex leaves out what does not pickle, and with it the model, with no more than a warning.
        return {**super().__getstate__(), "__pydantic_private__": {"_source": self._source}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Not LlamaIndex's own, which makes the object anew by its fields: a model that is given is in none.
        BaseModel.__setstate__(self, state)


_EMBEDDED = "the model inside vlm2vec"


def _name_of(model: VLM2Vec) -> str:
    name = Path(model[0].model.name_or_path or "vlm2vec").name
    return f"{name}, given as an object ({uuid4().hex[:8]})"


def _list_of_images(images: Any) -> list[Any]:
    if isinstance(images, str | bytes | os.PathLike):
        raise InputError("one image stands in place of a list of images", fix="Pass [image].")
    return list(images)


def _image(image: Any) -> Any:
    return image.getvalue() if isinstance(image, io.BytesIO) else image
