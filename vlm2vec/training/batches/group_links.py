"""What some rows of a neighbour graph are to each other, as small square matrices."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vlm2vec.training.batches.neighbour_graph import NeighbourGraph
from vlm2vec.training.batches.number_lists import Numbers

__all__ = ["GroupLinks"]


class GroupLinks:
    """Links and clashes among rows.

    Args:
        graph: The graph.
    """

    def __init__(self, graph: NeighbourGraph) -> None:
        self._graph = graph
        self._column = np.full(graph.document_count + 1, -1)  # -1 between two calls

    def between(self, rows: Numbers) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
        """How much links count between rows, both ways, and which rows clash.

        Two rows clash if one's document is a right answer to the other's question: neither is a negative of
        the other.

        Args:
            rows: `(s,)` rows, all different.

        Returns:
            Links `(s, s)` and clashes `(s, s)`, both symmetric, with nothing on the diagonal.
        """
        graph = self._graph
        documents, column = np.unique(graph.documents[rows], return_inverse=True)
        self._column[documents] = np.arange(len(documents))
        counts = np.zeros((len(rows), len(documents)), dtype=np.int32)
        columns = self._column[graph.ranked[rows]]
        asker, rank = np.nonzero(columns >= 0)
        counts[asker, columns[asker, rank]] = graph.weights[rank]
        right = np.zeros(counts.shape, dtype=bool)
        place, answers = graph.answers.of(graph.questions[rows])
        columns = self._column[answers]
        right[place[columns >= 0], columns[columns >= 0]] = True
        self._column[documents] = -1
        links, clashes = counts[:, column], right[:, column]
        links, clashes = links + links.T, clashes | clashes.T
        np.fill_diagonal(links, 0)
        np.fill_diagonal(clashes, False)
        return links, clashes
