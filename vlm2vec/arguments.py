"""Checks of arguments that many functions share: numbers, paths, and what a misspelt name means."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Iterable
from difflib import get_close_matches
from numbers import Integral, Real
from pathlib import Path

from vlm2vec.describe import describe_value, literal, shorten
from vlm2vec.errors import InputError, VLM2VecError

__all__ = [
    "close_match",
    "did_you_mean",
    "is_finite",
    "is_number",
    "is_rate",
    "is_whole",
    "one_of",
    "possible_path",
    "whole_number",
]

_RATES = 1e-9, 1e12  # a second: one in thirty years, and what no camera takes


def is_whole(value: object, minimum: int | None = None) -> bool:
    """Whether it is a whole number, numpy's included and `True` not, of at least `minimum`.

    Example:
        >>> is_whole(3), is_whole(3, minimum=4), is_whole(True), is_whole(3.0)
        (True, False, False, False)
    """
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    return whole and (minimum is None or int(value) >= minimum)  # type: ignore[call-overload, no-any-return]


def is_number(value: object) -> bool:
    """Whether it is a real number, numpy's included and `True` not; NaN and infinity are numbers.

    Example:
        >>> is_number(2), is_number(0.5), is_number(False), is_number("2")
        (True, True, False, False)
    """
    return isinstance(value, Real) and not isinstance(value, bool)


def is_finite(value: object) -> bool:
    """Whether it is a real number that a float can hold, neither NaN nor infinite.

    Example:
        >>> is_finite(2), is_finite(float("nan")), is_finite(10**400), is_finite("2")
        (True, False, False, False)
    """
    try:
        return is_number(value) and math.isfinite(value)  # type: ignore[arg-type]
    except OverflowError:
        return False


def is_rate(value: object) -> bool:
    """Whether it may be a number of frames a second: with others, times are no longer numbers.

    Example:
        >>> is_rate(0.5), is_rate(0), is_rate(1e-320)
        (True, False, False)
    """
    return is_finite(value) and _RATES[0] <= value <= _RATES[1]  # type: ignore[operator]


def one_of(name: str, value: object, words: Iterable[str], *, or_else: str = "") -> None:
    """Raise an `InputError` unless the value is one of some words; `or_else` says what it may be as well.

    Example:
        >>> one_of("gain", "linear", ["linear", "exponential"])
        >>> one_of("gain", 2, ["linear", "exponential"])
        Traceback (most recent call last):
        vlm2vec.errors.InputError: gain is 2. Pass one of linear, exponential.
    """
    words = list(words)
    if not isinstance(value, str) or value not in words:  # `in` compares an array by its elements
        raise InputError(
            f"{name} is {literal(value)}",
            fix=f"Pass one of {', '.join([*words, *filter(None, [or_else])])}.",
        )


def whole_number(name: str, value: object, *, minimum: int = 1) -> int:
    """The value as an `int`, or an `InputError` that calls it by its name.

    Example:
        >>> whole_number("rank", 2, minimum=0)
        2
        >>> whole_number("batch_size", 0)
        Traceback (most recent call last):
        vlm2vec.errors.InputError: batch_size is int 0. Pass a whole number of at least 1.
    """
    if not is_whole(value, minimum):
        raise InputError(
            f"{name} is {describe_value(value)}", fix=f"Pass a whole number of at least {minimum}."
        )
    return int(value)  # type: ignore[call-overload, no-any-return]


def possible_path(path: str | os.PathLike[str], *, error: type[VLM2VecError] = InputError) -> Path:
    """The path, whether there is such a file or not, unless there can be none of that name.

    Example:
        >>> possible_path("a" * 5_000)
        Traceback (most recent call last):
        vlm2vec.errors.InputError: aaa...: no file can have such a name (5,000 characters). Pass a shorter ...
    """
    try:
        os.stat(path)  # noqa: PTH116  # newer ones of pathlib hide why there is no file
    except ValueError:  # a NUL in it, of which others say that there is no such file
        pass
    except OSError as refusal:
        if refusal.errno == errno.ENAMETOOLONG:
            raise error(
                f"no file can have such a name ({len(os.fspath(path)):,} characters)",
                fix="Pass a shorter path.",
                source=shorten(os.fspath(path)),
            ) from None
    return Path(path)


def close_match(name: object, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The known name that is closest to another one, if one is close.

    Args:
        name: What was given.
        known: The names there are.
        cutoff: How close, from 0 for any to 1 for equal.

    Example:
        >>> close_match("learning_rat", ["batch_size", "learning_rate"])
        'learning_rate'
    """
    return next(iter(get_close_matches(str(name), list(known), n=1, cutoff=cutoff)), None)


def did_you_mean(name: object, known: Iterable[str], *, otherwise: str = "") -> str:
    """A question with the closest known name in quotes, for an error; `otherwise` follows, or stands alone.

    Example:
        >>> did_you_mean("imgae", ["text", "image"], otherwise="The keys are text, image.")
        'Did you mean "image"? The keys are text, image.'
    """
    close = close_match(name, known)
    return " ".join(filter(None, (f'Did you mean "{close}"?' if close else "", otherwise)))
