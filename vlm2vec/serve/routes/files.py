"""Originals and thumbnails of what the index has: `GET /files/{id}`, `GET /thumbnails/{id}`.

A file is named by the id of a row, never by a path. Where the row's file is, is looked up in the index, and
it is opened only where that lies below a folder that is indexed, links followed (`stored_file`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

from fastapi import APIRouter
from starlette.convertors import PathConvertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from vlm2vec.errors import VLM2VecError
from vlm2vec.index import Index
from vlm2vec.index.search import Hit
from vlm2vec.serve.answers import RefusedError
from vlm2vec.serve.byte_range import UnsatisfiableRangeError, byte_range
from vlm2vec.serve.routes import serving_of
from vlm2vec.serve.routes.search import in_index, index_of
from vlm2vec.serve.stored_file import ATTACHMENT, FileGoneError, StoredFile, media_type, open_below
from vlm2vec.serve.thumbnails import FRAMES, SIZES, Thumbnails

__all__ = ["router"]

router = APIRouter(tags=["search"])


class _RowId(PathConvertor):
    regex = "(?s:.*)"  # names of files may have line breaks, which a path of starlette's does not take


register_url_convertor("row_id", _RowId())

_CHUNK = 256 * 1024
_MAX_WAITING = 256
_SIZE = SIZES[1]
# A browser's viewer of PDFs does not open in a sandbox. It runs apart from pages of this server.
_POLICY = "default-src 'none'; sandbox; frame-ancestors 'none'"
_PDF_POLICY = "frame-ancestors 'none'"


@router.get(
    "/files/{name:row_id}",
    summary="The file of a hit",
    responses={200: {"content": {"*/*": {}}}, 206: {"description": "The range that was asked for"}},
)
async def file(request: Request, name: str) -> Response:
    """The file as it is now, or a range of its bytes. What a browser could run is given to be saved alone."""
    index = index_of(request)
    hit, stored = await in_index(request, lambda: _opened(index, name))
    kind = media_type(stored.path, stored.head)
    headers = {
        "Accept-Ranges": "bytes",
        "ETag": _tag(stored.version),
        "Cache-Control": "private, no-cache",
        "Content-Disposition": _disposition(hit.path or stored.path, shown=kind != ATTACHMENT),
        "Content-Security-Policy": _PDF_POLICY if kind == "application/pdf" else _POLICY,
    }
    if request.headers.get("if-none-match") == headers["ETag"]:
        stored.file.close()
        return Response(status_code=304, headers=headers)
    wanted = request.headers.get("range")
    if request.headers.get("if-range") not in (None, headers["ETag"]):
        wanted = None  # of a content that the file had before
    try:
        span = byte_range(wanted, stored.size)
    except UnsatisfiableRangeError:
        stored.file.close()
        raise RefusedError(
            416, "no_such_range", "the file ends before that range",
            headers={"Content-Range": f"bytes */{stored.size}"},
        ) from None  # fmt: skip
    start, end = span or (0, stored.size)
    if span is not None:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{stored.size}"
    headers["Content-Length"] = str(end - start)
    return _FileResponse(
        stored.file, start, end, status_code=200 if span is None else 206, headers=headers, media_type=kind
    )


def _parameter(name: str, default: int, most: int) -> dict[str, Any]:
    schema = {"type": "integer", "minimum": 1, "maximum": most, "default": default}
    return {"name": name, "in": "query", "required": False, "schema": schema}


@router.get(
    "/thumbnails/{name:row_id}",
    summary="A small picture of a hit",
    responses={200: {"content": {"image/webp": {}}}},
    openapi_extra={"parameters": [_parameter("size", _SIZE, SIZES[-1]), _parameter("frames", 1, FRAMES)]},
)
async def thumbnail(request: Request, name: str) -> Response:
    """The picture, the page, or the moment's first frame, as WebP; with `frames`, an animation of the moment.

    `size` is the longer side in pixels at most.
    """
    index = index_of(request)
    size = _number(request, "size", _SIZE, SIZES[-1])
    frames = _number(request, "frames", 1, FRAMES)
    serving = serving_of(request)
    if serving.drawing.statistics().tasks_waiting >= _MAX_WAITING:
        raise RefusedError(
            429,
            "queue_full",
            "too many thumbnails are asked for",
            fix="Try again.",
            headers={"Retry-After": "1"},
        )
    drawn, version = await in_index(
        request, lambda: _drawn(index, name, serving.thumbnails, size, frames), limiter=serving.drawing
    )
    headers = {"ETag": _tag((version, size, frames)), "Cache-Control": "private, max-age=300"}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return Response(drawn, headers=headers, media_type="image/webp")


class _FileResponse(StreamingResponse):
    """Part of an open file, which is closed with it."""

    def __init__(self, file: BinaryIO, start: int, end: int, **how: Any) -> None:
        super().__init__(_chunks(file, start, end), **how)
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._file.close()


def _chunks(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    file.seek(start)
    left = end - start
    while left and (chunk := file.read(min(left, _CHUNK))):
        left -= len(chunk)
        yield chunk


def _opened(index: Index, name: str) -> tuple[Hit, StoredFile]:
    """The row of an id, and its file.

    Raises:
        RefusedError: 404, with the same words whether there is no such row, no file of it, or none that may
            be opened.
    """
    hit = index.row(name)
    if hit is not None and hit.path is not None:
        try:
            return hit, open_below(hit.path, index.folders.values(), store=index.store)
        except FileGoneError:
            pass
    raise _not_there()


def _drawn(index: Index, name: str, thumbnails: Thumbnails, size: int, frames: int) -> tuple[bytes, Any]:
    hit, stored = _opened(index, name)
    with stored.file:
        try:
            return thumbnails.of(hit, stored, size=size, frames=frames), stored.version
        except FileGoneError:
            raise _not_there() from None
        except VLM2VecError:  # whose text names the place of the file
            raise RefusedError(404, "no_thumbnail", "no picture can be drawn of this file") from None


def _not_there() -> RefusedError:
    return RefusedError(404, "not_found", "the index has no such file, or it is not there any more")


def _number(request: Request, name: str, default: int, most: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 8 and int(text) >= 1):
        raise RefusedError(400, "invalid_input", f"{name} is no whole number above 0", param=name)
    return min(int(text), most)


def _tag(version: Any) -> str:
    return f'"{hashlib.sha256(repr(version).encode()).hexdigest()[:24]}"'


def _disposition(path: Path, *, shown: bool) -> str:
    name = quote(path.name.encode("utf-8", "replace"), safe="")
    return f"{'inline' if shown else 'attachment'}; filename*=UTF-8''{name}"
