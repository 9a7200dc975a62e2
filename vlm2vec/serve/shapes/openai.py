"""OpenAI's shape: `POST /v1/embeddings {"model", "input", "encoding_format", "dimensions"}`.

Source: openai-python 3.57, resources/embeddings.py; the content parts are those of its chat completions.
Beside strings, `input` takes for one input a list of content parts, `{"content": [...]}`, or an object with
text and media.
"""

from __future__ import annotations

from typing import Any

from vlm2vec.serve.asked import Asked, Embedded
from vlm2vec.serve.shapes.answers import BASE64, answer_list
from vlm2vec.serve.shapes.content import INPUT, inputs_of
from vlm2vec.serve.shapes.fields import MODEL, OPTIONAL, Fields, choice, dimensions, string
from vlm2vec.serve.shapes.shape import Body, Place, Shape

__all__ = ["ROUTE", "SHAPE", "read", "write"]

ROUTE = "/v1/embeddings"

FIELDS = Fields("OpenAI", {"model": MODEL, "input": INPUT, **OPTIONAL}, required=("input",))


def read(body: Body) -> Asked:
    """What a request asks for.

    Raises:
        ShapeError: It cannot be read.

    Example:
        >>> read({"model": "m", "input": ["a cat"], "dimensions": 64})
        Asked(inputs=['a cat'], instruction=None, role=None, dimensions=64, truncate=False)
    """
    given = FIELDS.check(body)
    choice(given, "encoding_format", BASE64, "float")
    return Asked(
        inputs_of(given["input"], Place("input")),
        instruction=string(given, "instruction"),
        dimensions=dimensions(given),
    )


def write(body: Body, embedded: Embedded, model: str) -> dict[str, Any]:
    """The list of vectors.

    Args:
        body: Of the request.
        embedded: What was computed.
        model: The model's name.
    """
    return answer_list(embedded, model, choice(body, "encoding_format", BASE64, "float"))


SHAPE = Shape(
    "openai",
    ROUTE,
    read,
    write,
    FIELDS.schema(),
    {"model": "vlm2vec", "input": ["a red ring", "a blue diamond"], "encoding_format": "float"},
    truncation='"truncate_prompt_tokens": -1',
)
