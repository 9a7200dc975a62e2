"""How the server is: `/health`, `/ready`, `/metrics`, and which models it has."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from vlm2vec.serve.answers import RefusedError, json_answer
from vlm2vec.serve.metrics import CONTENT_TYPE_LATEST
from vlm2vec.serve.routes import serving_of
from vlm2vec.serve.serving import Serving

__all__ = ["router"]

router = APIRouter(tags=["status"])

_OPEN: dict[str, Any] = {"security": []}  # in the description of the API: it needs no key


@router.head("/health", include_in_schema=False)
@router.get("/health", summary="Whether the server can embed", openapi_extra=_OPEN)
async def health(request: Request) -> Response:
    """200 while the thread that has the model is alive, 503 when it has died: restart the server then."""
    if not serving_of(request).batcher.is_alive:
        raise RefusedError(503, "model_thread_died", "the thread that has the model has ended")
    return json_answer({"status": "ok"})


@router.head("/ready", include_in_schema=False)
@router.get("/ready", summary="Whether more requests can be taken", openapi_extra=_OPEN)
async def ready(request: Request) -> Response:
    """200 while requests would be taken, 503 while the queue is full or the server cannot embed."""
    await health(request)
    serving = serving_of(request)
    if serving.batcher.waiting >= serving.settings.max_waiting:
        raise RefusedError(503, "queue_full", "the queue is full", headers={"Retry-After": "1"})
    return json_answer({"status": "ok", "waiting": serving.batcher.waiting})


@router.get("/metrics", summary="Counters for Prometheus")
async def metrics(request: Request) -> Response:
    """Requests, inputs, tokens, the queue, batches, latencies and errors by kind."""
    return Response(serving_of(request).metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})


@router.get("/v1/models", summary="Models")
async def models(request: Request) -> Response:
    """The one model that is served, as OpenAI's clients list them."""
    return json_answer({"object": "list", "data": [_described(serving_of(request))]})


@router.get("/v1/models/{name:path}", summary="A model")
async def model(request: Request, name: str) -> Response:
    """The one of that name."""
    serving = serving_of(request)
    if name != serving.name:
        raise RefusedError(404, "model_not_found", "there is no such model", fix="GET /v1/models names it.")
    return json_answer(_described(serving))


def _described(serving: Serving) -> dict[str, Any]:
    model = serving.model
    return {
        "id": serving.name,
        "object": "model",
        "created": 0,
        "owned_by": "vlm2vec",
        "dimensions": min(model.full_width, model.truncate_dim or model.full_width),
        "profile": model.profile.name,
    }
