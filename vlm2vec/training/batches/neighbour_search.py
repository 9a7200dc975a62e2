"""From training rows to their neighbour graph: embed both sides, rank the documents for each query."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from vlm2vec.errors import InputError, VLM2VecError
from vlm2vec.training.batches.neighbour_graph import NeighbourGraph
from vlm2vec.training.batches.number_lists import NumberLists, Numbers
from vlm2vec.training.data.row_inputs import identity
from vlm2vec.training.data.rows import check_rows
from vlm2vec.training.mining.block_search import nearest
from vlm2vec.training.mining.mining_vectors import Embedder
from vlm2vec.training.sources.lazy_rows import Records

if TYPE_CHECKING:
    from vlm2vec import VLM2Vec

__all__ = ["EmbeddedRows", "embed_rows", "find_neighbours"]

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class EmbeddedRows:
    """Rows of one source as vectors.

    Attributes:
        numbers: `(n,)` where in the source the rows stand; what could not be used is not among them.
        queries: `(n, dim)` vectors of the queries, of unit length.
        vectors: `(d, dim)` vectors of the different documents, of unit length.
        questions: `(n,)` number of each row's query and query instruction.
        documents: `(n,)` number of each row's document.
        answers: For each question the documents that are right, or equal to the query.
    """

    numbers: npt.NDArray[np.int64]
    queries: Vectors
    vectors: Vectors
    questions: Numbers
    documents: Numbers
    answers: NumberLists

    def __len__(self) -> int:
        return len(self.numbers)


def embed_rows(model: VLM2Vec, rows: Records[Any], embedder: Embedder, source: str) -> EmbeddedRows:
    """Embed the queries and documents of a source.

    Args:
        model: The model.
        rows: Training rows.
        embedder: How; it counts what is skipped.
        source: Their name, for errors.

    Raises:
        VLM2VecError: A row is no training row or cannot be embedded, and it names the row; or none can.
    """
    checked = check_rows(
        rows,
        source=source,
        on_error=embedder.on_error,
        allow_urls=model[0].allow_urls,
        show_progress_bar=embedder.settings.get("show_progress_bar") is not False,
    )
    for reason, count in checked.skipped.items():
        embedder.count(f"rows {reason}", count)
    kept = [rows[number] for number in checked.kept]
    queries = embedder.embed(
        model.encode_query,
        [row["query"] for row in kept],
        [f"{source}, row {number}, query" for number in checked.kept],
        instruction=[row.get("query_instruction") for row in kept],
        reason="rows whose query cannot be embedded",
    )
    # Equal contents under two instructions are two documents, and both are right where one is.
    contents = [_content(row["document"]) for row in kept]
    firsts: dict[Hashable, int] = {}  # the first row with a document
    for place, row in enumerate(kept):
        firsts.setdefault((contents[place], row.get("document_instruction")), place)
    numbered = {key: number for number, key in enumerate(firsts)}
    documents = np.array(
        [numbered[contents[place], row.get("document_instruction")] for place, row in enumerate(kept)]
    )
    vectors = embedder.embed(
        model.encode_document,
        [kept[place]["document"] for place in firsts.values()],
        [f"{source}, row {checked.kept[place]}, document" for place in firsts.values()],
        instruction=[kept[place].get("document_instruction") for place in firsts.values()],
        reason="documents that cannot be embedded",
    )
    asked = ~np.isnan(queries[:, 0])
    good = asked & ~np.isnan(vectors[documents, 0])
    embedder.count("rows whose document cannot be embedded", int(asked.sum() - good.sum()))
    places = np.flatnonzero(good)
    if not places.size:
        raise InputError("no row could be embedded", fix="The log has the first errors.", source=source)
    used, documents = np.unique(documents[places], return_inverse=True)
    first = [list(firsts.values())[number] for number in used.tolist()]
    questions, answers = _questions([kept[place] for place in places], [contents[place] for place in first])
    return EmbeddedRows(
        np.array(checked.kept, dtype=np.int64)[places],
        queries[places],
        vectors[used],
        questions,
        documents,
        answers,
    )


def find_neighbours(
    rows: EmbeddedRows,
    *,
    neighbours: int,
    skip: int,
    device: torch.device | str = "cpu",
    show_progress_bar: bool | None = None,
) -> NeighbourGraph:
    """The graph of rows and the documents nearest to their queries.

    Args:
        rows: The rows.
        neighbours: How many documents of each ranking are links that count 1.
        skip: How many before them count -1.
        device: Where to multiply.
        show_progress_bar: By default where there is a terminal and it takes longer than two seconds.
    """
    found = nearest(
        rows.queries,
        rows.vectors,
        k=skip + neighbours,
        limits=np.full(len(rows), np.inf, dtype=np.float32),
        excluded=lambda row: rows.answers[rows.questions[row]].tolist(),
        device=device,
        show_progress_bar=show_progress_bar,
    )
    count = len(rows.vectors)
    return NeighbourGraph(
        questions=rows.questions,
        documents=rows.documents,
        ranked=np.where(np.isneginf(found.scores), count, found.places).astype(np.int32),
        skip=skip,
        answers=rows.answers,
        document_count=count,
    )


def _questions(
    rows: Sequence[Mapping[str, Any]], documents: Sequence[Hashable]
) -> tuple[Numbers, NumberLists]:
    """The number of each row's question, and for each question its answers.

    Args:
        rows: The rows.
        documents: The contents of the different documents.
    """
    contents = {content: number for number, content in enumerate(dict.fromkeys(documents))}
    numbers: dict[Hashable, int] = {}
    questions = np.empty(len(rows), dtype=np.int64)
    right: set[tuple[int, int]] = set()  # question and content
    for place, row in enumerate(rows):
        query = _content(row["query"])
        question = questions[place] = numbers.setdefault((query, row.get("query_instruction")), len(numbers))
        right.add((question, contents[_content(row["document"])]))
        if query in contents:
            right.add((question, contents[query]))
    pairs = np.array(sorted(right), dtype=np.int64)
    with_content = NumberLists(
        np.array([contents[content] for content in documents]), np.arange(len(documents)), size=len(contents)
    )
    asked, answers = with_content.of(pairs[:, 1])
    return questions, NumberLists(pairs[asked, 0], answers, size=len(numbers))


def _content(value: Any) -> Hashable:
    try:
        return identity(value)
    except VLM2VecError:  # said where it is embedded
        return "object", id(value)
