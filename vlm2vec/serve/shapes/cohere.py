"""Cohere's shape: `POST /v2/embed {"model", "input_type", "texts"|"images"|"inputs", "embedding_types"}`.

Source: docs.cohere.com, and cohere-python (types/embed_by_type_response.py). On Bedrock
(model-parameters-embed-v4) `image_url` is a bare string and `truncate` says RIGHT. Texts are not shortened
unless `truncate` says so.
"""

from __future__ import annotations

import uuid
from typing import Any

from vlm2vec.describe import describe_value
from vlm2vec.inputs.parts import Role
from vlm2vec.serve.asked import Asked, Embedded
from vlm2vec.serve.shapes.answers import ENCODINGS
from vlm2vec.serve.shapes.content import CONTENT, bare_text, element, media
from vlm2vec.serve.shapes.fields import MODEL, OPTIONAL, Fields, Fixed, choice, dimensions, string
from vlm2vec.serve.shapes.shape import Body, Place, Shape, ShapeError

__all__ = ["SHAPE", "read", "write"]

_ROLES: dict[str, Role | None] = {
    "search_query": "query",
    "search_document": "document",
    "classification": None,
    "clustering": None,
    "image": None,
}
_TRUNCATE = {"NONE": False, "END": True, "RIGHT": True}
_MOST_TYPES = 8

_STRING: dict[str, Any] = {"type": "string", "minLength": 1}
FIELDS = Fields(
    "Cohere",
    {
        "model": MODEL,
        "input_type": {
            "enum": list(_ROLES),
            "description": "The side of a search; the last three have none.",
        },
        "texts": {"type": ["array", "null"], "items": _STRING},
        "images": {"type": ["array", "null"], "items": _STRING},
        "inputs": {"type": ["array", "null"], "items": CONTENT},
        "embedding_types": {
            "type": ["array", "null"],
            "items": {"enum": list(ENCODINGS)},
            "minItems": 1,
            "maxItems": _MOST_TYPES,
        },
        "output_dimension": OPTIONAL["dimensions"],
        "truncate": {
            "enum": [*_TRUNCATE, None],
            "description": "END, or RIGHT, shortens texts at their end.",
        },
        "instruction": OPTIONAL["instruction"],
    },
    required=("input_type",),
    fixed={"max_tokens": Fixed((), 'Leave it out; "truncate" END shortens texts to what the context holds.')},
)


def read(body: Body) -> Asked:
    """What a request asks for.

    Raises:
        ShapeError: It cannot be read.

    Example:
        >>> read({"input_type": "search_query", "texts": ["a cat"]}).role
        'query'
    """
    given = FIELDS.check(body)
    _types(given)
    names = [name for name in _READ if name in given]
    if len(names) != 1:
        raise ShapeError(
            f"there are {' and '.join(names)}" if names else "there are no inputs",
            fix='Send one of "texts", "images" and "inputs".',
            param=names[1] if names else "inputs",
        )
    (name,) = names
    if not isinstance(given[name], list) or not given[name]:
        raise Place(name).error(f'"{name}" is {describe_value(given[name])}', "Send a list of at least one.")
    return Asked(
        [_READ[name](one, Place(name).input(number)) for number, one in enumerate(given[name])],
        instruction=string(given, "instruction"),
        role=choice(given, "input_type", _ROLES, ""),
        dimensions=dimensions(given, "output_dimension"),
        truncate=choice(given, "truncate", _TRUNCATE, "NONE"),
    )


def write(body: Body, embedded: Embedded, model: str) -> dict[str, Any]:
    """The vectors in each of the types that were asked for.

    Args:
        body: Of the request.
        embedded: What was computed.
        model: The model's name, which has no place in this answer.
    """
    del model
    return {
        "id": str(uuid.uuid4()),
        "embeddings": {name: ENCODINGS[name](embedded.vectors) for name in _types(body)},
        "texts": body.get("texts") or [],
        "response_type": "embeddings_by_type",
        "meta": {"api_version": {"version": "2"}, "billed_units": {"input_tokens": sum(embedded.tokens)}},
    }


def _image(value: Any, place: Place) -> Any:
    return {"image": media(value, place)}


def _content(value: Any, place: Place) -> Any:
    if not isinstance(value, dict) or set(value) != {"content"}:
        raise place.error(f"{describe_value(value)} is not an input", 'Send {"content": [...]}.')
    return element(value, place)


_READ = {"texts": bare_text, "images": _image, "inputs": _content}


def _types(body: Body) -> list[str]:
    types = body.get("embedding_types")
    types = ["float"] if types is None else types
    if not isinstance(types, list) or not 1 <= len(types) <= _MOST_TYPES:
        raise Place("embedding_types").error(
            f'"embedding_types" is {describe_value(types)}', f"Send a list of {', '.join(ENCODINGS)}."
        )
    for number, name in enumerate(types):
        if name in ("int8", "uint8"):
            raise (
                Place("embedding_types")
                .item(number)
                .error(
                    f"{name} needs ranges that are measured on a collection, and a request is none",
                    f"Send {', '.join(ENCODINGS)}, and quantize the vectors of the collection.",
                )
            )
        choice({"embedding_types": name}, "embedding_types", ENCODINGS, "float")
    return types


SHAPE = Shape(
    "cohere",
    "/v2/embed",
    read,
    write,
    FIELDS.schema(),
    {
        "model": "vlm2vec",
        "input_type": "search_document",
        "inputs": [{"content": [{"type": "text", "text": "a red ring"}]}],
        "embedding_types": ["float"],
    },
    truncation='"truncate": "END"',
)
