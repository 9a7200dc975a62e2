"""Which candidates are nearest to each query: the first places of its ranking."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlm2vec.errors import InputError
from vlm2vec.mmeb.late_interaction import max_sim, token_vectors

__all__ = ["rank"]

# Vectors, or tokens, that are scored at once: at most 2**22 products, 32 MiB, and 64 MiB of candidates
# of 2,048 dimensions.
_QUERY_BLOCK = 1024
_CANDIDATE_BLOCK = 4096


def rank(
    query_vectors: NDArray[Any] | Sequence[Any],
    candidate_vectors: NDArray[Any] | Sequence[Any],
    pools: Sequence[Any] | None = None,
    *,
    k: int = 10,
) -> list[NDArray[np.int64]]:
    """The first `k` places of each query's ranking, by dot product, or by late interaction.

    Scores are float32. Of equal ones the candidate that is earlier in the pool comes first; those that are
    NaN, as of an item that could not be encoded, come last, in the same order. The ranking of a query does
    not depend on the other queries.

    Args:
        query_vectors: `(n, dim)`, or n arrays `(tokens, dim)` for late interaction.
        candidate_vectors: `(m, dim)`, or m arrays `(tokens, dim)`.
        pools: Of each query, which candidates it ranks: their positions, in the order that decides ties;
            one that is there twice takes two places. `None` lets every query rank all candidates in order.
        k: How many places are returned. Metrics look at ten.

    Returns:
        Per query the positions of its best candidates, best first, fewer than `k` if its pool is smaller.

    Raises:
        InputError: Shapes do not fit together, a pool points outside of the candidates, or `k` is below 1.

    Example:
        >>> rank(np.eye(2), np.array([[0, 1], [1, 0], [1, 0]]), k=2)
        [array([1, 2]), array([0, 1])]
        >>> rank(np.eye(2), np.eye(2), pools=[[1, 0], [0]])
        [array([0, 1]), array([0])]
    """
    if k < 1:
        raise InputError(f"k is {k}", fix="Pass at least 1.")
    queries, candidates = _in_float32(query_vectors), _in_float32(candidate_vectors)
    if len(queries) and len(candidates) and _dim(queries) != _dim(candidates):
        raise InputError(
            f"queries have {_dim(queries)} and candidates {_dim(candidates)}",
            fix="Encode both with one model and one truncation, and both with or both without tokens.",
        )
    lengths = _lengths(candidates)
    if pools is None:
        every = np.arange(len(candidates))
        return [
            places
            for block in _blocks(_lengths(queries), _QUERY_BLOCK)
            for places in _first_places(queries[block], candidates, lengths, every, k)
        ]
    if len(pools) != len(queries):
        raise InputError(f"{len(queries)} queries have {len(pools)} pools", fix="Pass one pool per query.")
    checked = [_positions(pool, len(candidates), index) for index, pool in enumerate(pools)]
    return [
        _first_places(queries[index : index + 1], candidates, lengths, pool, k)[0]
        for index, pool in enumerate(checked)
    ]


def _first_places(
    queries: NDArray[Any], candidates: NDArray[Any], lengths: NDArray[Any], pool: NDArray[np.int64], k: int
) -> NDArray[np.int64]:
    """Positions `(n, min(k, len(pool)))` of the best of the pool for each query, which is one block."""
    best = np.empty((len(queries), 0), dtype=np.int64)
    best_scores = np.empty((len(queries), 0), dtype=np.float32)
    for block in _blocks(lengths[pool], _CANDIDATE_BLOCK):
        members = pool[block]
        scores = np.hstack([best_scores, _scores(queries, candidates[members])])
        # The best so far are from earlier in the pool and stand first, so a stable sort keeps ties in order.
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        best_scores = np.take_along_axis(scores, order, axis=1)
        best = np.take_along_axis(
            np.hstack([best, np.broadcast_to(members, (len(queries), len(members)))]), order, axis=1
        )
    return best


def _scores(queries: NDArray[Any], candidates: NDArray[Any]) -> NDArray[Any]:
    """Scores `(n queries, n candidates)`.

    Summed in float64 and rounded once: sums in float32 differ in the last bit with the place of a vector in
    the matrix, and equal candidates would no longer be ties.
    """
    if queries.dtype == object:
        return max_sim(queries, candidates)
    products: NDArray[Any] = queries.astype(np.float64) @ candidates.astype(np.float64).T
    return products.astype(np.float32)


def _in_float32(vectors: NDArray[Any] | Sequence[Any]) -> NDArray[Any]:
    """`(n, dim)` in float32, or `(n,)` arrays `(tokens, dim)` for late interaction."""
    if isinstance(vectors, np.ndarray) and vectors.ndim == 2:
        return vectors.astype(np.float32, copy=False)
    return token_vectors(vectors)


def _dim(vectors: NDArray[Any]) -> str:
    """The shape of one item, in words."""
    if vectors.dtype == object:
        return f"tokens of {vectors[0].shape[1]} dimensions"
    return f"one vector of {vectors.shape[1]} dimensions"


def _lengths(vectors: NDArray[Any]) -> NDArray[Any]:
    """How many vectors each item has."""
    if vectors.dtype == object:
        return np.array([len(item) for item in vectors], dtype=np.int64)
    return np.ones(len(vectors), dtype=np.int64)


def _positions(pool: Any, count: int, index: int) -> NDArray[np.int64]:
    positions = np.asarray(pool, dtype=np.int64)
    if positions.size and not 0 <= positions.min() <= positions.max() < count:
        raise InputError(
            f"its pool points at candidates {positions.min()} to {positions.max()} of {count}",
            fix="Pass positions of candidates, from 0.",
            index=index,
        )
    return positions


def _blocks(lengths: NDArray[Any], most: int) -> Iterator[slice]:
    """Runs of items that have at most `most` vectors together, or one item that alone has more."""
    ends = np.cumsum(lengths)
    start, done = 0, 0
    while start < len(ends):
        stop = max(start + 1, int(np.searchsorted(ends, done + most, side="right")))
        yield slice(start, stop)
        start, done = stop, int(ends[stop - 1])
