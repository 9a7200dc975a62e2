"""The form of a search: a query of text, media or both with filters beside it in, and hits out."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote as percent_encoded

from vlm2vec.arguments import did_you_mean, is_whole
from vlm2vec.describe import describe_value, quote, shorten
from vlm2vec.index.search import Hit
from vlm2vec.media.signature import HEAD_BYTES, recognise
from vlm2vec.serve.asked import Asked
from vlm2vec.serve.shapes import content
from vlm2vec.serve.shapes.shape import Place, ShapeError

__all__ = [
    "FORM_SCHEMA",
    "KINDS",
    "MAX_HITS",
    "SCHEMA",
    "SearchAsked",
    "Upload",
    "address",
    "read",
    "read_form",
    "write_hit",
    "write_row",
]

KINDS = ("image", "video", "pdf", "text", "mixed")
"""What a row can be of."""

MAX_HITS = 1_000
"""Of one request."""

_DEFAULT_HITS = 10
_EXCERPT = 600  # characters of a text that an answer shows
_MEDIA = ("image", "video", "pdf")
_KEYS = ("query", "k", "kind", "under", "metadata", "per_file", "instruction", "model")
_FORM_KEYS = (*_KEYS, "page")

_PART: dict[str, Any] = {"anyOf": [{"type": "string", "minLength": 1}, content.PART, content.COMPOSED]}
_FILTERS: dict[str, Any] = {
    "k": {"type": "integer", "minimum": 1, "maximum": MAX_HITS, "default": _DEFAULT_HITS},
    "under": {
        "type": "string",
        "description": "A folder, as GET /v1/index names it, or one in it: photos/2024.",
    },
    "per_file": {
        "type": "integer",
        "minimum": 1,
        "maximum": MAX_HITS,
        "description": "Hits of one file at most.",
    },
    "instruction": {"type": "string", "description": "What to find for the query."},
    "model": {"type": "string", "description": "Which model; this server has one."},
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "query": {"anyOf": [*_PART["anyOf"], {"type": "array", "items": _PART, "minItems": 1}]},
        **_FILTERS,
        "kind": {"anyOf": [{"enum": list(KINDS)}, {"type": "array", "items": {"enum": list(KINDS)}}]},
        "metadata": {"type": "object", "description": "Values that rows must have."},
    },
    "required": ["query"],
    "additionalProperties": False,
}
FORM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "query": {"type": "string"},
        "file": {"type": "array", "items": {"type": "string", "format": "binary"}, "maxItems": 8},
        "page": {"type": "integer", "minimum": 1, "description": "Of a PDF, in place of all its pages."},
        **_FILTERS,
        "kind": {"type": "string", "description": "One or more, with commas between them."},
        "metadata": {"type": "string", "description": "An object in JSON."},
    },
}
"""JSON schemas of both forms of a search."""


@dataclass(frozen=True)
class SearchAsked:
    """What a search asks for.

    Attributes:
        query: One input, with its instruction.
        k: Hits at most.
        kinds: What rows may be of; all where it is empty.
        under: A folder, by the name that `GET /v1/index` gives it, and folders in it behind slashes.
        metadata: Values that rows must have.
        per_file: Hits of one file at most.
    """

    query: Asked
    k: int = _DEFAULT_HITS
    kinds: tuple[str, ...] = ()
    under: str | None = None
    metadata: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    per_file: int | None = None


@dataclass(frozen=True)
class Upload:
    """A file that a form brings.

    Attributes:
        name: As the client calls it; nothing but a word for errors.
        data: Its bytes.
    """

    name: str
    data: bytes = field(repr=False)


def read(body: Any) -> SearchAsked:
    """What a request in JSON asks for.

    Args:
        body: The JSON.

    Raises:
        ShapeError: It has another form.

    Example:
        >>> read({"query": "a red ring", "kind": "pdf", "k": 3}).kinds
        ('pdf',)
    """
    if not isinstance(body, Mapping):
        raise ShapeError(f"the body is {describe_value(body)}", fix='Send {"query": "a red ring"}.')
    given = {name: value for name, value in body.items() if value is not None}
    _check_keys(given, _KEYS)
    if "query" not in given:
        raise Place("query").error('"query" is missing', 'Send {"query": "a red ring"}.')
    return _asked(_query(given["query"], Place("query")), given)


def read_form(fields: Sequence[tuple[str, str]], uploads: Sequence[Upload]) -> SearchAsked:
    """What a form asks for, whose files are the query, or a part of it beside words.

    Args:
        fields: Names and values, in order; an empty value is none.
        uploads: Its files.

    Raises:
        ShapeError: It has another form.

    Example:
        >>> form = read_form([("query", "like this"), ("k", "3")], [Upload("a.gif", b"GIF89a")])
        >>> form.k, form.query.inputs
        (3, [[b'GIF89a', 'like this']])
    """
    given: dict[str, Any] = {name: value for name, value in fields if value}
    _check_keys(given, _FORM_KEYS)
    kinds = [word.strip() for name, value in fields if name == "kind" for word in value.split(",")]
    given["kind"] = [word for word in kinds if word]
    for name in ("k", "per_file", "page"):
        if name in given:
            given[name] = _whole(given[name], name)
    if "metadata" in given:
        try:
            given["metadata"] = json.loads(given["metadata"])
        except (ValueError, RecursionError):
            raise Place("metadata").error(
                "metadata is no JSON", 'Send an object, as {"year": 2024}.'
            ) from None
    page = given.pop("page", None)
    words = given.pop("query", None)
    parts = [_medium(upload, page) for upload in uploads]
    if words is not None:
        parts.append(content.text(words, Place("query")))
    if not parts:
        raise Place("query").error("the form has neither a query nor a file", "Send one of the two, or both.")
    return _asked(parts[0] if len(parts) == 1 else parts, given)


def address(route: str, name: str) -> str:
    """The path of a row's file or thumbnail.

    Example:
        >>> address("files", "2024/a b.pdf#page=2")
        '/files/2024%2Fa%20b.pdf%23page%3D2'
    """
    return f"/{route}/{percent_encoded(name, safe='')}"


def write_hit(rank: int, hit: Hit, folder: str | None, link: Callable[[str], str]) -> dict[str, Any]:
    """A hit as JSON.

    Args:
        rank: 1 is the best.
        hit: What was found.
        folder: The name of the folder that its file is indexed with.
        link: Makes a link of the path of a file or thumbnail.
    """
    about = {"object": "hit", "rank": rank, "score": round(float(hit.score), 6)}
    return about | _described(hit, folder, link)


def write_row(hit: Hit, folder: str | None, link: Callable[[str], str]) -> dict[str, Any]:
    """A row that nobody searched for, as JSON: a hit without its rank and score.

    Args:
        hit: The row.
        folder: The name of the folder that its file is indexed with.
        link: Makes a link of the path of a file or thumbnail.
    """
    return {"object": "row"} | _described(hit, folder, link)


def _described(hit: Hit, folder: str | None, link: Callable[[str], str]) -> dict[str, Any]:
    has_file = hit.path is not None
    return {
        "id": hit.id,
        "kind": hit.kind,
        "label": hit.label,
        "folder": folder,
        "name": hit.name,
        "page": hit.page,
        "start": hit.start,
        "end": hit.end,
        "text": None if hit.text is None else hit.text[:_EXCERPT],
        # JSON has no number that is none, and none without end.
        "metadata": {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in hit.metadata.items()
        },
        "file": link(address("files", hit.id)) if has_file else None,
        "thumbnail": link(address("thumbnails", hit.id)) if has_file and hit.kind in _MEDIA else None,
    }


def _asked(query: Any, given: Mapping[str, Any]) -> SearchAsked:
    k, per_file = given.get("k"), given.get("per_file")
    return SearchAsked(
        Asked([query], instruction=_string(given, "instruction"), role="query"),
        k=_DEFAULT_HITS if k is None else _count(k, "k"),
        kinds=_kinds(given.get("kind")),
        under=_string(given, "under"),
        metadata=_metadata(given.get("metadata")),
        per_file=None if per_file is None else _count(per_file, "per_file"),
    )


def _check_keys(given: Mapping[str, Any], known: Sequence[str]) -> None:
    for name in given:
        if name not in known:
            raise ShapeError(
                f"unknown field {quote(name)} in a search",
                fix=did_you_mean(name[:30], known, otherwise=f"The fields are {', '.join(known)}."),
                param=shorten(name),
            )


def _query(query: Any, place: Place) -> Any:
    """The input of a query: a text, a data-URI, one part, or several."""
    if isinstance(query, str):
        if query[:5].lower() != "data:":
            return content.text(query, place)
        kind = query[5:].partition("/")[0].lower()
        return {kind if kind in _MEDIA else "pdf": content.media(query, place)}
    if isinstance(query, list) and query:
        return [_part(part, place.item(number)) for number, part in enumerate(query)]
    if isinstance(query, Mapping):
        return _part(query, place)
    raise place.error(
        f"the query is {describe_value(query)}", "Send a text, a content part, or a list of these."
    )


def _part(part: Any, place: Place) -> Any:
    if isinstance(part, str):
        return content.text(part, place)
    typed = isinstance(part, Mapping) and "type" in part
    return content.part(part, place) if typed else content.element(part, place)


def _medium(upload: Upload, page: int | None) -> Any:
    place = Place("file")
    if not upload.data:
        raise place.error(f"the file {quote(upload.name)} is empty", "Send one that is not.")
    signature = recognise(upload.data[:HEAD_BYTES])
    if signature is None or signature.kind is None:
        what = "of no known format" if signature is None else f"of the format {signature.label}"
        raise place.error(f"the file {quote(upload.name)} is {what}", "Send a picture, a clip or a PDF.")
    if page is not None and signature.kind == "pdf":
        return {"pdf": upload.data, "page": page}
    return upload.data


def _kinds(value: Any) -> tuple[str, ...]:
    named = [value] if isinstance(value, str) else [] if value is None else value
    if not isinstance(named, list) or any(kind not in KINDS for kind in named):
        raise Place("kind").error(f"kind is {describe_value(value)}", f"Send some of {', '.join(KINDS)}.")
    return tuple(dict.fromkeys(named))


def _metadata(value: Any) -> Mapping[str, str | int | float | bool]:
    place = Place("metadata")
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise place.error(f"metadata is {describe_value(value)}", 'Send an object, as {"year": 2024}.')
    for name, wanted in value.items():
        if not isinstance(wanted, str | int | float):
            raise place.key(shorten(name, 40)).error(
                f"metadata {quote(name)} is {describe_value(wanted)}",
                "Send a string, a number, true or false.",
            )
    return dict(value)


def _string(given: Mapping[str, Any], name: str) -> str | None:
    value = given.get(name)
    if value is None or value == "":
        return None
    return content.text(value, Place(name))


def _whole(text: str, name: str) -> int:
    try:
        return int(text[:20])
    except ValueError:
        raise Place(name).error(f"{name} is {quote(text, 20)}", "Send a whole number.") from None


def _count(value: Any, name: str) -> int:
    if not is_whole(value, 1) or value > MAX_HITS:
        raise Place(name).error(
            f"{name} is {describe_value(value)}", f"Send a whole number from 1 to {MAX_HITS:,}."
        )
    return int(value)
