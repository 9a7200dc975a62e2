"""Groups of rows of one size, each grown from one row along the links of a neighbour graph."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from vlm2vec.training.batches.neighbour_graph import NeighbourGraph
from vlm2vec.training.batches.number_lists import Numbers

__all__ = ["grow_groups"]

_WINDOW = 256  # rows that are looked at for a new beginning that clashes with nothing


def grow_groups(
    graph: NeighbourGraph, size: int, *, seed: int = 0, show_progress_bar: bool | None = None
) -> npt.NDArray[np.int64]:
    """Groups of rows with many links among them.

    A group begins with a free row drawn at random. Then it takes the free row with most links to it, again
    and again. Where no link leads on, it begins anew elsewhere. Rows that clash with the group come only when
    nothing else is at hand.

    The work is about that of reading each link once for each group that its document is in.

    Args:
        graph: The graph.
        size: Rows of each group.
        seed: Of the draws.
        show_progress_bar: By default where there is a terminal and it takes longer than two seconds.

    Returns:
        `(n // size, size)` row numbers, none twice.
    """
    growth = _Growth(graph, seed)
    count = len(graph) // size
    groups = np.empty((count, size), dtype=np.int64)
    disable = None if show_progress_bar is None else not show_progress_bar
    for number in tqdm(range(count), desc="Grouping", disable=disable, delay=2):
        groups[number] = growth.grow(size)
    return groups


class _Growth:
    def __init__(self, graph: NeighbourGraph, seed: int) -> None:
        self._graph = graph
        rows, documents = len(graph), graph.document_count
        self._free = np.ones(rows, dtype=bool)
        self._copies = np.bincount(graph.documents, minlength=documents)  # free rows of each document
        self._first = graph.holders.starts[:-1].copy()  # where in `holders` the first of them stands
        self._order = np.random.default_rng(seed).permutation(rows)  # in which rows begin a group
        self._next = 0
        # Of the group that grows: its links to rows, as those that rank its documents, and to documents.
        self._row_score = np.zeros(rows, dtype=np.int32)
        self._document_score = np.zeros(documents + 1, dtype=np.int32)
        self._barred_documents = np.zeros(documents + 1, dtype=bool)
        self._barred_questions = np.zeros(len(graph.answers.starts) - 1, dtype=bool)
        self._seen = np.zeros(rows, dtype=bool)
        self._pool: Numbers = np.empty(0, dtype=np.int64)  # rows with links to it

    def grow(self, size: int) -> list[int]:
        """The rows of the next group."""
        for array in (self._row_score, self._document_score):
            array.fill(0)
        for array in (self._barred_documents, self._barred_questions, self._seen):
            array.fill(False)
        self._pool = self._pool[:0]
        group: list[int] = []
        while len(group) < size:
            row = self._most_linked()
            group.append(self._elsewhere() if row is None else row)
            self._take(group[-1])
        return group

    def _most_linked(self) -> int | None:
        pool = self._pool = self._pool[self._open(self._pool)]
        if not pool.size:
            return None
        scores = self._row_score[pool] + self._document_score[self._graph.documents[pool]]
        best = scores.argmax()
        return int(pool[best]) if scores[best] > 0 else None

    def _elsewhere(self) -> int:
        while not self._free[self._order[self._next]]:
            self._next += 1
        window = self._order[self._next : self._next + _WINDOW]
        unbarred = window[self._open(window)]
        return int(unbarred[0] if unbarred.size else window[0])

    def _open(self, rows: Numbers) -> npt.NDArray[np.bool_]:
        """Which rows are free and clash with none of the group."""
        graph = self._graph
        barred = self._barred_documents[graph.documents[rows]] | self._barred_questions[graph.questions[rows]]
        return self._free[rows] & ~barred

    def _take(self, row: int) -> None:
        graph = self._graph
        document = int(graph.documents[row])
        self._use_up(row, document)
        self._document_score[graph.ranked[row]] += graph.weights
        near = graph.near[row]
        near = near[near < graph.document_count]
        near = near[self._copies[near] > 0]
        # Of the rows with a document one is enough: others come by their own links, or are as good.
        self._add_to_pool(graph.holders.values[self._first[near]])
        if not self._barred_documents[document]:
            places = graph.rankers[document]
            rankers = places // graph.ranked.shape[1]
            weights = graph.weights[places - rankers * graph.ranked.shape[1]]
            self._row_score[rankers] += weights
            self._add_to_pool(rankers[weights > 0])
            self._barred_questions[graph.askers[document]] = True
        self._barred_documents[graph.answers[int(graph.questions[row])]] = True

    def _add_to_pool(self, rows: Numbers) -> None:
        new = rows[self._free[rows] & ~self._seen[rows]]
        self._seen[new] = True
        self._pool = np.concatenate([self._pool, new])

    def _use_up(self, row: int, document: int) -> None:
        self._free[row] = False
        self._copies[document] -= 1
        if self._copies[document]:
            while not self._free[self._graph.holders.values[self._first[document]]]:
                self._first[document] += 1
