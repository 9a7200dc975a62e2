"""`Fields`: what stands beside the inputs in a body, which of it is taken, and what is refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from vlm2vec.arguments import did_you_mean, is_whole
from vlm2vec.describe import describe_value, quote, shorten
from vlm2vec.inputs.text import check_text
from vlm2vec.serve.shapes.shape import Body, Place, ShapeError

__all__ = ["IGNORED", "MODEL", "OPTIONAL", "Fields", "Fixed", "choice", "dimensions", "flag", "string"]

T = TypeVar("T")

IGNORED = ("user", "priority", "request_id", "rid", "cache_salt")
"""Fields that no vector depends on."""

MODEL: dict[str, Any] = {"type": "string", "description": "Which model; this server has one."}

OPTIONAL: dict[str, dict[str, Any]] = {
    "encoding_format": {
        "enum": ["float", "base64", None],
        "description": "base64 is of little-endian float32.",
    },
    "dimensions": {
        "type": ["integer", "null"],
        "minimum": 1,
        "description": "Components kept of each vector.",
    },
    "instruction": {"type": ["string", "null"], "description": "What to represent the inputs for."},
}
"""JSON schemas of fields that several shapes take."""


@dataclass(frozen=True)
class Fixed:
    """A field that would change the vectors, and is taken at the values alone that leave them as they are.

    Attributes:
        values: These; `null` always is one.
        fix: What to do instead.
    """

    values: tuple[Any, ...] = ()
    fix: str = "Leave it out."


@dataclass(frozen=True)
class Fields:
    """The fields of a shape.

    Attributes:
        shape: Its name, for errors.
        taken: JSON schemas of those that mean something here.
        required: Those that must be there.
        fixed: Those with values that are refused.
        ignored: Those that make no difference.
    """

    shape: str
    taken: Mapping[str, dict[str, Any]]
    required: tuple[str, ...] = ()
    fixed: Mapping[str, Fixed] = field(default_factory=dict)
    ignored: tuple[str, ...] = IGNORED

    def check(self, body: Body) -> dict[str, Any]:
        """The body without what is ignored or null.

        Raises:
            ShapeError: It is no object, lacks a field, or has one that is unknown or refused.
        """
        if not isinstance(body, Mapping):
            raise ShapeError(f"the body is {describe_value(body)}", fix="Send a JSON object.")
        given = {name: value for name, value in body.items() if value is not None}
        for name, value in given.items():
            if name in self.fixed:
                self._check_fixed(name, value)
            elif name not in self.taken and name not in self.ignored:
                known = (*self.taken, *self.fixed, *self.ignored)
                raise ShapeError(
                    f"unknown field {quote(name)} in a request of the shape {self.shape}",
                    fix=did_you_mean(name[:30], known, otherwise=f"The fields are {', '.join(self.taken)}."),
                    param=shorten(name),
                )
        for name in self.required:
            if name not in given:
                raise ShapeError(f'"{name}" is missing', fix="Add it.", param=name)
        string(given, "model")
        return {name: value for name, value in given.items() if name in self.taken}

    def schema(self) -> dict[str, Any]:
        """JSON schema of a body."""
        fixed = {
            name: {"enum": [*one.values, None], "description": one.fix} for name, one in self.fixed.items()
        }
        ignored = {name: {"description": "Ignored."} for name in self.ignored}
        return {
            "title": self.shape,
            "type": "object",
            "properties": {**self.taken, **fixed, **ignored},
            "required": list(self.required),
            "additionalProperties": False,
        }

    def _check_fixed(self, name: str, value: Any) -> None:
        fixed = self.fixed[name]
        # In Python 1 == True, which are two values in JSON.
        if not any(type(value) is type(one) and value == one for one in fixed.values):
            taken = f", which is taken as {_listed(fixed.values)} alone" if fixed.values else ""
            raise ShapeError(
                f'"{name}" would change the vectors and is not supported{taken}', fix=fixed.fix, param=name
            )


def string(body: Body, name: str) -> str | None:
    """The text of a field, or `None`.

    Raises:
        ShapeError: It is no string.
    """
    value = body.get(name)
    if value is None:
        return None
    try:
        return check_text(value, f'"{name}"')
    except ValueError as error:
        raise Place(name).error(getattr(error, "cause", str(error)), "Send a string.") from None


def flag(body: Body, name: str) -> bool:
    """Whether a field is true; without it, false.

    Raises:
        ShapeError: It is neither true nor false.
    """
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise Place(name).error(f'"{name}" is {describe_value(value)}', "Send true or false.")
    return bool(value)


def dimensions(body: Body, name: str = "dimensions") -> int | None:
    """A number of components, or `None`.

    Raises:
        ShapeError: It is no whole number of at least 1.
    """
    value = body.get(name)
    if value is not None and not is_whole(value, 1):
        raise Place(name).error(f'"{name}" is {describe_value(value)}', "Send a whole number of at least 1.")
    return value


def choice(body: Body, name: str, table: Mapping[str, T], default: str) -> T:
    """What a table says of the value of a field.

    Args:
        body: The body.
        name: The field.
        table: By value.
        default: The value where there is no field.

    Raises:
        ShapeError: The table does not have it.
    """
    value = body.get(name)
    value = default if value is None else value
    if not isinstance(value, str) or value not in table:
        raise Place(name).error(f'"{name}" is {describe_value(value)}', f"Send {_listed(table)}.")
    return table[value]


def _listed(values: Any) -> str:
    names = [
        {True: "true", False: "false"}.get(v, str(v)) if isinstance(v, bool) else f'"{v}"' for v in values
    ]
    return " or ".join(names)
