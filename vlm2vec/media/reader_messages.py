"""What a process and its readers say to each other: a header in JSON, and raw bytes behind it.

Nothing is pickled: what a file made of the reader that read it must not reach further than its own picture.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from vlm2vec import errors
from vlm2vec.errors import VLM2VecError
from vlm2vec.media.limits import Limits
from vlm2vec.media.pixels import PixelRules
from vlm2vec.media.source import Source

__all__ = [
    "GREETING",
    "SentFile",
    "Request",
    "error_from",
    "error_header",
    "read_header",
    "read_into",
    "write_message",
]

GREETING = b"\nvlm2vec reader 1\n"
"""What a reader writes when it is ready. Whatever came before was printed while Python started."""

_LENGTHS = struct.Struct("<IQ")  # of header and body, in bytes
_MAX_HEADER = 2**20
_MAX_TEXT = 1_000  # characters of a message, which names files and fonts


@dataclass(frozen=True)
class Request:
    """What is to be read of a PDF.

    Attributes:
        what: Its "count" of pages, the "size" of a page in pixels, or the "picture" of a page.
        limits: Upper limits.
        password: Opens an encrypted file.
        page: The page, the first being 1; 0 for a count.
        rules: Pixel budget and conversion rules; `None` for a count.
        max_pixels: Greatest area, in pixels, in place of `rules.max_pixels`.
    """

    what: Literal["count", "size", "picture"]
    limits: Limits
    password: str | None = None
    page: int = 0
    rules: PixelRules | None = None
    max_pixels: int | None = None

    @property
    def work(self) -> str:
        """What it takes, for messages about limits."""
        return f"drawing page {self.page}" if self.what == "picture" else "opening the PDF"

    def to_header(self) -> dict[str, Any]:
        """The request in what JSON can say."""
        # Rules for frames say nothing about pages.
        rules = None if self.rules is None else asdict(replace(self.rules, frames=None))
        return {**asdict(replace(self, rules=None)), "rules": rules}

    @classmethod
    def from_header(cls, header: Mapping[str, Any]) -> Request:
        """The request that `to_header` wrote."""
        rules = header["rules"]
        if rules is not None:
            size = rules["fixed_size"]
            rules = PixelRules(**{**rules, "fixed_size": None if size is None else tuple(size)})
        return cls(**{**header, "limits": Limits(**header["limits"]), "rules": rules})


@dataclass(frozen=True)
class SentFile:
    """A PDF as it is sent: a path that a reader opens itself, or bytes.

    Attributes:
        description: What it is called in messages.
        name: Its path or address, if it has one.
        path: The file, absolute.
        data: Its bytes, where there is no such file.
    """

    description: str
    name: str | None
    path: Path | None
    data: bytes = field(default=b"", repr=False)

    @classmethod
    def of(cls, source: Source) -> SentFile:
        """The file of a source; what a URL leads to is fetched."""
        description, name = source.describe(), source.name
        path = None if source.path is None else source.path.absolute()
        # Such as /dev/fd/3, which would be another file there.
        if path is None or path.parts[1:2] in (("dev",), ("proc",)):
            return cls(description, name, None, source.read())
        return cls(description, name, path)


def write_message(pipe: Any, header: Mapping[str, Any], body: bytes | memoryview = b"") -> None:
    """Writes a header and what belongs to it."""
    text = json.dumps(header, default=_plain).encode("ascii")
    for part in (_LENGTHS.pack(len(text), len(body)) + text, body):
        rest = memoryview(part)
        while rest:
            rest = rest[pipe.write(rest) :]


def _plain(value: Any) -> Any:
    """A number of numpy's or torch's, such as a limit or a page may be, as one of Python's."""
    return value.item()


def read_header(pipe: Any) -> tuple[dict[str, Any], int]:
    """The next header, and how many bytes stand behind it.

    Raises:
        EOFError: The other side has ended.
        ValueError: It is no header.
    """
    lengths = bytearray(_LENGTHS.size)
    read_into(pipe, memoryview(lengths))
    length, size = _LENGTHS.unpack(lengths)
    if length > _MAX_HEADER:
        raise ValueError("the header is too long")
    text = bytearray(length)
    read_into(pipe, memoryview(text))
    header = json.loads(text)
    if not isinstance(header, dict):
        raise ValueError("the header is no object")  # noqa: TRY004  # as of anything that is no header
    return header, size


def read_into(pipe: Any, target: memoryview) -> None:
    """Fills `target`, which holds bytes.

    Raises:
        EOFError: The other side has ended.
    """
    while target:
        count = pipe.readinto(target)
        if not count:
            raise EOFError
        target = target[count:]


def error_header(error: VLM2VecError) -> dict[str, Any]:
    """An error in what JSON can say."""
    return {"class": type(error).__name__, "cause": error.cause, "fix": error.fix, "source": error.source}


def error_from(header: Mapping[str, Any]) -> VLM2VecError:
    """The error that `error_header` wrote, of a class of `vlm2vec.errors`.

    Raises:
        ValueError: It is none.
    """
    name = header["class"]
    cls = getattr(errors, name) if name in errors.__all__ else None
    if not (isinstance(cls, type) and issubclass(cls, VLM2VecError)):
        raise ValueError("the error has no class")  # noqa: TRY004
    source = header["source"]
    return cls(
        str(header["cause"])[:_MAX_TEXT],
        fix=str(header["fix"])[:_MAX_TEXT],
        source=None if source is None else str(source)[:_MAX_TEXT],
    )
