"""What callers of `encode` may ask for, and what becomes of inputs that failed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from vlm2vec.errors import VLM2VecError
from vlm2vec.inputs.text import check_text

__all__ = ["ErrorPolicy", "check_settings", "settle_errors"]

ErrorPolicy: TypeAlias = "Literal['raise', 'nan'] | Callable[[int | None, VLM2VecError], None]"


def check_settings(
    on_error: Any,
    *,
    prompt: Any = None,
    precision: str | None = None,
    output_value: str | None = "sentence_embedding",
    processing_kwargs: Any = None,
    batch_size: int | None = None,
    max_tokens_per_batch: int | None = None,
    truncate_dim: int | None = None,
    window: int | None = None,
    **_: Any,
) -> None:
    """Refuse settings of `encode` that could not be honoured, before any work is done."""
    if prompt is not None:
        check_text(prompt, "the prompt")
    numbers = {
        "batch_size": batch_size,
        "max_tokens_per_batch": max_tokens_per_batch,
        "truncate_dim": truncate_dim,
        "window": window,
    }
    for name, number in numbers.items():
        if number is not None and (
            isinstance(number, bool) or not isinstance(number, Integral) or int(number) < 1
        ):
            raise ValueError(f"{name} is a whole number, at least 1, not {number!r}.")
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
