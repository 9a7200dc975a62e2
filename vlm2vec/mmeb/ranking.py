"""What each query finds: candidates in order, by dot product or by late interaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlm2vec.arguments import whole_number
from vlm2vec.errors import InputError
from vlm2vec.mmeb.metrics import Compat
from vlm2vec.mmeb.samples import Key, TaskData
from vlm2vec.sameness import digest

__all__ = ["max_sim", "token_vectors", "rank", "rank_task"]


def token_vectors(items: Sequence[Any] | NDArray[Any]) -> NDArray[Any]:
    """Items of several vectors each, in float32, as an array `(n,)` of arrays `(tokens, dim)`.

    Raises:
        InputError: An item is not of shape `(tokens, dim)`, has no token, or another dim than the first.

    Example:
        >>> token_vectors([[[1, 0]], [[0, 1], [1, 1]]])[1].shape
        (2, 2)
    """
    arrays = np.empty(len(items), dtype=object)
    for index, item in enumerate(items):
        array = np.asarray(item, dtype=np.float32)
        if array.ndim != 2 or not len(array):
            raise InputError(
                f"vectors have the shape {array.shape}",
                fix="Pass (tokens, dim) with at least one token, or one array (n, dim) of all items.",
                index=index,
            )
        if index and array.shape[1] != arrays[0].shape[1]:
            raise InputError(
                f"vectors have {array.shape[1]} dimensions, those of the first item {arrays[0].shape[1]}",
                fix="Encode all items with one model and one truncation.",
                index=index,
            )
        arrays[index] = array
    return arrays


def max_sim(queries: Sequence[Any] | NDArray[Any], candidates: Sequence[Any] | NDArray[Any]) -> NDArray[Any]:
    """For each token of a query its best dot product with a token of the candidate, summed over the query.

    Equation 1 of ColBERT (Khattab and Zaharia, 2020), which ColPali follows. All products of tokens are in
    memory at once, 8 bytes each: `rank` calls it with a block of items at a time.

    Args:
        queries: Arrays `(tokens, dim)`, without padding.
        candidates: The same.

    Returns:
        Scores `(n queries, n candidates)` in float32, each the sum in float64 rounded once.

    Raises:
        InputError: As `token_vectors`.

    Example:
        >>> max_sim([[[1, 0], [0, 1]]], [[[1, 0]], [[1, 0], [0, 2]]])
        array([[1., 3.]], dtype=float32)
    """
    (query_tokens, query_starts), (candidate_tokens, candidate_starts) = _joined(queries), _joined(candidates)
    products = query_tokens @ candidate_tokens.T
    best = np.maximum.reduceat(products, candidate_starts, axis=1)
    return np.add.reduceat(best, query_starts, axis=0).astype(np.float32)


def _joined(items: Sequence[Any] | NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """All tokens `(tokens, dim)` in float64, and where each item starts."""
    arrays = token_vectors(items)
    ends = np.cumsum([len(array) for array in arrays])
    return np.concatenate(arrays, dtype=np.float64), np.concatenate([[0], ends[:-1]])


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
    """The first `k` ranks of each query's ranking, by dot product, or by late interaction.

    Scores are float32. Of equal ones the candidate that is earlier in the pool comes first; those that are
    NaN, as of an item that could not be encoded, come last, in the same order. The ranking of a query does
    not depend on the other queries.

    Args:
        query_vectors: `(n, dim)`, or n arrays `(tokens, dim)` for late interaction.
        candidate_vectors: `(m, dim)`, or m arrays `(tokens, dim)`.
        pools: Of each query, which candidates it ranks: their positions, in the order that decides ties;
            one that is there twice takes two ranks. `None` lets every query rank all candidates in order.
        k: How many ranks are returned. Metrics use ten.

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
    whole_number("k", k)
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
            positions
            for block in _blocks(_lengths(queries), _QUERY_BLOCK)
            for positions in _first_positions(queries[block], candidates, lengths, every, k)
        ]
    if len(pools) != len(queries):
        raise InputError(f"{len(queries)} queries have {len(pools)} pools", fix="Pass one pool per query.")
    checked = [_positions(pool, len(candidates), index) for index, pool in enumerate(pools)]
    return [
        _first_positions(queries[index : index + 1], candidates, lengths, pool, k)[0]
        for index, pool in enumerate(checked)
    ]


def _first_positions(
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

    Summed in float64 and rounded once: sums in float32 differ in the last bit with the index of a vector in
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


def _blocks(lengths: NDArray[Any], max_vectors: int) -> Iterator[slice]:
    """Runs of items that have at most `max_vectors` vectors together, or one item that alone has more."""
    ends = np.cumsum(lengths)
    start, done = 0, 0
    while start < len(ends):
        stop = max(start + 1, int(np.searchsorted(ends, done + max_vectors, side="right")))
        yield slice(start, stop)
        start, done = stop, int(ends[stop - 1])


_TOP = 10
"""Ranks that metrics use."""


def rank_task(
    data: TaskData,
    queries: Sequence[np.ndarray | None],
    candidates: Sequence[np.ndarray | None],
    *,
    late_interaction: bool,
    compat: Compat | None = None,
) -> list[tuple[Key, ...]]:
    """Keys of the first candidates of each query, best first.

    Of equal scores the candidate with the smaller digest of its key comes first: an order that knows nothing
    of which candidate is right. The data do: in the image tasks the right candidate stands first in its row,
    and so also first in the pool where rows share no candidates.

    Args:
        data: The task.
        queries: A vector for each query, or `None`: it finds nothing.
        candidates: A vector for each candidate, or `None`: it is not found.
        late_interaction: Whether there is a vector for each token instead.
        compat: "v2.0" takes the candidate that is earlier in the task's pool.
    """
    keys = list(data.candidates)
    there = [index for index, vector in enumerate(candidates) if vector is not None]
    if compat is None:
        there.sort(key=lambda index: digest([str(keys[index]).encode("utf-8", "surrogatepass")]))
    asking = [index for index, vector in enumerate(queries) if vector is not None]
    found: list[tuple[Key, ...]] = [()] * len(queries)
    if not there or not asking:
        return found
    position = {keys[index]: number for number, index in enumerate(there)}
    pools = None
    if any(query.candidates is not None for query in data.queries):
        # In the order of all candidates: in a row's own list the right one often stands first, and would win
        # all ties.
        pools = [
            np.array(
                sorted(position[key] for key in (data.queries[index].candidates or keys) if key in position),
                dtype=np.int64,
            )
            for index in asking
        ]
    asked, known = [queries[index] for index in asking], [candidates[index] for index in there]
    if late_interaction:
        ranked = rank(asked, known, pools, k=_TOP)
    else:
        ranked = rank(np.stack(asked), np.stack(known), pools, k=_TOP)  # type: ignore[arg-type]  # all are there
    for index, row in zip(asking, ranked, strict=True):
        found[index] = tuple(keys[there[int(number)]] for number in row)
    return found
