"""Applications with an index, and what they are asked."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from fastapi import FastAPI
from serving_cases import ask

from vlm2vec import Index, VLM2Vec
from vlm2vec.serve.app import create_app
from vlm2vec.serve.settings import ServeSettings


@contextmanager
def searching(model: VLM2Vec, index: Index | None, **settings: Any) -> Iterator[FastAPI]:
    """An application with an index, or with none."""
    app = create_app(model, ServeSettings(**settings), index)
    try:
        yield app
    finally:
        app.state.serving.batcher.stop(0)


def search(app: FastAPI, query: Any, **beside: Any) -> httpx.Response:
    """The answer to a search in JSON."""
    return ask(app, "POST", "/v1/search", json={"query": query, **beside})


def found(app: FastAPI, query: Any, **beside: Any) -> list[dict[str, Any]]:
    """Its hits."""
    answer = search(app, query, **beside)
    assert answer.status_code == 200, answer.text
    hits: list[dict[str, Any]] = answer.json()["data"]
    return hits


def data_uri(path: Path, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def get(app: FastAPI, route: str, name: str, **headers: str) -> httpx.Response:
    """The file or thumbnail of a row."""
    return ask(app, "GET", f"/{route}/{quote(name, safe='')}", headers=headers)
