"""Chroma: collections that embed the texts, pictures and files that are added, and are searched by either."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vlm2vec.arguments import did_you_mean
from vlm2vec.errors import InputError
from vlm2vec.extra import extra
from vlm2vec.integrations._named_model import model_of, named

with extra("chroma"):
    from chromadb.api.types import Embeddable, EmbeddingFunction, Embeddings, Space
    from chromadb.utils.embedding_functions import register_embedding_function

if TYPE_CHECKING:
    from vlm2vec.model import VLM2Vec

__all__ = ["VLM2VecEmbeddingFunction"]


@register_embedding_function
class VLM2VecEmbeddingFunction(EmbeddingFunction[Embeddable]):  # type: ignore[misc]
    """An embedding function of Chroma, called "vlm2vec" in the settings of a collection.

    A collection keeps the settings: a program that imports this module and gets the collection has the
    function again. The model is loaded once in a process, when it is first needed.

    Strings are texts, always. Whatever else a collection's `data_loader` gives is an input as `encode` takes
    it: arrays are pictures, and a `pathlib.Path` is a file. An input that cannot be embedded is an error
    that names it, and nothing is added: in Chroma each record has a vector.

    Args:
        model: A model that has a name, or its folder or hub id; by default the small model in the package.
        query_instruction: Instead of the model's own for queries.
        document_instruction: Instead of the model's own for documents.
        truncate_dim: Components to keep of each vector, which is brought to unit length again.
        truncate: Shorten texts that the model's context does not hold; otherwise they are errors.
        model_kwargs: What `VLM2Vec` takes besides, for a model that is named: `dtype`, `revision`, ...

    Raises:
        InputError: The model was trained in memory, and is not saved yet.

    Example:
        >>> import chromadb
        >>> from vlm2vec.integrations.chroma import VLM2VecEmbeddingFunction
        >>> client = chromadb.EphemeralClient()
        >>> notes = client.create_collection("notes", embedding_function=VLM2VecEmbeddingFunction())
        >>> notes.add(ids=["1", "2"], documents=["a red ring", "a blue diamond"])
        >>> notes.query(query_texts=["a ring that is red"], n_results=1)["documents"]
        [['a red ring']]
        >>> client.delete_collection("notes")
    """

    def __init__(
        self,
        model: VLM2Vec | str | os.PathLike[str] | None = None,
        *,
        query_instruction: str | None = None,
        document_instruction: str | None = None,
        truncate_dim: int | None = None,
        truncate: bool = True,
        model_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        self._model, self._model_kwargs = named(model, model_kwargs)
        self._query_instruction = query_instruction
        self._document_instruction = document_instruction
        self._truncate_dim = truncate_dim
        self._truncate = truncate

    def __call__(self, input: Embeddable) -> Embeddings:
        """A vector `(dim,)` for each document, as `encode_document` gives it.

        Args:
            input: Texts, arrays of pictures, or what a `data_loader` gave.

        Raises:
            VLM2VecError: One cannot be embedded.
        """
        return list(
            self._loaded().encode_document(input, instruction=self._document_instruction, **self._form)
        )

    def embed_query(self, input: Embeddable) -> Embeddings:
        """A vector `(dim,)` for each query, as `encode_query` gives it.

        Args:
            input: Texts, arrays of pictures, or what a `data_loader` gave.

        Raises:
            VLM2VecError: One cannot be embedded.
        """
        return list(self._loaded().encode_query(input, instruction=self._query_instruction, **self._form))

    @staticmethod
    def name() -> str:
        """Its name in the settings of a collection."""
        return "vlm2vec"

    def default_space(self) -> Space:
        """Cosine, as of all models here."""
        return "cosine"

    def supported_spaces(self) -> list[Space]:
        """All of them: vectors have unit length, so each gives the same order."""
        return ["cosine", "l2", "ip"]

    def get_config(self) -> dict[str, Any]:
        """The settings, as plain values."""
        return {
            "model": self._model,
            "query_instruction": self._query_instruction,
            "document_instruction": self._document_instruction,
            "truncate_dim": self._truncate_dim,
            "truncate": self._truncate,
            "model_kwargs": dict(self._model_kwargs),
        }

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> VLM2VecEmbeddingFunction:
        """The function with settings that `get_config` gave.

        Raises:
            InputError: One is unknown.
        """
        VLM2VecEmbeddingFunction.validate_config(config)
        return VLM2VecEmbeddingFunction(**config)

    @staticmethod
    def validate_config(config: dict[str, Any]) -> None:
        """Raise for a setting that is unknown, as one of a later version.

        Raises:
            InputError: One is.
        """
        known = VLM2VecEmbeddingFunction().get_config()
        for setting in config:
            if setting not in known:
                raise InputError(
                    f'unknown setting "{setting}"',
                    fix=did_you_mean(setting, known, otherwise=f"The settings are {', '.join(known)}."),
                )

    def validate_config_update(self, old_config: dict[str, Any], new_config: dict[str, Any]) -> None:
        """Raise for a change after which new vectors would not fit those of the collection.

        Raises:
            InputError: It is one.
        """
        for setting in ("model", "model_kwargs", "document_instruction", "truncate_dim"):
            if old_config.get(setting) != new_config.get(setting):
                raise InputError(
                    f"{setting} is {old_config.get(setting)!r} for the vectors of this collection, and "
                    f"{new_config.get(setting)!r} now",
                    fix="Make another collection.",
                )

    @property
    def _form(self) -> dict[str, Any]:
        return {"truncate": self._truncate, "truncate_dim": self._truncate_dim, "normalize_embeddings": True}

    def _loaded(self) -> VLM2Vec:
        return model_of(self._model, self._model_kwargs)
