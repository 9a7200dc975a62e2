"""The options of commands that read files of users: what one input may cost."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from vlm2vec.media.limits import Limits

__all__ = ["as_options", "with_limits"]

Result = TypeVar("Result")


def with_limits(command: Callable[..., Result]) -> Callable[..., Result]:
    """The command with an option for each field of `Limits`, in place of its argument `limits`.

    Args:
        command: With a keyword argument `limits`, which gets them all in one.

    Example:
        >>> @with_limits
        ... def show(*, limits: Limits) -> None:
        ...     print(limits.max_pages)
        >>> show(max_pages=3)
        3
    """
    types, help_of = get_type_hints(Limits), _help()
    options = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=Annotated[
                types[field.name],
                typer.Option(
                    _option(field.name), help=help_of.get(field.name), rich_help_panel="Limits of one input"
                ),
            ],
        )
        for field in fields(Limits)
    ]
    signature = inspect.signature(command, eval_str=True)
    own = [parameter for name, parameter in signature.parameters.items() if name != "limits"]

    @wraps(command)
    def wrapped(*given: Any, **named: Any) -> Result:
        limits = {field.name: named.pop(field.name) for field in fields(Limits) if field.name in named}
        return command(*given, **named, limits=Limits(**limits))

    wrapped.__signature__ = signature.replace(parameters=[*own, *options])  # type: ignore[attr-defined]
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in [*own, *options]} | {
        "return": signature.return_annotation
    }
    return wrapped


def as_options(text: str) -> str:
    """The text with the options of the command line in place of the fields of `Limits`.

    Example:
        >>> as_options("Raise Limits.decode_seconds.")
        'Raise --decode-seconds.'
    """
    return re.sub(r"\bLimits\.(\w+)", lambda found: _option(found[1]), text)


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _help() -> dict[str, str]:
    """What the dataclass says about each of its fields, to the first full stop; nothing under -OO."""
    text = inspect.cleandoc(Limits.__doc__ or "").partition("Attributes:\n")[2].partition("\n\n")[0]
    entries = re.findall(r"^    (\w+): (.*(?:\n        .*)*)", text, re.MULTILINE)
    return {name: re.split(r"(?<=\.)\s", " ".join(words.split()))[0] for name, words in entries}
