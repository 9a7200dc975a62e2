"""infinity's shape: `POST /v1/embeddings {"model", "input": [...], "modality"}`; one modality a request.

Source: michaelfeil/infinity, infinity_emb/fastapi_schemas/pymodels.py (MultiModalOpenAIEmbedding).
"""

from __future__ import annotations

from typing import Any

from vlm2vec.serve.asked import Asked
from vlm2vec.serve.shapes.answers import BASE64
from vlm2vec.serve.shapes.content import bare_text, inputs_of, media
from vlm2vec.serve.shapes.fields import MODEL, OPTIONAL, Fields, choice, dimensions, string
from vlm2vec.serve.shapes.openai import ROUTE, write
from vlm2vec.serve.shapes.shape import Body, Place, Shape

__all__ = ["SHAPE", "read"]

_STRING: dict[str, Any] = {"type": "string", "minLength": 1}
FIELDS = Fields(
    "infinity",
    {
        "model": MODEL,
        "input": {"anyOf": [_STRING, {"type": "array", "items": _STRING, "minItems": 1}]},
        "modality": {"enum": ["text", "image"], "description": "What the strings are."},
        **OPTIONAL,
    },
    required=("input", "modality"),
)


def read(body: Body) -> Asked:
    """What a request asks for.

    Raises:
        ShapeError: It cannot be read.

    Example:
        >>> read({"modality": "image", "input": "https://example.org/cat.jpg"}).inputs
        [{'image': 'https://example.org/cat.jpg'}]
    """
    given = FIELDS.check(body)
    choice(given, "encoding_format", BASE64, "float")
    one = choice(given, "modality", {"text": bare_text, "image": _image}, "text")
    return Asked(
        inputs_of(given["input"], Place("input"), one),
        instruction=string(given, "instruction"),
        dimensions=dimensions(given),
    )


def _image(value: Any, place: Place) -> dict[str, Any]:
    return {"image": media(value, place)}


SHAPE = Shape(
    "infinity",
    ROUTE,
    read,
    write,
    FIELDS.schema(),
    {"model": "vlm2vec", "input": ["a red ring"], "modality": "text"},
)
