"""Applications to ask without a network, and a batcher whose speed and health a test decides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx
import numpy as np
from fastapi import FastAPI

from vlm2vec import VLM2Vec
from vlm2vec.serve.app import create_app
from vlm2vec.serve.asked import Asked, Embedded
from vlm2vec.serve.settings import ServeSettings

HOST = "http://127.0.0.1:8000"
ROUTE = "/v1/embeddings"


@dataclass
class FakeBatcher:
    """Gives each input the same vector, after some seconds, or the error that it is told to."""

    seconds: float = 0.0
    error: Exception | None = None
    is_alive: bool = True
    waiting: int = 0
    began: int = 0
    finished: int = 0

    async def embed(self, asked: Asked) -> Embedded:
        self.began += 1
        await asyncio.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        self.finished += 1
        vector = np.array([0.6, 0.8], np.float32)
        return Embedded(np.stack([vector] * len(asked.inputs)), [5] * len(asked.inputs))

    def stop(self, seconds: float) -> None:
        self.is_alive = False


@contextmanager
def application(model: VLM2Vec, batcher: FakeBatcher | None = None, **settings: Any) -> Iterator[FastAPI]:
    """An application, with the true batcher or another one."""
    app = create_app(model, ServeSettings(**settings))
    own = app.state.serving.batcher
    try:
        if batcher is not None:
            app.state.serving = replace(app.state.serving, batcher=batcher)
        yield app
    finally:
        own.stop(0)


def client(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HOST, timeout=30)


def ask(app: FastAPI, method: str, path: str, **request: Any) -> httpx.Response:
    """The answer to one request."""

    async def asked() -> httpx.Response:
        async with client(app) as one:
            return await one.request(method, path, **request)

    return asyncio.run(asked())


def post(app: FastAPI, content: Any, **headers: str) -> httpx.Response:
    """The answer to a body of bytes that is said to be JSON."""
    return ask(app, "POST", ROUTE, content=content, headers={"Content-Type": "application/json", **headers})


def told(answer: httpx.Response) -> dict[str, Any]:
    """What is wrong, of an answer in OpenAI's form."""
    content = answer.json()
    assert set(content) == {"error"}
    assert set(content["error"]) == {"message", "type", "param", "code", "index"}
    error: dict[str, Any] = content["error"]
    return error


async def pieces(*chunks: bytes, pause: float = 0.0) -> AsyncIterator[bytes]:
    """A body that comes piece by piece."""
    for chunk in chunks:
        yield chunk
        await asyncio.sleep(pause)
