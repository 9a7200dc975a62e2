"""Options that stand beside one input, such as `page` or `num_frames`: their types and ranges."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from vlm2vec.arguments import is_finite, is_rate, is_whole
from vlm2vec.describe import describe_value
from vlm2vec.errors import InputError

__all__ = ["CLIP_OPTIONS", "OPTIONS", "check_option", "check_span"]

_MOST = 2**63 - 1  # what the system can count; of a number with thousands of digits not even a text is made
CLIP_OPTIONS = ("num_frames", "fps", "start", "end", "frame_rate", "max_pixels")


def check_option(name: str, value: Any) -> Any:
    """The value of option `name` in its plain type; `None` stays `None` and means the model's default.

    Raises:
        InputError: The value has the wrong type or lies outside its range.

    Example:
        >>> check_option("pages", range(1, 4))
        (1, 2, 3)
    """
    return None if value is None else OPTIONS[name](name, value)


def check_span(start: float | None, end: float | None) -> None:
    """Raise unless `start` lies before `end`, both in seconds."""
    if start is not None and end is not None and start >= end:
        raise InputError(f"start ({start:g} s) is not before end ({end:g} s)", fix="Choose start < end.")


def _count(name: str, value: Any) -> int:
    if not is_whole(value, minimum=1):
        raise InputError(
            f"{name} is {describe_value(value)}, not a whole number of at least 1",
            fix=f"Pass {name} as an int, such as {name}={200_704 if name == 'max_pixels' else 1}.",
        )
    if value > _MOST:
        raise InputError(f"{name} is more than {_MOST:,}", fix="Pass a smaller number.")
    return int(value)


def _pages(name: str, value: Any) -> int | str | tuple[int, ...]:
    if isinstance(value, str):
        if not value.strip():
            raise InputError(f"{name} is an empty string", fix="Pass a selection, such as pages='1-3,7'.")
        return str.__str__(value)
    if isinstance(value, (list, tuple, range)):
        if not value:
            raise InputError(
                f"{name} selects no page", fix=f"Leave {name} out to take all pages, or name at least one."
            )
        return tuple(_count(name, page) for page in value)
    if not is_whole(value):
        raise InputError(
            f"{name} is {describe_value(value)}, not a selection of pages",
            fix="Pass an int, a list of ints, or a string such as '1-3,7'; the first page is 1.",
        )
    return _count(name, value)


def _positive(name: str, value: Any) -> float:
    seconds = _number(name, value)
    if seconds <= 0:
        raise InputError(f"{name} is {seconds:g}", fix=f"Pass a {name} above 0.")
    return seconds


def _rate(name: str, value: Any) -> float:
    rate = _positive(name, value)
    if not is_rate(rate):
        raise InputError(f"{name} is {rate:g}", fix="Pass frames a second, from 1e-9 to 1e12.")
    return rate


def _not_negative(name: str, value: Any) -> float:
    seconds = _number(name, value)
    if seconds < 0:
        raise InputError(f"{name} is {seconds:g}", fix=f"Pass a {name} of at least 0, in seconds.")
    return seconds


def _number(name: str, value: Any) -> float:
    if not is_finite(value):
        raise InputError(
            f"{name} is {describe_value(value)}, not a finite number",
            fix=f"Pass a number, such as {name}=1.5.",
        )
    return float(value)


def _password(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InputError(f"{name} is not a string but {type(value).__name__}", fix="Pass it as a string.")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:  # whose text would repeat it
        raise InputError(f"{name} has a lone surrogate", fix="Decode it with the right encoding.") from None
    return str.__str__(value)


OPTIONS: Mapping[str, Callable[[str, Any], Any]] = {
    "page": _count,
    "pages": _pages,
    "password": _password,
    "num_frames": _count,
    "fps": _rate,
    "start": _not_negative,
    "end": _positive,
    "frame_rate": _rate,
    "max_pixels": _count,
}
