"""Late interaction: items with one vector per token, and how alike two of them are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlm2vec.errors import InputError

__all__ = ["max_sim", "token_vectors"]


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
    """All tokens `(tokens, dim)` in float64, and where each item begins."""
    arrays = token_vectors(items)
    ends = np.cumsum([len(array) for array in arrays])
    return np.concatenate(arrays, dtype=np.float64), np.concatenate([[0], ends[:-1]])
