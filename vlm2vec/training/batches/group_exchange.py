"""Better groups: rows change places between two groups while that adds links within them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from vlm2vec.training.batches.group_links import GroupLinks
from vlm2vec.training.batches.neighbour_graph import NeighbourGraph

__all__ = ["exchange_rows"]

_SWEEPS = 3
_PARTNERS = 4  # groups with most links to a group, that it exchanges rows with in a sweep
_CANDIDATES = 32  # rows of each group that are tried in pairs


def exchange_rows(
    graph: NeighbourGraph,
    groups: npt.NDArray[np.int64],
    *,
    seed: int = 0,
    show_progress_bar: bool | None = None,
) -> npt.NDArray[np.int64]:
    """The groups after exchanges of two rows each, every one of which was for the better.

    Better are fewer clashes, and with as many more links within groups. A group meets those with most links
    to it and one at random, which may take a row that clashes.

    Args:
        graph: The graph.
        groups: `(g, size)` rows.
        seed: Of the order in which groups meet.
        show_progress_bar: By default where there is a terminal and it takes longer than two seconds.

    Returns:
        `(g, size)` the same rows.
    """
    groups = groups.copy()
    if len(groups) < 2:
        return groups
    rng = np.random.default_rng(seed)
    links = GroupLinks(graph)
    home = np.full(graph.document_count + 1, -1)  # a group that has the document
    disable = None if show_progress_bar is None else not show_progress_bar
    with tqdm(total=_SWEEPS * len(groups), desc="Exchanging", disable=disable, delay=2) as bar:
        for _ in range(_SWEEPS):
            home[graph.documents[groups]] = np.arange(len(groups))[:, None]
            before = groups.copy()
            for one in rng.permutation(len(groups)).tolist():
                for other in _partners(graph, groups, home, one, rng):
                    _exchange(links, groups, one, other)
                bar.update()
            if np.array_equal(groups, before):
                break
    return groups


def _partners(
    graph: NeighbourGraph,
    groups: npt.NDArray[np.int64],
    home: npt.NDArray[np.int64],
    one: int,
    rng: np.random.Generator,
) -> list[int]:
    near = home[graph.near[groups[one]].ravel()]
    counts = np.bincount(near[near >= 0], minlength=len(groups))
    counts[one] = 0
    best = np.argpartition(counts, -min(_PARTNERS, len(groups)))[-_PARTNERS:]
    chosen = {int(group) for group in best if counts[group]}
    return sorted(chosen | {(one + int(rng.integers(1, len(groups)))) % len(groups)})


def _exchange(links: GroupLinks, groups: npt.NDArray[np.int64], one: int, other: int) -> None:
    """Exchange rows between two groups, in place, until no pair of rows is left that would gain by it."""
    size = groups.shape[1]
    rows = np.concatenate([groups[one], groups[other]])
    within, clashes = links.between(rows)
    # One clash outweighs all that an exchange could gain or lose in links: 2 for each other row.
    value = within.astype(np.int64) - clashes * (16 * size)
    side = np.repeat([1, -1], size)
    leaning = value @ side  # links to the first group minus those to the second
    while True:
        gains = -side * leaning
        here, there = _foremost(gains, side == 1), _foremost(gains, side == -1)
        total = gains[here, None] + gains[there] - 2 * value[np.ix_(here, there)]
        best = int(total.argmax())
        if total.flat[best] <= 0:
            break
        leaves, comes = here[best // len(there)], there[best % len(there)]
        side[leaves], side[comes] = -1, 1
        leaning += 2 * (value[:, comes] - value[:, leaves])
    groups[one], groups[other] = rows[side == 1], rows[side == -1]


def _foremost(gains: npt.NDArray[np.int64], where: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """The places with the greatest gains among some."""
    places = np.flatnonzero(where)
    if len(places) <= _CANDIDATES:
        return places
    return places[np.argpartition(gains[places], -_CANDIDATES)[-_CANDIDATES:]]
