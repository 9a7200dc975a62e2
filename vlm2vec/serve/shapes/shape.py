"""`Shape`: one form of request and its answer; `Place` and `ShapeError`: what in a body is at fault."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from vlm2vec.errors import InputError
from vlm2vec.serve.asked import Asked, Embedded

__all__ = ["Body", "Place", "Shape", "ShapeError"]

Body: TypeAlias = Mapping[str, Any]
"""The JSON object of a request; of a form, its fields."""


class ShapeError(InputError):
    """A request cannot be read.

    Attributes:
        param: Where in the body, as in "input[3].image"; `None` for the body as a whole.
    """

    def __init__(
        self,
        cause: str,
        *,
        fix: str = "",
        index: int | None = None,
        source: str | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(cause, fix=fix, index=index, source=source)
        self.param = param

    def __reduce__(self) -> tuple[Any, ...]:
        return (*super().__reduce__(), {"param": self.param})


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a body a value stands.

    Attributes:
        param: Its path.
        index: The input that it belongs to.

    Example:
        >>> Place("input").input(3).key("image")
        Place(param='input[3].image', index=3)
    """

    param: str
    index: int | None = None

    def key(self, name: str) -> Place:
        """The value under a key."""
        return Place(f"{self.param}.{name}", self.index)

    def item(self, number: int) -> Place:
        """One of a list, all of which belongs to one input."""
        return Place(f"{self.param}[{number}]", self.index)

    def input(self, number: int) -> Place:
        """One of the list of inputs."""
        return Place(f"{self.param}[{number}]", number)

    def error(self, cause: str, fix: str = "") -> ShapeError:
        """The error about the value here."""
        return ShapeError(cause, fix=fix, index=self.index, param=self.param)


@dataclass(frozen=True)
class Shape:
    """One form of request.

    Attributes:
        name: Whose form it is.
        route: Path that it is sent to.
        read: From the body to what is asked for; raises `ShapeError`. It opens no file and fetches no URL.
        write: From the body, what was computed and the model's name to the answer, a JSON object.
        schema: JSON schema of the body.
        example: A body.
        method: The same of HTTP.
        media_type: Of the body. For "multipart/form-data", `read` takes its fields: for each name a list of
            strings, or of bytes for files.
        truncation: The field that asks to shorten texts, with its value, as in JSON; "" where it has none.
    """

    name: str
    route: str
    read: Callable[[Body], Asked]
    write: Callable[[Body, Embedded, str], dict[str, Any]]
    schema: dict[str, Any] = field(repr=False)
    example: dict[str, Any] = field(repr=False)
    method: str = "POST"
    media_type: str = "application/json"
    truncation: str = ""
