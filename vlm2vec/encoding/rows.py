"""The encoding loop: inputs to vectors in order, in batches that fit, one bad input costing only itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, TypeAlias, TypeVar

import torch
from torch import Tensor

from vlm2vec.encoding.prepare import Prepared
from vlm2vec.errors import VLM2VecError
from vlm2vec.inputs.parts import Input
from vlm2vec.inputs.text import check_text

__all__ = ["ErrorPolicy", "check_settings", "encode_rows", "settle_errors"]

ErrorPolicy: TypeAlias = "Literal['raise', 'nan'] | Callable[[int | None, VLM2VecError], None]"

T = TypeVar("T")

MAX_TOKENS_PER_BATCH = 16_384
"""Tokens, media included, that one forward pass takes: what bounds memory, whatever the batch size."""


def encode_rows(
    items: Iterable[Input | VLM2VecError],
    *,
    prepare: Callable[[Input], Prepared],
    forward: Callable[[Sequence[Prepared]], Sequence[T]],
    batch_size: int,
    stop_at_error: bool,
) -> Iterator[T | VLM2VecError]:
    """Yield one row for each item, in order: what `forward` gives, or what went wrong.

    Args:
        items: Parsed inputs, or the error that parsing one gave.
        prepare: Decodes and tokenises one input.
        forward: Rows of a batch.
        batch_size: Most inputs in a batch.
        stop_at_error: Raise the first error instead of yielding it.
    """
    waiting: list[Prepared | VLM2VecError] = []
    size = tokens = 0
    for item in items:
        ready = _attempt(prepare, item)
        if isinstance(ready, VLM2VecError):
            if stop_at_error:
                raise ready
            waiting.append(ready)
            continue
        length = len(ready.token_ids)
        if size and (size == batch_size or tokens + length > MAX_TOKENS_PER_BATCH):
            yield from _flush(waiting, forward)
            waiting, size, tokens = [], 0, 0
        waiting.append(ready)
        size, tokens = size + 1, tokens + length
    yield from _flush(waiting, forward)


def _attempt(prepare: Callable[[Input], Prepared], item: Input | VLM2VecError) -> Prepared | VLM2VecError:
    if isinstance(item, VLM2VecError):
        return item
    try:
        return prepare(item)
    except VLM2VecError as error:
        return error


def _flush(
    waiting: Sequence[Prepared | VLM2VecError], forward: Callable[[Sequence[Prepared]], Sequence[T]]
) -> Iterator[T | VLM2VecError]:
    batch = [ready for ready in waiting if isinstance(ready, Prepared)]
    rows = iter(forward(batch) if batch else ())
    for ready in waiting:
        yield ready if isinstance(ready, VLM2VecError) else next(rows)


def check_settings(
    on_error: Any,
    *,
    prompt: Any = None,
    precision: str | None = None,
    output_value: str | None = "sentence_embedding",
    processing_kwargs: Any = None,
    **_: Any,
) -> None:
    """Refuse settings of `encode` that could not be honoured, before any work is done."""
    if prompt is not None:
        check_text(prompt, "the prompt")
    if processing_kwargs:
        raise ValueError(
            "processing_kwargs are for transformers' processor, which is not used here: give max_pixels, "
            "num_frames and the like with each input, and truncate=True to encode."
        )
    if on_error not in ("raise", "nan") and not callable(on_error):
        raise ValueError(f'on_error is "raise", "nan" or a callable (index, error), not {on_error!r}.')
    if on_error != "raise" and (precision not in (None, "float32") or output_value != "sentence_embedding"):
        raise ValueError(
            "Rows of failed inputs are NaN vectors, which need precision='float32' and sentence embeddings. "
            "Encode so first, leave out the NaN rows, then use quantize_embeddings of "
            "sentence_transformers.util."
        )


def settle_errors(rows: Sequence[Tensor | VLM2VecError], on_error: ErrorPolicy, like: Tensor) -> list[Tensor]:
    """Rows of vectors, NaN where an input failed; a callable policy is told of each failure, in order.

    Args:
        rows: One for each input.
        on_error: "nan" or a callable; "raise" raises the first error.
        like: `(dim,)`, a vector of the right size, type and device.
    """
    settled = []
    for row in rows:
        if not isinstance(row, VLM2VecError):
            settled.append(row)
            continue
        if on_error == "raise":
            raise row
        if callable(on_error):
            on_error(row.index, row)
        settled.append(torch.full_like(like, float("nan")))
    return settled
