"""A search in the index, and what the index is: `POST /v1/search`, `GET /v1/index`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response

from vlm2vec.errors import IndexMismatchError, IndexStoreError, VLM2VecError
from vlm2vec.index import Hit, Index
from vlm2vec.serve.answers import RefusedError, json_answer
from vlm2vec.serve.body import INLINE_BYTES, open_form, read_json
from vlm2vec.serve.filters import condition
from vlm2vec.serve.folders import FolderNames
from vlm2vec.serve.links import Links
from vlm2vec.serve.log import logger, record_of
from vlm2vec.serve.openapi import body_of
from vlm2vec.serve.routes import serving_of
from vlm2vec.serve.shapes.search import (
    FORM_SCHEMA,
    SCHEMA,
    SearchAsked,
    Upload,
    read,
    read_form,
    write_hit,
    write_row,
)

__all__ = ["in_index", "index_of", "router"]

T = TypeVar("T")

router = APIRouter(tags=["search"])

_MAX_FIELDS, _MAX_FILES = 32, 8
_MAX_FOLDERS = 500  # that the page's filter lists
_SAMPLES = 12  # that the page shows at the start
_FRESH_SECONDS = 2.0  # for which what the index holds is not looked at again

_EXAMPLES = {
    "a text": {"query": "a large red ring", "k": 5, "kind": ["image", "video"]},
    "a picture, and words": {
        "query": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,..."}}, "but blue"],
        "under": "photos/2024",
    },
}


def index_of(request: Request) -> Index:
    """What is searched.

    Raises:
        RefusedError: 404, where there is none.
    """
    index = serving_of(request).index
    if index is None:
        raise RefusedError(
            404, "no_index", "this server has no index to search", fix="Start it with one: --index FOLDER."
        )
    return index


async def in_index(
    request: Request, read_it: Callable[[], T], *, limiter: CapacityLimiter | None = None
) -> T:
    """What is read of the index, in a thread; a few of these at a time.

    Args:
        request: The request.
        read_it: Reads it.
        limiter: How many read at a time; by default as many as search.

    Raises:
        RefusedError: 503, where it is damaged, or was made with another model meanwhile.
    """
    try:
        return await to_thread.run_sync(read_it, limiter=limiter or serving_of(request).searching)
    except (IndexStoreError, IndexMismatchError, OSError, RuntimeError) as error:  # the last two: LanceDB's
        logger.error("the index cannot be read: %s", error)  # which names its place
        fix = "Who runs the server finds the reason in its log."
        raise RefusedError(503, "index_unavailable", "the index cannot be read", fix=fix) from error


@router.post(
    "/v1/search",
    summary="What is nearest to a query",
    openapi_extra=body_of({"application/json": SCHEMA, "multipart/form-data": FORM_SCHEMA}, _EXAMPLES),
)
async def search(request: Request) -> Response:
    """Pictures, moments of videos, pages of PDFs and passages of texts, best first.

    The query is a text, a data-URI, a content part, or a list of texts and parts; a form brings it as files,
    with words beside them. `kind`, `under` and `metadata` say what may be found, `per_file` how often one
    file may be. The addresses of files and thumbnails are good for an hour without the key.
    """
    index = index_of(request)
    asked = await _asked(request)
    serving = serving_of(request)
    folders, dimensions, where = await in_index(request, lambda: _prepared(index, asked))
    hits: list[Hit] = []
    tokens = 0
    if dimensions is not None:
        own = min(serving.model.full_width, serving.model.truncate_dim or serving.model.full_width)
        wanted = asked.query if dimensions == own else replace(asked.query, dimensions=dimensions)
        try:
            embedded = await serving.batcher.embed(wanted)
        except VLM2VecError as error:
            error.index = None  # there is one query, and no list of inputs
            raise
        tokens = sum(embedded.tokens)
        record = record_of(request.scope)
        record.inputs, record.tokens = 1, tokens
        hits = await in_index(
            request,
            lambda: index.search_vector(embedded.vectors[0], asked.k, where=where, per_file=asked.per_file),
        )
    return json_answer(
        {
            "object": "list",
            "model": serving.name,
            "data": [
                write_hit(rank, hit, folders.of(hit), serving.links.sign)
                for rank, hit in enumerate(hits, start=1)
            ],
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
    )


@router.get("/v1/index", summary="What the index holds")
async def index(request: Request) -> Response:
    """Its name, model, rows, files by kind and by folder, and up to twelve of the files as samples.

    Of places on the server it tells nothing but names.
    """
    of = index_of(request)
    state = request.app.state
    known = getattr(state, "holds", None)
    if known is None or time.monotonic() - known[0] > _FRESH_SECONDS:
        known = time.monotonic(), await in_index(request, lambda: _holds(of, serving_of(request).links))
        state.holds = known
    return json_answer({"object": "index", "model": serving_of(request).name, **known[1]})


async def _asked(request: Request) -> SearchAsked:
    """What is asked for; a large body is read in a thread, so that other requests go on meanwhile."""
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        body = await read_json(request)
        small = record_of(request.scope).body_bytes <= INLINE_BYTES
        return read(body) if small else await to_thread.run_sync(read, body)
    async with open_form(request, max_files=_MAX_FILES, max_fields=_MAX_FIELDS) as form:
        fields: list[tuple[str, str]] = []
        uploads: list[Upload] = []
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                uploads.append(Upload(value.filename or "", await value.read()))
            else:
                fields.append((name, value))
    return read_form(fields, uploads)


def _prepared(index: Index, asked: SearchAsked) -> tuple[FolderNames, int | None, str | None]:
    """Names of folders, the components of a vector, `None` where there are no rows, and the condition."""
    folders = FolderNames(index.folders)
    rows = len(index)
    where = condition(asked, folders, index.metadata_types if rows else {})
    return folders, index.dimensions if rows else None, where


def _holds(index: Index, links: Links) -> dict[str, Any]:
    folders = FolderNames(index.folders)
    store = index.store
    about = {"name": store.parent.name if store.name.startswith(".") else store.name, "rows": len(index)}
    if not about["rows"]:
        return {
            **about,
            "files": {},
            "failures": 0,
            "dimensions": None,
            "folders": [],
            "metadata": {},
            "samples": [],
        }
    stats = index.stats()
    inner = index.subfolders()
    listed: list[dict[str, Any]] = []
    for number, name in folders.names.items():
        below = {folder: count for (root, folder), count in inner.items() if root == number}
        listed.append({"name": name, "files": sum(below.values())})
        listed += [{"name": f"{name}/{folder}", "files": count} for folder, count in below.items() if folder]
    return {
        **about,
        "files": dict(stats.files),
        "failures": stats.failures,
        "dimensions": stats.dimensions,
        "folders": listed[:_MAX_FOLDERS],
        "metadata": {name: kind.__name__ for name, kind in index.metadata_types.items()},
        "samples": [write_row(hit, folders.of(hit), links.sign) for hit in index.first(_SAMPLES)],
    }
