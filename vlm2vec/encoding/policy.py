"""What callers of `encode` may ask for, and what becomes of inputs that failed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import wraps
from typing import Any, Literal, ParamSpec, TypeAlias, TypeVar

import numpy as np
import torch
from torch import Tensor

from vlm2vec.arguments import close_match, whole_number
from vlm2vec.describe import describe_value, literal
from vlm2vec.errors import InputError, VLM2VecError
from vlm2vec.inputs.text import check_text
from vlm2vec.profiles import Profile

__all__ = [
    "ErrorPolicy",
    "check_names",
    "check_settings",
    "check_truncation",
    "settle_errors",
    "takes_sentences",
]

P = ParamSpec("P")
R = TypeVar("R")
ErrorPolicy: TypeAlias = "Literal['raise', 'nan'] | Callable[[int | None, VLM2VecError], None]"

# As sentence-transformers has them.
_PRECISIONS = ("float32", "int8", "uint8", "binary", "ubinary")
_OUTPUT_VALUES = ("sentence_embedding", "token_embeddings")
# What follows `show_progress_bar` there, for those who pass it without its name.
_BEHIND_PROGRESS = (
    *("output_value", "precision", "convert_to_numpy", "convert_to_tensor", "device"),
    *("normalize_embeddings", "truncate_dim", "pool", "chunk_size"),
)
_PASSED_ON = (
    *("convert_to_numpy", "convert_to_tensor", "normalize_embeddings"),
    *("device", "pool", "chunk_size", "task"),
)
_ARGUMENTS = (
    *("instruction", "prompt_name", "prompt", "batch_size", "max_tokens_per_batch", "show_progress_bar"),
    *("on_error", "truncate", "truncate_dim", "profile", "precision", "output_value", *_PASSED_ON),
)


def takes_sentences(encode: Callable[P, R]) -> Callable[P, R]:
    """`encode`, which can be called as that of sentence-transformers: with `sentences`, or all by position.

    Raises:
        InputError: An argument is given twice.
    """

    @wraps(encode)
    def renamed(*args: P.args, **kwargs: P.kwargs) -> R:
        if "sentences" in kwargs:
            if len(args) > 1 or "inputs" in kwargs:  # the first is the model
                raise InputError("inputs are given twice, also as sentences", fix="Leave sentences out.")
            kwargs["inputs"] = kwargs.pop("sentences")
        # The model, the inputs and four more have places of their own.
        for name, value in zip(_BEHIND_PROGRESS, args[6:], strict=False):
            if name in kwargs:
                raise InputError(f"{name} is given twice, also by position", fix="Leave one of them out.")
            kwargs[name] = value
        placed = (*args[:6], *args[6 + len(_BEHIND_PROGRESS) :])
        return encode(*placed, **kwargs)  # type: ignore[arg-type]

    return renamed


def check_settings(
    on_error: Any,
    *,
    prompt: Any = None,
    prompt_name: str | None = None,
    prompts: Mapping[str, Any] | None = None,
    precision: str | None = None,
    output_value: str | None = "sentence_embedding",
    processing_kwargs: Any = None,
    batch_size: int | None = None,
    max_tokens_per_batch: int | None = None,
    truncate_dim: int | None = None,
    window: int | None = None,
    chunk_size: int | None = None,
    profile: Any = None,
    truncate: Any = False,
    normalize_embeddings: Any = False,
    **options: Any,
) -> None:
    """Refuse settings of `encode` that could not be honoured, before any work is done.

    Raises:
        InputError: One is unknown, or has a value that it cannot have; what it can have is named.
    """
    check_names(options)
    if prompt is not None:
        check_text(prompt, "the prompt")
    elif prompt_name is not None and not _is_one_of(prompt_name, prompts or {}):
        known = f"Pass one of {', '.join(prompts)}" if prompts else "This model has none: leave it out"
        raise InputError(
            f"there is no prompt {literal(prompt_name)}",
            fix=f"{known}, or say it in full with prompt= or instruction=.",
        )
    numbers = {
        "batch_size": batch_size,
        "max_tokens_per_batch": max_tokens_per_batch,
        "truncate_dim": truncate_dim,
        "window": window,
        "chunk_size": chunk_size,
    }
    for name, number in numbers.items():
        if number is not None:
            whole_number(name, number)
    for name, flag in {"truncate": truncate, "normalize_embeddings": normalize_embeddings}.items():
        if not isinstance(flag, bool | int | np.bool_ | None):
            raise InputError(f"{name} is {describe_value(flag)}", fix="Pass True or False.")
    choices = {"precision": (precision, _PRECISIONS), "output_value": (output_value, _OUTPUT_VALUES)}
    for name, (value, allowed) in choices.items():
        if value is not None and not _is_one_of(value, allowed):
            raise InputError(f"{name} is {describe_value(value)}", fix=f"Pass one of {', '.join(allowed)}.")
    if not isinstance(profile, Profile | None):
        raise InputError(
            f"profile is {describe_value(profile)}",
            fix='Pass a Profile, such as vlm2vec.profiles.get("vlm2vec-v2").',
        )
    if processing_kwargs:
        raise InputError(
            "processing_kwargs are for transformers' processor, which is not used here",
            fix="Give max_pixels, num_frames and the like with each input, and truncate=True to encode.",
        )
    if not (_is_one_of(on_error, ("raise", "nan")) or callable(on_error)):
        raise InputError(
            f"on_error is {describe_value(on_error)}",
            fix='Pass "raise", "nan", or a callable that is told (index, error).',
        )
    if on_error != "raise" and (precision not in (None, "float32") or output_value != "sentence_embedding"):
        raise InputError(
            "rows of failed inputs are NaN vectors, which need precision='float32' and sentence embeddings",
            fix="Encode so first, leave out the NaN rows, then use quantize_embeddings of "
            "sentence_transformers.util.",
        )


def _is_one_of(value: object, words: Collection[str]) -> bool:
    """Whether it is one of some words; an array, which `in` would compare by its elements, is none."""
    return isinstance(value, str) and value in words


def check_truncation(truncate_dim: int | None, width: int) -> None:
    """Refuse to keep more components than vectors have."""
    if truncate_dim is not None and truncate_dim > width:
        shown = describe_value(truncate_dim)
        raise InputError(
            f"truncate_dim is {shown}, and vectors of this model have {width} components",
            fix=f"Pass at most {width}, or leave it out.",
        )


def check_names(given: Iterable[str]) -> None:
    """Refuse arguments that `encode` does not have; the nearest that it has is named."""
    for name in given:
        if name not in (*_ARGUMENTS, "processing_kwargs"):  # the latter has an error of its own
            close = close_match(name, _ARGUMENTS)
            raise InputError(
                f'encode has no argument "{name}"',
                fix=f"Did you mean {close}?" if close else f"There are {', '.join(_ARGUMENTS)}.",
            )


def settle_errors(rows: Sequence[Tensor | VLM2VecError], on_error: ErrorPolicy, like: Tensor) -> list[Tensor]:
    """Rows of vectors, NaN where an input failed; a callable policy is called with each failure, in order.

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
