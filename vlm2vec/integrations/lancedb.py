"""LanceDB: tables that embed what is added, texts or media, and are searched by either."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from vlm2vec.describe import describe_media
from vlm2vec.errors import InputError, VLM2VecError
from vlm2vec.extra import extra
from vlm2vec.inputs.parse import parse_batch, parse_input
from vlm2vec.integrations._named_model import model_of, named
from vlm2vec.media.source import is_url, url_refusal

with extra("lancedb"):
    from lancedb.embeddings import EmbeddingFunction, register
    from pydantic import ConfigDict, Field

if TYPE_CHECKING:
    from vlm2vec.model import VLM2Vec

__all__ = ["VLM2VecEmbeddings"]

logger = logging.getLogger(__name__)


@register("vlm2vec")
class VLM2VecEmbeddings(EmbeddingFunction):  # type: ignore[misc]
    """The embedding function "vlm2vec" of LanceDB's registry, there once this module is imported.

    Make it with `create`. A table keeps its settings: a program that imports this module and opens the table
    has the function again. The model is loaded once in a process, when it is first needed.

    A row that cannot be embedded has no vector, and a warning in the log says why. LanceDB decides what
    becomes of it: by default it ends the whole `add`; `add(rows, on_bad_vectors="null")` adds all rows, and
    "drop" those with a vector. A query that cannot be embedded is an error. LanceDB's `max_retries` has no
    effect: what fails here would fail again.

    Attributes:
        model: Folder or hub id of the model, or a `VLM2Vec` that has one; by default the small model in the
            package.
        source: What the source column holds: "text", "image", "video" or "pdf" (one vector for a document). A
            string is a text in the first. In the others it is a data-URI, a path if `allow_files` says so, or
            a URL with `model_kwargs={"allow_urls": True}`.
        allow_files: Whether paths are read, in media columns and in queries: `True`, or a list of folders
            below which they lie.
        query_instruction: Instead of the model's own for queries.
        document_instruction: Instead of the model's own for documents.
        truncate_dim: Components to keep of each vector, which is brought to unit length again.
        truncate: Shorten texts that the model's context does not hold; otherwise they fail.
        model_kwargs: What `VLM2Vec` takes besides: `dtype`, `revision`, `profile`, `device`, ...

    Example:
        >>> import lancedb, tempfile
        >>> from lancedb.pydantic import LanceModel
        >>> import vlm2vec.integrations.lancedb
        >>> function = lancedb.embeddings.get_registry().get("vlm2vec").create()
        >>> class Note(LanceModel):
        ...     text: str = function.SourceField()
        ...     vector: list[float] = function.VectorField()
        >>> table = lancedb.connect(tempfile.mkdtemp()).create_table("notes", schema=Note)
        >>> _ = table.add([{"text": "a red ring"}, {"text": "a blue diamond"}])
        >>> table.search("a ring that is red").limit(1).to_list()[0]["text"]
        'a red ring'
    """

    model_config = ConfigDict(extra="forbid")

    model: str | None = None
    source: Literal["text", "image", "video", "pdf"] = "text"
    allow_files: bool | list[str] = False
    query_instruction: str | None = None
    document_instruction: str | None = None
    truncate_dim: int | None = None
    truncate: bool = True
    model_kwargs: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def create(cls, **settings: Any) -> VLM2VecEmbeddings:
        """The function with these settings, which a table can keep.

        Args:
            **settings: The attributes above.

        Raises:
            InputError: The model was trained in memory, and is not saved yet.
            pydantic.ValidationError: A setting is unknown, or has a value that it cannot have.
        """
        name, model_kwargs = named(settings.get("model"), settings.get("model_kwargs"))
        settings = {**settings, "model": name, "model_kwargs": model_kwargs}
        if isinstance(settings.get("allow_files"), list | tuple):
            settings["allow_files"] = [str(Path(folder).absolute()) for folder in settings["allow_files"]]
        function: VLM2VecEmbeddings = super().create(**settings)
        return function

    def ndims(self) -> int:
        """Components of a vector."""
        model = self._loaded()
        return min(model.full_width, self.truncate_dim or model.truncate_dim or model.full_width)

    def compute_source_embeddings(self, values: Any, *args: Any, **kwargs: Any) -> list[Any]:
        """A vector `(dim,)` for each value of the source column, as `encode_document` gives it.

        Args:
            values: A column of Arrow, or a list.
            *args: Not used.
            **kwargs: Not used.

        Returns:
            Arrays, and `None` for values that cannot be embedded.

        Raises:
            InputError: Strings are paths or URLs, and these are not read.
        """
        values = self.sanitize_input([values] if isinstance(values, bytes) else values)
        if self.source != "text":
            self._check_named(values)
            values = [{self.source: value} for value in values]
        parsed = list(parse_batch(values, **self._allowed, on_error="nan"))
        errors = {at: item for at, item in enumerate(parsed) if isinstance(item, VLM2VecError)}
        vectors = self._loaded().encode_document(
            [None if at in errors else item for at, item in enumerate(parsed)],
            instruction=self.document_instruction,
            on_error=errors.setdefault,  # what is known of an input stays
            **self._form,
        )
        for at in sorted(errors):
            logger.warning("no vector: %s", errors[at])
        return [None if at in errors else vector for at, vector in enumerate(vectors)]

    def compute_query_embeddings(
        self, query: Any, *args: Any, **kwargs: Any
    ) -> list[npt.NDArray[np.float32]]:
        """The vector of a query, as `encode_query` gives it.

        Args:
            query: A string is a text, always. Otherwise any input that `encode` takes, such as a picture.
            *args: Not used.
            **kwargs: Not used.

        Returns:
            A list of one array `(dim,)`.

        Raises:
            VLM2VecError: It cannot be embedded.
        """
        parsed = parse_input(query, **self._allowed)
        return list(self._loaded().encode_query([parsed], instruction=self.query_instruction, **self._form))

    # LanceDB calls these. Its own wait and try again, up to seven times, whatever went wrong.
    compute_source_embeddings_with_retry = compute_source_embeddings
    compute_query_embeddings_with_retry = compute_query_embeddings

    @property
    def _allowed(self) -> dict[str, Any]:
        return {"allow_files": self.allow_files, "allow_urls": self._loaded()[0].allow_urls}

    @property
    def _form(self) -> dict[str, Any]:
        return {"truncate": self.truncate, "truncate_dim": self.truncate_dim, "normalize_embeddings": True}

    def _loaded(self) -> VLM2Vec:
        return model_of(self.model, self.model_kwargs)

    def _check_named(self, values: Sequence[Any]) -> None:
        """Raise for the first path or URL if these are not read: then no row is broken, the settings are."""
        for at, value in enumerate(values):
            if not isinstance(value, str) or value[:5].lower() == "data:":
                continue
            if is_url(value):
                if not self._loaded()[0].allow_urls:
                    raise url_refusal().at(at, describe_media(value))
            elif self.allow_files is False:
                raise InputError(
                    "this is a path, and files are not read here",
                    fix="Create the function with allow_files=True, or add the bytes of files.",
                    index=at,
                    source=describe_media(value),
                )
