"""`create_app`: routes, the guards in front of them, and errors in one form."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response

from vlm2vec._version import __version__
from vlm2vec.errors import VLM2VecError
from vlm2vec.serve.answers import RefusedError, code_of, error_answer
from vlm2vec.serve.batcher import Batcher
from vlm2vec.serve.guards import ApiKey, Bounds, HostNames, SafeHeaders, SameOrigin
from vlm2vec.serve.links import Links
from vlm2vec.serve.log import RequestLog, record_of
from vlm2vec.serve.metrics import Metrics
from vlm2vec.serve.openapi import describe
from vlm2vec.serve.routes import embeddings, files, page, search, status
from vlm2vec.serve.routes.page import PAGE_PATHS
from vlm2vec.serve.serving import Serving, model_name
from vlm2vec.serve.settings import ServeSettings
from vlm2vec.serve.thumbnails import Thumbnails

if TYPE_CHECKING:
    from vlm2vec.index import Index
    from vlm2vec.model import VLM2Vec

__all__ = ["OPEN_PATHS", "create_app"]

OPEN_PATHS = frozenset({"/health", "/ready"}) | PAGE_PATHS
"""What needs no key."""

_ROUTERS = (status.router, embeddings.router, search.router, files.router, page.router)

_SAID = {
    404: ("not_found", "there is no such path"),
    405: ("method_not_allowed", "that path has no such method"),
}


def create_app(
    model: VLM2Vec, settings: ServeSettings, index: Index | None = None, *, name: str | None = None
) -> FastAPI:
    """An ASGI application that serves a model, and an index of it.

    Its batcher has begun, and stops with the application's lifespan; without a lifespan, as in tests, call
    `app.state.serving.batcher.stop(0)`.

    Args:
        model: The model.
        settings: Whom to let in, and how much to take; host and port are for who starts the server.
        index: What can be searched.
        name: Of the model, as clients see it; by default its repository, or the last name of its folder.

    Example:
        >>> from vlm2vec import VLM2Vec
        >>> app = create_app(VLM2Vec(), ServeSettings())
        >>> app.state.serving.name
        'vlm2vec'
        >>> app.state.serving.batcher.stop(0)
    """
    metrics = Metrics()
    batcher = Batcher(model, settings, metrics)
    links = Links(signed=settings.api_key is not None)
    routes = [route for router in _ROUTERS for route in router.routes]
    # The first stands outermost.
    guards = [
        Middleware(RequestLog, metrics=metrics, routes=routes),
        Middleware(SafeHeaders),
        Middleware(HostNames, settings=settings),
        *_cors(settings),
        Middleware(SameOrigin, settings=settings),
        Middleware(ApiKey, key=settings.api_key, open_paths=OPEN_PATHS, links=links),
        Middleware(Bounds, settings=settings, held=metrics.body_bytes),
    ]
    app = FastAPI(
        title="vlm2vec",
        version=__version__,
        description="Vectors of texts, pictures, clips and PDF pages.",
        # The pages of documentation load scripts from other hosts.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        middleware=guards,
        exception_handlers=_HANDLERS,
        lifespan=_lifespan,
    )
    thumbnails = Thumbnails(model[0].limits)
    app.state.serving = Serving(
        model, batcher, settings, metrics, links, thumbnails, index, name or model_name(model)
    )
    routes += app.routes  # the one of its description
    for router in _ROUTERS:
        app.include_router(router)
    describe(app, key=settings.api_key is not None)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    serving: Serving = app.state.serving
    await asyncio.to_thread(serving.batcher.stop, serving.settings.stop_seconds)


def _cors(settings: ServeSettings) -> list[Middleware]:
    if not settings.cors_origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=("GET", "POST"),
            allow_headers=("Authorization", "Content-Type", "X-API-Key"),
            expose_headers=("Retry-After",),
        )
    ]


def _told(request: Request, error: VLM2VecError) -> Response:
    record_of(request.scope).error = code_of(error)[1]
    return error_answer(error)


async def _on_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, VLM2VecError)  # noqa: S101 - it is registered for these
    return _told(request, error)


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for these
    status = 400 if error.status_code == 422 else error.status_code
    code, cause = _SAID.get(status, ("invalid_request", str(error.detail).rstrip(".")))
    return _told(request, RefusedError(status, code, cause, headers=error.headers))


async def _on_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - it is registered for these
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:])
    cause = f"{where or 'the request'}: {first['msg']}"
    return _told(request, RefusedError(400, "invalid_request", cause, param=where or None))


_HANDLERS: dict[Any, Any] = {
    VLM2VecError: _on_error,
    HTTPException: _on_http,
    RequestValidationError: _on_validation,
}
