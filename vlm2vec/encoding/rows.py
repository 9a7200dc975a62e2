"""Rows of an engine, one for each input, in order: vectors or token states, all at once or as a stream."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from vlm2vec.encoding.engine import Engine, Item, in_order
from vlm2vec.encoding.policy import ErrorPolicy, settle_errors
from vlm2vec.errors import VLM2VecError

__all__ = ["rows", "stacked", "stream", "vectors"]


def rows(engine: Engine, items: Sequence[Item], *, keep_errors: bool, show_progress_bar: bool) -> list[Any]:
    """A row for each item, in order, in the form that the engine's forward gives.

    Args:
        engine: Of the model.
        items: Parsed inputs, or what was wrong with them.
        keep_errors: Whether an error is a row; else the first one is raised.
        show_progress_bar: Whether to show how far it is.
    """
    found: list[Any] = [None] * len(items)
    with closing(engine.rows(items)) as ready:
        for index, row in _progress(ready, len(items), show_progress_bar):
            if isinstance(row, VLM2VecError) and not keep_errors:
                raise row
            found[index] = row
    return found


def vectors(
    engine: Engine, items: Sequence[Item], *, on_error: ErrorPolicy, like: Tensor, show_progress_bar: bool
) -> Tensor:
    """`(n, dim)` vectors, NaN where an input failed; a callable policy gets the failures in order.

    Args:
        engine: Of the model; its forward gives vectors.
        items: Parsed inputs, or what was wrong with them.
        on_error: What an error does.
        like: `(dim,)`, a vector of the right size, type and device.
        show_progress_bar: Whether to show how far it is.
    """
    found = like.new_empty((len(items), len(like)))
    failed: dict[int, VLM2VecError] = {}
    with closing(engine.rows(items)) as ready:
        for index, row in _progress(ready, len(items), show_progress_bar):
            if not isinstance(row, VLM2VecError):
                found[index] = row
            elif on_error == "raise":
                raise row
            else:
                failed[index] = row
    for index, error in sorted(failed.items()):
        found[index] = math.nan
        if callable(on_error):
            on_error(error.index, error)
    return found


def stacked(found: Sequence[Tensor | VLM2VecError], on_error: ErrorPolicy, like: Tensor) -> Tensor:
    """Vectors and errors, as `rows` keeps them, as one `(n, dim)` tensor."""
    return torch.stack(settle_errors(found, on_error, like)) if found else like.new_empty((0, len(like)))


def stream(
    engine: Engine, items: Iterable[Item], *, on_error: ErrorPolicy, like: Tensor, window: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Indices and vectors, in order, as they are asked for; items are read a window at a time."""
    with closing(engine.rows(items, window=window)) as ready:
        for index, row in enumerate(in_order(ready)):
            # A copy: rows of a batch share memory, and a caller may write into one.
            yield index, settle_errors([row], on_error, like)[0].numpy().copy()


def _progress(ready: Iterable[tuple[int, Any]], total: int, shown: bool) -> Iterable[tuple[int, Any]]:
    # A bar that is not shown would start tqdm's monitor thread all the same.
    return tqdm(ready, total=total, desc="Encoding") if shown else ready
