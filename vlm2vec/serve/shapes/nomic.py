"""nomic's shape: `POST /v1/embedding/image`, a form with files as `images` or addresses as `urls`.

Source: docs.nomic.ai, "Embed Image", and nomic's Python client (embed.py), which wants the model's name back
as it sent it.
"""

from __future__ import annotations

from typing import Any

from vlm2vec.describe import describe_value
from vlm2vec.serve.asked import Asked, Embedded
from vlm2vec.serve.shapes.answers import ENCODINGS, usage
from vlm2vec.serve.shapes.content import media
from vlm2vec.serve.shapes.fields import Fields
from vlm2vec.serve.shapes.shape import Body, Place, Shape, ShapeError

__all__ = ["SHAPE", "read", "write"]

FIELDS = Fields(
    "nomic",
    {
        "model": {"type": "string"},
        "images": {
            "type": "array",
            "items": {"type": "string", "contentMediaType": "application/octet-stream"},
        },
        "urls": {"type": "array", "items": {"type": "string"}},
    },
    ignored=(),
)


def read(body: Body) -> Asked:
    """What a request asks for.

    Args:
        body: The fields of the form: for each name a list, of bytes for `images` and strings for others.

    Raises:
        ShapeError: It cannot be read.

    Example:
        >>> read({"model": ["m"], "images": [b"GIF89a..."]}).inputs
        [{'image': b'GIF89a...'}]
    """
    given = FIELDS.check({name: one for name, one in body.items() if name != "model"})
    model = body.get("model") or []
    if not isinstance(model, list) or len(model) > 1 or not all(isinstance(one, str) for one in model):
        raise Place("model").error("it is not one string", "Send one.")
    images, urls = given.get("images") or [], given.get("urls") or []
    if bool(images) == bool(urls):
        raise ShapeError(
            "there are both images and urls" if images else "there are no images",
            fix='Send files as "images", or addresses as "urls".',
            param="images",
        )
    read_one, name = (_file, "images") if images else (_address, "urls")
    return Asked([read_one(one, Place(name).input(number)) for number, one in enumerate(images or urls)])


def write(body: Body, embedded: Embedded, model: str) -> dict[str, Any]:
    """The vectors.

    Args:
        body: Of the request.
        embedded: What was computed.
        model: The model's name, where the request has none.
    """
    return {
        "embeddings": ENCODINGS["float"](embedded.vectors),
        "usage": usage(embedded),
        "model": next(iter(body.get("model") or []), model),
    }


def _file(value: Any, place: Place) -> dict[str, Any]:
    if not isinstance(value, bytes):
        raise place.error(
            f"{describe_value(value)} is not a file", 'Send it as curl -F "images=@cat.jpg" does.'
        )
    if not value:
        raise place.error("the file is empty", "Check that it was read.")
    return {"image": value}


def _address(value: Any, place: Place) -> dict[str, Any]:
    return {"image": media(value, place)}


SHAPE = Shape(
    "nomic",
    "/v1/embedding/image",
    read,
    write,
    FIELDS.schema(),
    {"model": "vlm2vec", "urls": ["https://example.org/cat.jpg"]},
    media_type="multipart/form-data",
)
