"""The sparse graph of smart batches: which documents lie near the query of which row."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from vlm2vec.training.batches.number_lists import NumberLists, Numbers

__all__ = ["NeighbourGraph"]


@dataclass(frozen=True, eq=False)
class NeighbourGraph:
    """Which documents are near the query of which row, and which of them are right answers to it.

    A link leads from a row to a document, and so to all rows that have it. It counts 1 where the document
    makes a hard negative. It counts -1 for the first `skip`, which may well be right answers that nobody
    marked: a group should gain nothing from them. B3 leaves these out of the graph, but they come along with
    neighbours that two rows have in common.

    Attributes:
        questions: `(n,)` number of each row's question.
        documents: `(n,)` number of each row's document.
        ranked: `(n, k)` documents in the order of their similarity to the row's query, right answers left
            out; `document_count` stands where there are fewer than `k`.
        skip: How many of them, from the first on, count -1.
        answers: For each question the documents that are right, or equal to the question itself.
        document_count: Number of documents.
    """

    questions: Numbers
    documents: Numbers
    ranked: Numbers
    skip: int
    answers: NumberLists
    document_count: int

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.documents)

    @cached_property
    def weights(self) -> npt.NDArray[np.int32]:
        """`(k,)` what a link counts, by rank."""
        return np.where(np.arange(self.ranked.shape[1]) < self.skip, -1, 1).astype(np.int32)

    @property
    def near(self) -> Numbers:
        """`(n, k - skip)` the documents that make hard negatives."""
        return self.ranked[:, self.skip :]

    @property
    def links(self) -> int:
        """Number of links that count 1."""
        return int((self.near < self.document_count).sum())

    @cached_property
    def holders(self) -> NumberLists:
        """For each document the rows that have it."""
        return NumberLists(self.documents, np.arange(len(self), dtype=np.int32), size=self.document_count)

    @cached_property
    def rankers(self) -> NumberLists:
        """For each document the places in the flattened `ranked` where it stands."""
        places = self.ranked.ravel()
        narrow = np.int32 if places.size < 2**31 else np.int64
        return NumberLists(places, np.arange(places.size, dtype=narrow), size=self.document_count + 1)

    @cached_property
    def askers(self) -> NumberLists:
        """For each document the questions that it answers."""
        count = len(self.answers.starts) - 1
        questions, documents = self.answers.of(np.arange(count))
        return NumberLists(documents, questions, size=self.document_count)
