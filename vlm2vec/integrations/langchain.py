"""LangChain: embeddings of texts, images and PDF pages for its vector stores, and a loader of PDF pages."""

from __future__ import annotations

import base64
import io
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import PIL.Image

from vlm2vec.errors import InputError, VLM2VecError
from vlm2vec.extra import extra
from vlm2vec.inputs.options import check_option
from vlm2vec.inputs.sources import source_of
from vlm2vec.integrations._embedder import Embedder, only_strings
from vlm2vec.media.documents import page_count, render_page
from vlm2vec.media.limits import Limits
from vlm2vec.media.pdf import parse_pages
from vlm2vec.media.pixels import PixelRules
from vlm2vec.media.source import Source

with extra("langchain"):
    from langchain_core.document_loaders import BaseLoader
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings
    from langchain_core.runnables.config import run_in_executor

if TYPE_CHECKING:
    from vlm2vec.model import VLM2Vec

__all__ = ["VLM2VecEmbeddings", "VLM2VecPDFLoader"]

_DATA_URI = re.compile(r"data:(?:(image|video)/|application/(pdf))[^,\s]*,", re.IGNORECASE)


class VLM2VecEmbeddings(Embeddings):  # type: ignore[misc]
    """Embeddings for LangChain's vector stores.

    A string is text, always: it never opens a file. With `data_uris` a document that is a data-URI is what
    the URI holds; a query is text even then.

    Args:
        model: A model; or folder or hub id of one, loaded when it is needed. `None` is the small one in the
            package.
        query_instruction: In place of the model's own for queries.
        document_instruction: In place of the model's own for documents and images.
        data_uris: Embed a document whose text is a data-URI, `data:image/png;base64,...`, as the image, video
            or PDF in it, so that pages of `VLM2VecPDFLoader` can be put into a vector store. Without,
            such a document is an error.
        truncate: Shorten texts that do not fit the model's context, instead of refusing them.
        truncate_dim: Components to keep of each vector, whose length is made one again.
        model_kwargs: Arguments of `VLM2Vec` for a model that is named: `device`, `dtype`, `profile`, ...

    Raises:
        InputError: `model` is none of these, or has no use for `model_kwargs`.

    Example:
        >>> from langchain_core.vectorstores import InMemoryVectorStore
        >>> store = InMemoryVectorStore(VLM2VecEmbeddings())
        >>> _ = store.add_texts(["a red circle", "a blue square"])
        >>> store.similarity_search("a blue square", k=1)[0].page_content
        'a blue square'
    """

    def __init__(
        self,
        model: VLM2Vec | str | Path | None = None,
        *,
        query_instruction: str | None = None,
        document_instruction: str | None = None,
        data_uris: bool = False,
        truncate: bool = True,
        truncate_dim: int | None = None,
        model_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        self.data_uris = data_uris
        self._embedder = Embedder(
            model,
            query_instruction=query_instruction,
            document_instruction=document_instruction,
            truncate=truncate,
            truncate_dim=truncate_dim,
            model_kwargs=model_kwargs,
        )

    @property
    def model(self) -> VLM2Vec:
        """The model itself, for inputs that LangChain has no place for."""
        return self._embedder.model

    def embed_documents(self, texts: Sequence[str]) -> list[list[float]]:
        """A vector of `dim` numbers for each of `n` documents, in order.

        Args:
            texts: Texts; with `data_uris` also media as data-URIs.

        Raises:
            VLM2VecError: One of them cannot be embedded, such as an empty text; its index says which.
        """
        return self._embedder.documents(
            [self._document(text, index) for index, text in enumerate(only_strings(texts))]
        )

    def embed_query(self, text: str) -> list[float]:
        """The vector of a query, `dim` numbers.

        Raises:
            VLM2VecError: It cannot be embedded.
        """
        return self._embedder.queries(only_strings([text]))[0]

    def embed_image(self, uris: Sequence[Any]) -> list[list[float]]:
        """A vector of `dim` numbers for each of `n` images, in order: what `add_images` of some stores calls.

        Args:
            uris: Paths, as strings or `pathlib.Path`, data-URIs, PIL images, arrays or bytes. Here a string
                is a path. URLs are refused unless the model was loaded with `allow_urls=True`.

        Raises:
            VLM2VecError: One of them is not there, or is no image, and its index says which; or one image
                stands in place of a list.

        Example:
            >>> import PIL.Image
            >>> vectors = VLM2VecEmbeddings().embed_image([PIL.Image.new("RGB", (56, 56), "red")])
            >>> len(vectors), len(vectors[0])
            (1, 224)
        """
        if isinstance(uris, str | bytes | os.PathLike):
            raise InputError("one image stands in place of a list of images", fix="Pass [image].")
        return self._embedder.documents([{"image": uri} for uri in uris])

    async def aembed_image(self, uris: Sequence[Any]) -> list[list[float]]:
        """As `embed_image`, off the event loop."""
        vectors: list[list[float]] = await run_in_executor(None, self.embed_image, uris)
        return vectors

    def _document(self, text: str, index: int) -> str | dict[str, str]:
        found = _DATA_URI.match(text)
        if found is None:
            return text
        if not self.data_uris:
            raise InputError(
                "the text is a data-URI",
                fix="Embed what it holds with VLM2VecEmbeddings(data_uris=True), or leave it out.",
                index=index,
            )
        return {(found[1] or found[2]).lower(): text}


class VLM2VecPDFLoader(BaseLoader):  # type: ignore[misc]
    """Loads a PDF as one `Document` per page, whose content is a picture of the page.

    The content is a data-URI of a PNG, `data:image/png;base64,...`: what a vector store keeps for the page,
    what `VLM2VecEmbeddings(data_uris=True)` embeds, and what a chat model takes as an `image_url`. No text is
    extracted, so scans and tables are found as other pages are. Metadata is that of LangChain's own loaders
    of PDFs: `source`, `page` (the first is **0**), `page_label` (the first is "1") and `total_pages`.

    Args:
        file_path: The file.
        pages: Which pages, the first being 1: an int, a list of ints, or a string such as "1-3,7"; all by
            default.
        password: Opens an encrypted file.
        max_pixels: Greatest area of a picture.
        limits: What the file may cost.

    Raises:
        InputError: An argument has a value that it cannot have.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> import PIL.Image
        >>> page = PIL.Image.new("RGB", (100, 140), "white")
        >>> with TemporaryDirectory() as folder:
        ...     file = Path(folder, "blank.pdf")
        ...     page.save(file, save_all=True, append_images=[page])
        ...     pages = VLM2VecPDFLoader(file).load()
        >>> [(page.page_content[:22], page.metadata["page"], page.metadata["page_label"]) for page in pages]
        [('data:image/png;base64,', 0, '1'), ('data:image/png;base64,', 1, '2')]
    """

    def __init__(
        self,
        file_path: str | os.PathLike[str],
        *,
        pages: int | str | Sequence[int] | None = None,
        password: str | None = None,
        max_pixels: int = 2_000_000,
        limits: Limits | None = None,
    ) -> None:
        self.file_path = Path(file_path)
        self._pages = check_option("pages", pages)
        self._password = check_option("password", password)
        # No multiples of patches: whoever embeds the picture sizes it.
        self._rules = PixelRules(
            max_pixels=check_option("max_pixels", max_pixels), patch_size=1, merge_size=1
        )
        self._limits = limits

    def lazy_load(self) -> Iterator[Document]:
        """The pages, each drawn when it is asked for.

        Raises:
            InputError: `pages` is no selection of pages that the file has.
            MediaError: The file is missing, broken, encrypted or no PDF, or a page cannot be drawn.
            LimitError: It has too many pages, or takes too long.
        """
        try:
            yield from self._pages_of(source_of(self.file_path, key="pdf"))
        except VLM2VecError as error:  # of one of many files, which has to be known
            raise error.at(None, str(self.file_path)) from None

    def _pages_of(self, source: Source) -> Iterator[Document]:
        source.check_exists()
        count = page_count(source, password=self._password, limits=self._limits)
        chosen = range(1, count + 1) if self._pages is None else parse_pages(self._pages, count)
        for number in chosen:
            picture = render_page(source, number, self._rules, password=self._password, limits=self._limits)
            yield Document(
                page_content=_data_uri(PIL.Image.fromarray(picture)),
                metadata={
                    "source": str(self.file_path),
                    "page": number - 1,
                    "page_label": str(number),
                    "total_pages": count,
                },
            )


def _data_uri(picture: PIL.Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
