"""Jina's shape: `POST /v1/embeddings {"model", "task", "input": [{"text"} or {"image"}], "embedding_type"}`.

Source: jina.ai's page of jina-embeddings-v4, and the clients of LanceDB (embeddings/jinaai.py) and Chroma
(jina_embedding_function.py), which send bare base64. Strings stand for texts. A PDF is one vector.
"""

from __future__ import annotations

from typing import Any

from vlm2vec.inputs.parts import Role
from vlm2vec.serve.asked import Asked, Embedded
from vlm2vec.serve.shapes.answers import BASE64, ENCODINGS, Encoding, answer_list
from vlm2vec.serve.shapes.content import INPUT, inputs_of
from vlm2vec.serve.shapes.fields import MODEL, OPTIONAL, Fields, Fixed, choice, dimensions, flag, string
from vlm2vec.serve.shapes.openai import ROUTE
from vlm2vec.serve.shapes.shape import Body, Place, Shape

__all__ = ["OWN", "SHAPE", "read", "write"]

_NO_SIDE = ""
_ROLES: dict[str, Role | None] = {
    _NO_SIDE: None,
    "retrieval.query": "query",
    "retrieval.passage": "document",
    "text-matching": None,
    "classification": None,
    "separation": None,
}
_OWN_TAKEN: dict[str, dict[str, Any]] = {
    "task": {
        "enum": [*list(_ROLES)[1:], None],
        "description": "The side of a search; other tasks have none.",
    },
    "embedding_type": {"enum": [*ENCODINGS, None]},
}
FIELDS = Fields(
    "Jina",
    {"model": MODEL, "input": INPUT, **OPTIONAL, **_OWN_TAKEN, "truncate": {"type": ["boolean", "null"]}},
    required=("input",),
    fixed={
        "normalized": Fixed((True,), "Leave it out: vectors are of unit length."),
        "late_chunking": Fixed((False,), "Leave it out: each input is a vector of its own."),
        "return_multivector": Fixed((False,), "Leave it out: each input is one vector."),
    },
)
OWN = (*_OWN_TAKEN, *FIELDS.fixed)
"""Fields by which the shape is known, beside a `truncate` that is true or false."""


def read(body: Body) -> Asked:
    """What a request asks for.

    Raises:
        ShapeError: It cannot be read.

    Example:
        >>> read({"task": "retrieval.query", "input": [{"text": "a cat"}]}).role
        'query'
    """
    given = FIELDS.check(body)
    _encoding(given)
    return Asked(
        inputs_of(given["input"], Place("input")),
        instruction=string(given, "instruction"),
        role=choice(given, "task", _ROLES, _NO_SIDE),
        dimensions=dimensions(given),
        truncate=flag(given, "truncate"),
    )


def write(body: Body, embedded: Embedded, model: str) -> dict[str, Any]:
    """The list of vectors.

    Args:
        body: Of the request.
        embedded: What was computed.
        model: The model's name.
    """
    return answer_list(embedded, model, _encoding(body))


def _encoding(body: Body) -> Encoding:
    openai = choice(body, "encoding_format", BASE64, "float")
    return (
        openai if body.get("embedding_type") is None else choice(body, "embedding_type", ENCODINGS, "float")
    )


SHAPE = Shape(
    "jina",
    ROUTE,
    read,
    write,
    FIELDS.schema(),
    {
        "model": "vlm2vec",
        "task": "retrieval.passage",
        "input": [{"text": "a red ring"}, {"text": "a blue diamond"}],
        "embedding_type": "float",
    },
    truncation='"truncate": true',
)
