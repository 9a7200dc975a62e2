"""Voyage's shape: `POST /v1/multimodalembeddings {"inputs": [{"content": [...]}], "model", "input_type"}`.

Source: docs.voyageai.com, multimodal-embeddings-api; voyageai-python (object/multimodal_embeddings.py), whose
client asks for base64 by `encoding_format`. Texts are not shortened unless `truncation` is true, which that
client sends.
"""

from __future__ import annotations

from typing import Any

from vlm2vec.describe import describe_value
from vlm2vec.inputs.parts import Role
from vlm2vec.serve.asked import Asked, Embedded
from vlm2vec.serve.shapes.answers import BASE64, Encoding, answer_list
from vlm2vec.serve.shapes.content import CONTENT, element
from vlm2vec.serve.shapes.fields import MODEL, OPTIONAL, Fields, Fixed, choice, dimensions, flag, string
from vlm2vec.serve.shapes.shape import Body, Place, Shape

__all__ = ["SHAPE", "read", "write"]

_ROLES: dict[str, Role | None] = {"": None, "query": "query", "document": "document"}

FIELDS = Fields(
    "Voyage",
    {
        "model": MODEL,
        "inputs": {"type": "array", "items": CONTENT, "minItems": 1},
        "input_type": {"enum": ["query", "document", None]},
        "truncation": {"type": ["boolean", "null"], "description": "Shortens texts at their end."},
        "output_encoding": {"enum": ["base64", None]},
        "output_dimension": OPTIONAL["dimensions"],
        "encoding_format": OPTIONAL["encoding_format"],
        "instruction": OPTIONAL["instruction"],
    },
    required=("inputs",),
    fixed={"output_dtype": Fixed(("float",), "Leave it out: vectors are of float32.")},
)


def read(body: Body) -> Asked:
    """What a request asks for.

    Raises:
        ShapeError: It cannot be read.

    Example:
        >>> read({"inputs": [{"content": [{"type": "text", "text": "a cat"}]}]}).inputs
        [[{'text': 'a cat'}]]
    """
    given = FIELDS.check(body)
    _encoding(given)
    inputs = given["inputs"]
    if not isinstance(inputs, list) or not inputs:
        raise Place("inputs").error(f'"inputs" is {describe_value(inputs)}', "Send a list of at least one.")
    return Asked(
        [_content(one, Place("inputs").input(number)) for number, one in enumerate(inputs)],
        instruction=string(given, "instruction"),
        role=choice(given, "input_type", _ROLES, ""),
        dimensions=dimensions(given, "output_dimension"),
        truncate=flag(given, "truncation"),
    )


def write(body: Body, embedded: Embedded, model: str) -> dict[str, Any]:
    """The list of vectors. Pixels are not counted apart: all tokens are among `total_tokens`.

    Args:
        body: Of the request.
        embedded: What was computed.
        model: The model's name.
    """
    answer = answer_list(embedded, model, _encoding(body))
    texts = [all(one.get("type") == "text" for one in each["content"]) for each in body["inputs"]]
    text_tokens = sum(tokens for tokens, is_text in zip(embedded.tokens, texts, strict=True) if is_text)
    answer["usage"] |= {"text_tokens": text_tokens, "image_pixels": 0, "video_pixels": 0}
    return answer


def _content(value: Any, place: Place) -> Any:
    if not isinstance(value, dict) or set(value) != {"content"} or not isinstance(value["content"], list):
        raise place.error(f"{describe_value(value)} is not an input", 'Send {"content": [...]}.')
    return element(value, place)


def _encoding(body: Body) -> Encoding:
    name = "encoding_format" if body.get("output_encoding") is None else "output_encoding"
    return choice(body, name, BASE64, "float")


SHAPE = Shape(
    "voyage",
    "/v1/multimodalembeddings",
    read,
    write,
    FIELDS.schema(),
    {
        "model": "vlm2vec",
        "inputs": [{"content": [{"type": "text", "text": "a red ring"}]}],
        "input_type": "document",
    },
    truncation='"truncation": true',
)
