"""`POST /v1/embeddings`, and the routes of other shapes: each reads, embeds and writes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response

from vlm2vec.errors import ContextLengthError, InputError
from vlm2vec.serve.answers import RefusedError, fix_for_clients, json_answer, json_bytes
from vlm2vec.serve.body import INLINE_BYTES, open_form, read_json
from vlm2vec.serve.log import record_of
from vlm2vec.serve.openapi import body_of
from vlm2vec.serve.routes import serving_of
from vlm2vec.serve.shapes import SHAPES
from vlm2vec.serve.shapes.embeddings import SHAPE, SHARED, shape_of
from vlm2vec.serve.shapes.shape import Shape

__all__ = ["router"]

INLINE_VALUES = 20_000
"""Components of vectors; more are written in a thread, so that other requests go on meanwhile."""

MAX_FIELDS = 100
"""Of a form beside its files."""

router = APIRouter(tags=["embeddings"])


async def _read_form(request: Request) -> dict[str, Any]:
    """For each name of a form a list of strings, or of bytes for files."""
    most = serving_of(request).settings.max_inputs
    fields: dict[str, Any] = {}
    async with open_form(request, max_files=most, max_fields=MAX_FIELDS) as form:
        for name, value in form.multi_items():
            content = await value.read() if isinstance(value, UploadFile) else value
            fields.setdefault(name, []).append(content)
    return fields


_READERS: dict[str, Callable[[Request], Awaitable[dict[str, Any]]]] = {
    "application/json": read_json,
    "multipart/form-data": _read_form,
}


def _endpoint(shape: Shape) -> Callable[[Request], Awaitable[Response]]:
    read_body = _READERS[shape.media_type]

    async def embed(request: Request) -> Response:
        serving, record = serving_of(request), record_of(request.scope)
        body = await read_body(request)
        small = record.body_bytes <= INLINE_BYTES
        asked = shape.read(body) if small else await asyncio.to_thread(shape.read, body)
        if not asked.inputs:
            raise InputError("there are no inputs", fix="Send at least one.")
        if len(asked.inputs) > serving.settings.max_inputs:
            raise RefusedError(
                400,
                "too_many_inputs",
                f"there are {len(asked.inputs):,} inputs, over {serving.settings.max_inputs:,}",
                fix="Send several requests.",
                param="input",
            )
        try:
            embedded = await serving.batcher.embed(asked)
        except ContextLengthError as error:
            truncation = (shape_of(body) if shape is SHAPE else shape).truncation
            if truncation and not asked.truncate:
                error.fix = f"{fix_for_clients(error)} Texts alone are shortened with {truncation}."
            raise
        record.inputs, record.tokens = len(asked.inputs), sum(embedded.tokens)

        def written() -> bytes:
            return json_bytes(shape.write(body, embedded, serving.name))

        small = embedded.vectors.size <= INLINE_VALUES
        return json_answer(written() if small else await asyncio.to_thread(written))

    return embed


for _shape in SHAPES:
    router.add_api_route(
        _shape.route,
        _endpoint(_shape),
        methods=[_shape.method],
        name=_shape.name,
        summary=f"Vectors, in the form of {_shape.name}",
        openapi_extra=body_of(
            {_shape.media_type: _shape.schema},
            {each.name: each.example for each in (_shape, *SHARED) if each.route == _shape.route},
        ),
    )
