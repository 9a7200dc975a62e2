"""Haystack: components that embed queries and documents, which may be texts, images, videos and PDF pages."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlm2vec.describe import describe_value
from vlm2vec.errors import InputError, VLM2VecError
from vlm2vec.extra import extra
from vlm2vec.inputs.access import FileAccess
from vlm2vec.inputs.parse import parse_input
from vlm2vec.inputs.parts import Document as Pdf
from vlm2vec.inputs.parts import Input
from vlm2vec.integrations._embedder import Embedder

with extra("haystack"):
    from haystack import Document, component, default_from_dict, default_to_dict

if TYPE_CHECKING:
    from vlm2vec.model import VLM2Vec

__all__ = ["VLM2VecTextEmbedder", "VLM2VecDocumentEmbedder"]

logger = logging.getLogger(__name__)


@component
class VLM2VecTextEmbedder:
    """Embeds a query.

    Args:
        model: A model; or folder or hub id of one, loaded by `warm_up` or when it is needed. `None` is the
            small one in the package.
        instruction: In place of the model's own for queries.
        truncate: Shorten texts that do not fit the model's context, instead of refusing them.
        truncate_dim: Components to keep of each vector, whose length is made one again.
        model_kwargs: Arguments of `VLM2Vec` for a model that is named: `device`, `dtype`, `profile`, ...

    Raises:
        InputError: `model` is none of these, or has no use for `model_kwargs`.

    Example:
        >>> embedder = VLM2VecTextEmbedder()
        >>> len(embedder.run("a red circle")["embedding"])
        224
    """

    def __init__(
        self,
        model: VLM2Vec | str | Path | None = None,
        *,
        instruction: str | None = None,
        truncate: bool = True,
        truncate_dim: int | None = None,
        model_kwargs: dict[str, Any] | None = None,
    ) -> None:
        self._embedder = Embedder(
            model,
            query_instruction=instruction,
            truncate=truncate,
            truncate_dim=truncate_dim,
            model_kwargs=model_kwargs,
        )
        self._settings = {
            "model": model,
            "instruction": instruction,
            "truncate": truncate,
            "truncate_dim": truncate_dim,
            "model_kwargs": model_kwargs,
        }

    def warm_up(self) -> None:
        """Load the model."""
        _ = self._embedder.model

    @component.output_types(embedding=list[float])  # type: ignore[untyped-decorator]
    def run(self, text: str) -> dict[str, Any]:
        """Embed a query.

        Args:
            text: The query. A string is text, always.

        Returns:
            `embedding`, a list of `dim` numbers.

        Raises:
            TypeError: It is no string.
            VLM2VecError: It cannot be embedded, such as an empty text.
        """
        if not isinstance(text, str):
            raise TypeError(
                f"VLM2VecTextEmbedder takes a string, not {type(text).__name__}. "
                "Documents are for VLM2VecDocumentEmbedder."
            )
        return {"embedding": self._embedder.queries([text])[0]}

    def to_dict(self) -> dict[str, Any]:
        """What `from_dict` and a saved pipeline make this component of.

        Raises:
            InputError: Its model was given as an object.
        """
        return _to_dict(self, self._embedder, self._settings)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> VLM2VecTextEmbedder:
        """A component as it was when `to_dict` was called."""
        embedder: VLM2VecTextEmbedder = default_from_dict(cls, data)
        return embedder


@component
class VLM2VecDocumentEmbedder:
    """Embeds documents: their files if asked for, else their blobs, else their texts.

    Args:
        model: A model; or folder or hub id of one, loaded by `warm_up` or when it is needed. `None` is the
            small one in the package.
        instruction: In place of the model's own for documents.
        file_path_meta_field: Field of the metadata that names the file of a document, usually "file_path". A
            document that has it is embedded as this file, an image, video, PDF or text, whatever else it
            has. Without, no file is ever opened.
        root_path: Folder that the paths are relative to; what does not lie below it is refused.
        meta_fields_to_embed: Fields of the metadata that stand before the text of a document.
        embedding_separator: What stands between them.
        raise_on_failure: Raise the first error. With `False`, documents that cannot be embedded are returned
            apart, in `failed_documents`.
        truncate: Shorten texts that do not fit the model's context, instead of refusing them.
        truncate_dim: Components to keep of each vector, whose length is made one again.
        model_kwargs: Arguments of `VLM2Vec` for a model that is named: `device`, `dtype`, `profile`, ...

    Raises:
        InputError: `model` is none of these, or has no use for `model_kwargs`; or there is a `root_path` for
            no field.

    Example:
        >>> embedder = VLM2VecDocumentEmbedder(raise_on_failure=False)
        >>> result = embedder.run([Document(content="a red circle"), Document(content="")])
        >>> len(result["documents"][0].embedding), result["failed_documents"][0].meta["embedding_error"]
        (224, 'input 1 (text ""): the text is empty or blank. ...')
    """

    def __init__(
        self,
        model: VLM2Vec | str | Path | None = None,
        *,
        instruction: str | None = None,
        file_path_meta_field: str | None = None,
        root_path: str | Path | None = None,
        meta_fields_to_embed: list[str] | None = None,
        embedding_separator: str = "\n",
        raise_on_failure: bool = True,
        truncate: bool = True,
        truncate_dim: int | None = None,
        model_kwargs: dict[str, Any] | None = None,
    ) -> None:
        if root_path is not None and file_path_meta_field is None:
            raise InputError(
                "root_path is given, and no file is read", fix='Pass file_path_meta_field="file_path" too.'
            )
        self._embedder = Embedder(
            model,
            document_instruction=instruction,
            truncate=truncate,
            truncate_dim=truncate_dim,
            model_kwargs=model_kwargs,
        )
        self._field = file_path_meta_field
        self._root = None if root_path is None else Path(root_path)
        self._fields_before = meta_fields_to_embed or []
        self._separator = embedding_separator
        self._raise = raise_on_failure
        self._settings = {
            "model": model,
            "instruction": instruction,
            "file_path_meta_field": file_path_meta_field,
            "root_path": None if root_path is None else str(root_path),
            "meta_fields_to_embed": meta_fields_to_embed,
            "embedding_separator": embedding_separator,
            "raise_on_failure": raise_on_failure,
            "truncate": truncate,
            "truncate_dim": truncate_dim,
            "model_kwargs": model_kwargs,
        }

    def warm_up(self) -> None:
        """Load the model."""
        _ = self._embedder.model

    @component.output_types(documents=list[Document], failed_documents=list[Document])  # type: ignore[untyped-decorator]
    def run(self, documents: list[Document]) -> dict[str, list[Document]]:
        """Embed documents.

        Args:
            documents: Documents with a file, a blob or a text. The `page_number` in the metadata of a PDF is
                the page that is embedded, the first being 1; without, its pages are one vector together.

        Returns:
            `documents` with an embedding of `dim` numbers each, in order; and `failed_documents`, without an
            embedding, whose metadata have the cause as `embedding_error`.

        Raises:
            TypeError: `documents` is no list of documents.
            VLM2VecError: One cannot be embedded, and `raise_on_failure` is set; its index says which.
        """
        if not isinstance(documents, list) or not all(isinstance(one, Document) for one in documents):
            raise TypeError(
                "VLM2VecDocumentEmbedder takes a list of Documents. A query is for VLM2VecTextEmbedder."
            )
        errors: dict[int, VLM2VecError] = {}
        inputs: dict[int, Input] = {}
        for index, document in enumerate(documents):
            try:
                inputs[index] = self._input(document, index)
            except VLM2VecError as error:
                if self._raise:
                    raise
                errors[index] = error
        places = list(inputs)

        def note(place: int | None, error: VLM2VecError) -> None:
            error.index = places[place or 0]
            errors[error.index] = error

        vectors = self._embedder.documents(list(inputs.values()), on_error="raise" if self._raise else note)
        embedded = [
            replace(documents[index], embedding=vector)
            for index, vector in zip(places, vectors, strict=True)
            if index not in errors
        ]
        failed = [_failed(documents[index], errors[index]) for index in sorted(errors)]
        if failed:
            logger.warning("%d of %d documents were not embedded.", len(failed), len(documents))
        return {"documents": embedded, "failed_documents": failed}

    def to_dict(self) -> dict[str, Any]:
        """What `from_dict` and a saved pipeline make this component of.

        Raises:
            InputError: Its model was given as an object.
        """
        return _to_dict(self, self._embedder, self._settings)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> VLM2VecDocumentEmbedder:
        """A component as it was when `to_dict` was called."""
        embedder: VLM2VecDocumentEmbedder = default_from_dict(cls, data)
        return embedder

    def _input(self, document: Document, index: int) -> Input:
        page = document.meta.get("page_number")
        path = None if self._field is None else document.meta.get(self._field)
        if path is not None:
            if not isinstance(path, str | Path) or path == "":  # Path("") is the current folder
                raise InputError(
                    f"the path is {describe_value(path)}",
                    fix=f'Pass a string in the field "{self._field}" of the metadata, or leave it out.',
                    index=index,
                )
            if self._root is None:
                return _media(Path(path), page, index, allow_files=True)
            return _media(self._root / path, page, index, allow_files=[self._root])
        if document.blob is not None:
            return _media(document.blob.data, page, index, allow_files=False)
        if document.content is None:
            raise InputError(
                "the document has neither a text nor a blob",
                fix='If its file is meant, say which field has the path: file_path_meta_field="file_path".',
                index=index,
            )
        before = [document.meta.get(name) for name in self._fields_before]
        text = self._separator.join(
            [*(str(value) for value in before if value is not None), document.content]
        )
        return parse_input(text, index=index)


def _media(media: Path | bytes, page: int | None, index: int, *, allow_files: FileAccess) -> Input:
    """A file or bytes of any kind; of a PDF, the page."""
    found = parse_input(media, index=index, allow_files=allow_files)
    if page is None or not isinstance(found.parts[0], Pdf):
        return found
    return parse_input({"pdf": media, "page": page}, index=index, allow_files=allow_files)


def _failed(document: Document, error: VLM2VecError) -> Document:
    return replace(document, meta={**document.meta, "embedding_error": str(error)})


def _to_dict(owner: Any, embedder: Embedder, settings: Mapping[str, Any]) -> dict[str, Any]:
    if embedder.given is not None:
        raise InputError(
            "the model of this component was given as an object, which no file of a pipeline can hold",
            fix="Save it, model.save_pretrained(folder), and give the component the folder.",
        )
    model = settings["model"]
    data: dict[str, Any] = default_to_dict(
        owner, **{**settings, "model": None if model is None else str(model)}
    )
    return data
