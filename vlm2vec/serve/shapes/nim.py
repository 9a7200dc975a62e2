"""NVIDIA NIM's shape: `POST /v1/embeddings {"model", "input": [...], "input_type", "modality", "truncate"}`.

Source: docs.nvidia.com, NeMo Retriever Embedding NIM 2.2, and docs.api.nvidia.com, nemotron-3.5-embed-1b. A
string that is a data-URI is an image; in a text, `<img src="data:...">` stands for one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from vlm2vec.describe import describe_value
from vlm2vec.inputs.parts import Role
from vlm2vec.serve.asked import Asked
from vlm2vec.serve.shapes.answers import BASE64
from vlm2vec.serve.shapes.content import inputs_of, media, text
from vlm2vec.serve.shapes.fields import MODEL, OPTIONAL, Fields, Fixed, choice, dimensions, string
from vlm2vec.serve.shapes.openai import ROUTE, write
from vlm2vec.serve.shapes.shape import Body, Place, Shape

__all__ = ["SHAPE", "read"]

_ROLES: dict[str, Role | None] = {"": None, "query": "query", "passage": "document"}
_TRUNCATE = {"NONE": False, "END": True}
_KINDS: dict[str, set[str]] = {"text": {"text"}, "image": {"image"}, "text_image": {"text", "image"}}
# No `<` in the data, so that an unclosed tag costs no second reading of what follows it.
_TAG = re.compile(r"""<img\s{1,8}src=(["'])(data:[^"'<>]*)\1\s{0,8}/?>""", re.IGNORECASE)

_STRING: dict[str, Any] = {"type": "string", "minLength": 1}
_MODALITY = {"enum": list(_KINDS)}
FIELDS = Fields(
    "NVIDIA NIM",
    {
        "model": MODEL,
        "input": {"anyOf": [_STRING, {"type": "array", "items": _STRING, "minItems": 1}]},
        "input_type": {"enum": ["query", "passage", None]},
        "truncate": {"enum": [*_TRUNCATE, None], "description": "END shortens texts at their end."},
        "modality": {
            "anyOf": [_MODALITY, {"type": "array", "items": _MODALITY}, {"type": "null"}],
            "description": "What all inputs are, or each is; otherwise it is seen.",
        },
        **OPTIONAL,
    },
    required=("input",),
    fixed={"embedding_type": Fixed(("float",), 'Leave it out; "encoding_format" may be base64.')},
)


def read(body: Body) -> Asked:
    """What a request asks for.

    Raises:
        ShapeError: It cannot be read.

    Example:
        >>> read({"input": "a cat", "input_type": "query"}).role
        'query'
    """
    given = FIELDS.check(body)
    choice(given, "encoding_format", BASE64, "float")
    truncate = choice(given, "truncate", _TRUNCATE, "NONE")
    inputs = inputs_of(given["input"], Place("input"), _input)
    if "modality" in given:
        _check_modality(given["modality"], inputs)
    return Asked(
        inputs,
        instruction=string(given, "instruction"),
        role=choice(given, "input_type", _ROLES, ""),
        dimensions=dimensions(given),
        truncate=truncate,
    )


def _input(value: Any, place: Place) -> Any:
    value = text(value, place)
    if value[:5].lower() == "data:":
        return [{"image": media(value, place)}]
    found = list(_pieces(value, place))
    return found if any("image" in one for one in found) else value


def _pieces(value: str, place: Place) -> Iterator[dict[str, Any]]:
    """Texts and images in order; blanks between them are no texts."""
    start = 0
    for tag in _TAG.finditer(value):
        if value[start : tag.start()].strip():
            yield {"text": value[start : tag.start()]}
        yield {"image": media(tag[2], place)}
        start = tag.end()
    if value[start:].strip():
        yield {"text": value[start:]}


def _check_modality(modality: Any, inputs: list[Any]) -> None:
    each = modality if isinstance(modality, list) else [modality] * len(inputs)
    if len(each) != len(inputs):
        raise Place("modality").error(
            f"there are {len(each)} modalities for {len(inputs)} inputs", "Send one for all, or one for each."
        )
    for number, (kind, one) in enumerate(zip(each, inputs, strict=True)):
        if not isinstance(kind, str) or kind not in _KINDS:
            raise Place("modality", number).error(
                f'"modality" is {describe_value(kind)}', f"Send {' or '.join(_KINDS)}."
            )
        holds = {"text"} if isinstance(one, str) else {key for piece in one for key in piece}
        if holds != _KINDS[kind]:
            raise (
                Place("input")
                .input(number)
                .error(
                    f'it holds {" and ".join(sorted(holds))}, and "modality" says {kind}',
                    'Send an image as a data-URI, or as <img src="data:..."> in the text.',
                )
            )


SHAPE = Shape(
    "nim",
    ROUTE,
    read,
    write,
    FIELDS.schema(),
    {"model": "vlm2vec", "input": ["a red ring"], "input_type": "query", "truncate": "NONE"},
    truncation='"truncate": "END"',
)
