"""`POST /v1/embeddings`, which six shapes share: which of them a body has.

Fields that are null count as absent. The first of these that holds decides:

1. `messages`, or another field that only vLLM has: vLLM.
2. `input_type`, a `truncate` that is a string, or a `modality` that is a list or "text_image": NVIDIA NIM.
3. `modality`: infinity.
4. `task`, or another field that only Jina has, or a `truncate` that is true or false: Jina.
5. An object with text or media among the inputs, such as `{"text": ..., "image": ...}`: SGLang.
6. Otherwise: OpenAI.

The chosen shape then refuses what it does not know, so that a body with fields of two is an error. An input
is read in the same way by vLLM's, Jina's, SGLang's and OpenAI's, where a string is a text, always. In
infinity's a string is what the modality says, and in NIM's a data-URI is an image.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vlm2vec.describe import describe_value
from vlm2vec.serve.asked import Asked, Embedded
from vlm2vec.serve.shapes import infinity, jina, nim, openai, sglang, vllm
from vlm2vec.serve.shapes.shape import Body, Shape, ShapeError

__all__ = ["SHAPE", "SHARED", "shape_of"]

SHARED = (openai.SHAPE, vllm.SHAPE, jina.SHAPE, sglang.SHAPE, infinity.SHAPE, nim.SHAPE)
"""The shapes of this route."""


def shape_of(body: Body) -> Shape:
    """The shape of a body.

    Raises:
        ShapeError: The body is no object.

    Example:
        >>> shape_of({"input": "a cat", "task": "retrieval.query"}).name
        'jina'
    """
    if not isinstance(body, Mapping):
        raise ShapeError(f"the body is {describe_value(body)}", fix="Send a JSON object.")
    given = {name for name, value in body.items() if value is not None}
    truncate, modality = body.get("truncate"), body.get("modality")
    if given & set(vllm.OWN):
        return vllm.SHAPE
    if (
        "input_type" in given
        or isinstance(truncate, str)
        or isinstance(modality, list)
        or modality == "text_image"
    ):
        return nim.SHAPE
    if "modality" in given:
        return infinity.SHAPE
    if given & set(jina.OWN) or isinstance(truncate, bool):
        return jina.SHAPE
    inputs = body.get("input")
    inputs = inputs if isinstance(inputs, list) else [inputs]
    is_object = any(isinstance(one, Mapping) and not one.keys() & {"type", "content"} for one in inputs)
    return sglang.SHAPE if is_object else openai.SHAPE


def read(body: Body) -> Asked:
    """What a request asks for, in whichever shape it is.

    Raises:
        ShapeError: It cannot be read.
    """
    return shape_of(body).read(body)


def write(body: Body, embedded: Embedded, model: str) -> dict[str, Any]:
    """The answer, in the shape of the request.

    Args:
        body: Of the request.
        embedded: What was computed.
        model: The model's name.
    """
    return shape_of(body).write(body, embedded, model)


SHAPE = Shape(
    "embeddings",
    openai.ROUTE,
    read,
    write,
    {"anyOf": [shape.schema for shape in SHARED]},
    openai.SHAPE.example,
)
