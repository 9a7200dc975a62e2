"""`Embedder`: the model behind an adapter, given or by name, and vectors as the lists that programs keep."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlm2vec.describe import describe_value
from vlm2vec.errors import InputError
from vlm2vec.integrations._named_model import full_name, given_model, model_of

if TYPE_CHECKING:
    from vlm2vec.encoding.policy import ErrorPolicy
    from vlm2vec.model import VLM2Vec

__all__ = ["Embedder", "only_strings"]


class Embedder:
    """Encodes queries and documents for an adapter.

    A model that is named is loaded when something is to be encoded, once in each process that the embedder is
    sent to, for all that name it; it is kept until the process ends. One that is given is sent along.

    Args:
        model: A model; or folder or hub id of one. `None` is the small one in the package.
        query_instruction: In place of the model's own for queries.
        document_instruction: In place of the model's own for documents.
        truncate: Shorten texts that do not fit the model's context, instead of refusing them.
        truncate_dim: Components to keep of each vector, whose length is made one again.
        model_kwargs: Arguments of `VLM2Vec` for a model that is named: `device`, `dtype`, `profile`, ...

    Raises:
        InputError: `model` is none of these, or has no use for `model_kwargs`.
    """

    def __init__(
        self,
        model: VLM2Vec | str | Path | None = None,
        *,
        query_instruction: str | None = None,
        document_instruction: str | None = None,
        truncate: bool = True,
        truncate_dim: int | None = None,
        model_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        self.given = given_model(model, model_kwargs)
        self._name, self._model_kwargs = full_name(model), dict(model_kwargs or {})
        self._instructions = {"query": query_instruction, "document": document_instruction}
        self._settings: dict[str, Any] = {"truncate": truncate, "truncate_dim": truncate_dim}

    @property
    def model(self) -> VLM2Vec:
        """The model, loaded by now."""
        return model_of(self._name, self._model_kwargs) if self.given is None else self.given

    def queries(self, inputs: Sequence[Any]) -> list[list[float]]:
        """A vector of `dim` numbers for each of `n` queries; raises as `encode`."""
        return self._lists("query", inputs)

    def documents(self, inputs: Sequence[Any], on_error: ErrorPolicy = "raise") -> list[list[float]]:
        """A vector of `dim` numbers for each of `n` documents; raises as `encode`."""
        return self._lists("document", inputs, on_error=on_error)

    def _lists(self, role: str, inputs: Sequence[Any], **settings: Any) -> list[list[float]]:
        encode = self.model.encode_query if role == "query" else self.model.encode_document
        vectors = encode(
            list(inputs),
            instruction=self._instructions[role],
            normalize_embeddings=True,  # again, where they are truncated
            **self._settings,
            **settings,
        )
        lists: list[list[float]] = vectors.tolist()
        return lists


def only_strings(texts: Iterable[Any]) -> list[str]:
    """The texts as a list. What else `encode` takes is refused, so that what a client sends opens no file.

    Raises:
        InputError: One is no string, or there is one string in place of a list.

    Example:
        >>> only_strings(["a cat", {"image": "cat.jpg"}])
        Traceback (most recent call last):
        vlm2vec.errors.InputError: input 1: a text is dict with image. Pass a string.
    """
    if isinstance(texts, str):
        raise InputError("a string stands in place of a list of texts", fix="Pass [text].")
    given = list(texts)
    for index, text in enumerate(given):
        if not isinstance(text, str):
            raise InputError(f"a text is {describe_value(text)}", fix="Pass a string.", index=index)
    return given
