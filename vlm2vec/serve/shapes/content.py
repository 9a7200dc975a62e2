"""Inputs of requests in the forms of `encode`: texts, content parts, and objects with text and media.

A string under a media key is a data-URI, an http(s) URL, or, in an object, base64. Nothing here takes it for
a path, and what it returns holds bytes and URLs alone, so that no string of a client leads to a file.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from typing import Any

from vlm2vec.arguments import is_number
from vlm2vec.describe import describe_media, describe_value, quote, shorten
from vlm2vec.errors import VLM2VecError
from vlm2vec.inputs.options import OPTIONS
from vlm2vec.inputs.text import check_text
from vlm2vec.media.source import Source, is_url
from vlm2vec.serve.shapes.shape import Place

__all__ = [
    "COMPOSED",
    "CONTENT",
    "INPUT",
    "PART",
    "bare_text",
    "element",
    "inputs_of",
    "media",
    "part",
    "parts",
    "text",
]

_MAX_INLINE_BYTES = 64 * 2**20  # as of a data-URI
_MEDIA = ("image", "video", "pdf")
_MAX_FRAMES = 1024
_FRAMES = "data:video/jpeg;base64,"
_DATA = re.compile(r"data:(image|video|application/pdf)[^,]{0,200};base64,", re.IGNORECASE)

# Type of a content part -> our key, the key that holds its value, and whether that may be base64 alone.
_PARTS = {
    "text": ("text", "text", False),
    "input_text": ("text", "text", False),
    "image_url": ("image", "image_url", False),
    "input_image": ("image", "image_url", False),
    "image_base64": ("image", "image_base64", True),
    "image": ("image", "image", False),
    "video_url": ("video", "video_url", False),
    "video_base64": ("video", "video_base64", True),
    "video": ("video", "video", False),
    "file": ("pdf", "file", True),
    "pdf": ("pdf", "pdf", False),
}

_URI = {
    "type": "string",
    "minLength": 5,
    "description": "A data-URI, or an http(s) URL where those are fetched.",
}
PART: dict[str, Any] = {
    "type": "object",
    "description": "A content part; options such as max_pixels or num_frames may stand beside its value.",
    "properties": {
        "type": {"enum": list(_PARTS)},
        "text": {"type": "string"},
        "image_url": {"anyOf": [_URI, {"type": "object", "properties": {"url": _URI}, "required": ["url"]}]},
        "video_url": {"anyOf": [_URI, {"type": "object", "properties": {"url": _URI}, "required": ["url"]}]},
        "video": {"anyOf": [_URI, {"type": "array", "items": _URI, "minItems": 1, "maxItems": _MAX_FRAMES}]},
        "file": {"type": "object", "properties": {"file_data": _URI, "filename": {"type": "string"}}},
    },
    "required": ["type"],
}
CONTENT: dict[str, Any] = {
    "type": "object",
    "properties": {"content": {"type": "array", "items": PART, "minItems": 1}},
    "required": ["content"],
    "additionalProperties": False,
}
COMPOSED: dict[str, Any] = {
    "type": "object",
    "description": "Text and media of one input, in the order of the keys; media may be base64 alone.",
    "properties": {
        "text": {"type": "string"},
        **{key: {"type": "string", "minLength": 4} for key in _MEDIA},
        "instruction": {"type": ["string", "null"]},
    },
    "minProperties": 1,
}
_ONE: dict[str, Any] = {
    "anyOf": [{"type": "string", "minLength": 1}, {"type": "array", "items": PART, "minItems": 1}, COMPOSED]
}
INPUT: dict[str, Any] = {"anyOf": [*_ONE["anyOf"][::2], {"type": "array", "items": _ONE, "minItems": 1}]}
"""JSON schemas: of a content part, of an object, and of what may stand under `input`."""


def inputs_of(value: Any, place: Place, read: Callable[[Any, Place], Any] | None = None) -> list[Any]:
    """Each of a list of inputs, or the one that stands in its place.

    Args:
        value: What stands under `input`.
        place: Where that is.
        read: How one of them is read; as `element` does by default.

    Raises:
        ShapeError: It is no input; or a list of content parts, which may be one input or several.
    """
    read = read or element
    if not isinstance(value, list):
        return [read(value, Place(place.param, 0))]
    if not value:
        raise place.error("there are no inputs", "Send at least one.")
    if len(value) > 1 and any(isinstance(one, Mapping) and ("type" in one or "role" in one) for one in value):
        what = (
            "messages"
            if any(isinstance(one, Mapping) and "role" in one for one in value)
            else "content parts"
        )
        raise place.error(
            f"a list of {what} may mean one input or several",
            'Write [[part, part]] for one input, [[part], [part]] for two; a conversation as "messages".',
        )
    return [read(one, place.input(number)) for number, one in enumerate(value)]


def element(value: Any, place: Place) -> Any:
    """One input: a text, a list of content parts, `{"content": ...}`, or an object with text and media.

    Raises:
        ShapeError: It is none of them.
    """
    if isinstance(value, str):
        return bare_text(value, place)
    if _are_numbers([value]) or (isinstance(value, list) and value and _are_numbers(value)):
        raise place.error(
            "token ids are not taken: they are of another model's tokenizer",
            "Send texts; in LangChain, OpenAIEmbeddings(check_embedding_ctx_length=False) does.",
        )
    if isinstance(value, list):
        return parts(value, place)
    if not isinstance(value, Mapping):
        raise place.error(
            f"{describe_value(value)} is not an input",
            "Send a string, a list of content parts, or an object.",
        )
    if "content" in value:
        _only(value, ("content", "role"), place)
        if value.get("role") not in (None, "user"):
            raise place.error("a message that is no user's stands for an input", 'Send "messages".')
        return parts(value["content"], place.key("content"))
    return [part(value, place)] if "type" in value else _composed(value, place)


def parts(value: Any, place: Place) -> list[Any]:
    """The content of one input: a text, or content parts in order.

    Raises:
        ShapeError: It is neither, or there are none.
    """
    if isinstance(value, str):
        return [{"text": text(value, place)}]
    if not isinstance(value, list):
        raise place.error(
            f"the content is {describe_value(value)}", "Send a string or a list of content parts."
        )
    if not value:
        raise place.error("the list of content parts is empty", "Send at least one.")
    return [part(one, place.item(number)) for number, one in enumerate(value)]


def part(value: Any, place: Place) -> dict[str, Any]:
    """One content part, such as `{"type": "image_url", "image_url": {"url": "data:..."}}`.

    Raises:
        ShapeError: It is none, of an unknown type, or does not hold what its type says.
    """
    if isinstance(value, str):
        return {"text": text(value, place)}
    if not isinstance(value, Mapping):
        raise place.error(
            f"{describe_value(value)} is not a content part", 'Send {"type": "text", "text": "..."}.'
        )
    kind = value.get("type")
    if not isinstance(kind, str) or kind not in _PARTS:
        name = quote(kind, 30) if isinstance(kind, str) else describe_value(kind)
        raise place.error(f"a content part has the type {name}", f"The types are {', '.join(_PARTS)}.")
    key, holder, as_base64 = _PARTS[kind]
    if value.get(holder) is None:
        raise place.error(f'the content part of type {kind} has no "{holder}"', f'Add "{holder}".')
    rest = {name: one for name, one in value.items() if name not in ("type", holder, "uuid")}
    held, where = _unwrapped(value[holder], kind, place.key(holder))
    if kind == "input_image" and "detail" in rest:
        _check_detail(rest.pop("detail"), place)
    options = _options(rest, place)
    if key == "text":
        return {"text": text(held, where), **options}
    if key == "video" and isinstance(held, list):
        return {"video": _frames(held, where, media), **options}
    if key == "video" and isinstance(held, str) and held[: len(_FRAMES)].lower() == _FRAMES:
        # vLLM's form of a clip whose frames the client has chosen: so it looks at all of them.
        frames = _frames(held[len(_FRAMES) :].split(",", _MAX_FRAMES), where, _decoded)
        return {"video": frames, "num_frames": len(frames), **options}
    return {key: media(held, where, as_base64=as_base64), **options}


def _frames(values: list[Any], place: Place, read: Callable[[Any, Place], Any]) -> list[Any]:
    """The frames of a clip, in order."""
    if not 0 < len(values) <= _MAX_FRAMES:
        count = f"over {_MAX_FRAMES:,}" if values else "no"
        raise place.error(f"the clip has {count} frames", f"Send at least one, and at most {_MAX_FRAMES:,}.")
    return [read(value, place.item(number)) for number, value in enumerate(values)]


def bare_text(value: Any, place: Place) -> str:
    """A text that is one input; not a data-URI, which would be embedded as the text of its base64.

    Raises:
        ShapeError: It is one, or no text.
    """
    if isinstance(value, str) and _DATA.match(value):
        raise place.error(
            "a data-URI stands where a text is expected",
            'Send {"image": "data:..."}, or [{"type": "image_url", "image_url": {"url": "data:..."}}].',
        )
    return text(value, place)


def text(value: Any, place: Place) -> str:
    """A text.

    Raises:
        ShapeError: It is no string, or none that has an encoding in UTF-8.
    """
    try:
        return check_text(value, "the text")
    except VLM2VecError as error:
        fix = error.fix if isinstance(value, str) else "Send a string."
        raise place.error(error.cause, fix) from None


def media(value: Any, place: Place, *, as_base64: bool = False) -> bytes | str:
    """The bytes of a data-URI or of base64, or the URL.

    Args:
        value: What stands there.
        place: Where that is.
        as_base64: Whether it may be base64 alone.

    Raises:
        ShapeError: It is none of them, or has more than 64 MiB, which is seen before it is decoded.
    """
    if not isinstance(value, str):
        raise place.error(f"{describe_value(value)} stands for media", "Send a data-URI as a string.")
    if value[:5].lower() == "data:":
        try:
            return Source.from_data_uri(value).read()
        except VLM2VecError as error:
            raise place.error(error.cause, error.fix.replace("Pass a path.", "Send a smaller one.")) from None
    if is_url(value):
        if not value[:8].lower().startswith(("http://", "https://")):
            raise place.error(
                f"the URL {describe_media(value)} is not http(s)", "Send the content as a data-URI."
            )
        return value
    if not as_base64:
        raise place.error(
            "a string under a media key is neither a data-URI nor an http(s) URL",
            "Send data:image/png;base64,... ; files of the server are not read.",
        )
    return _decoded(value, place)


def _decoded(value: str, place: Place) -> bytes:
    size = len(value) * 3 // 4
    if size > _MAX_INLINE_BYTES:
        raise place.error(
            f"the data has about {size:,} bytes, more than {_MAX_INLINE_BYTES:,}", "Send a smaller one."
        )
    try:
        data = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if not data:
        raise place.error(
            "a string under a media key is neither a data-URI, nor an http(s) URL, nor base64",
            "Send data:image/png;base64,... ; files of the server are not read.",
        )
    return data


def _composed(value: Mapping[str, Any], place: Place) -> dict[str, Any]:
    """`{"text": ..., "image": ...}`, in the order of its keys."""
    held = {name: one for name, one in value.items() if one is not None}
    if not any(name in held for name in ("text", *_MEDIA)):
        raise place.error(
            f"{describe_value(value)} holds no text and no media", 'Add "text", "image", "video" or "pdf".'
        )
    rest = {name: one for name, one in held.items() if name not in ("text", *_MEDIA, "instruction")}
    read: dict[str, Any] = {}
    for name, one in held.items():
        if name in ("text", "instruction"):
            read[name] = text(one, place.key(name))
        elif name in _MEDIA:
            read[name] = media(one, place.key(name), as_base64=True)
    return {**read, **_options(rest, place)}


def _unwrapped(value: Any, kind: str, place: Place) -> tuple[Any, Place]:
    """What is inside of `{"url": ...}` and of `{"file_data": ..., "filename": ...}`."""
    if not isinstance(value, Mapping) or kind in ("text", "input_text"):
        return value, place
    if kind == "file":
        if "file_id" in value:
            raise place.error("no files are kept here for a file_id", 'Send "file_data", a data-URI.')
        _only(value, ("file_data", "filename"), place)
    else:
        _only(value, ("url", "detail"), place)
        _check_detail(value.get("detail"), place)
    name = "file_data" if kind == "file" else "url"
    if value.get(name) is None:
        raise place.error(f'"{kind}" has no "{name}"', "Add it, a data-URI.")
    return value[name], place.key(name)


def _check_detail(detail: Any, place: Place) -> None:
    if detail is not None and detail != "auto":
        raise place.error(
            '"detail" would change the vectors and is not supported', "Set max_pixels beside the part's type."
        )


def _options(rest: Mapping[str, Any], place: Place) -> dict[str, Any]:
    """The options beside media, which are checked when the input is parsed."""
    _only(rest, tuple(OPTIONS), place)
    return {name: value for name, value in rest.items() if value is not None}


def _only(value: Mapping[str, Any], known: tuple[str, ...], place: Place) -> None:
    for name in value:
        if name not in known:
            raise place.error(
                f"unknown key {quote(shorten(name, 30))}", f"The keys here are {', '.join(known)}."
            )


def _are_numbers(values: list[Any]) -> bool:
    return all(is_number(value) for value in values)
