from __future__ import annotations

import base64
import io
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import PIL.Image
import pytest

from vlm2vec.inputs import Text, parse_batch
from vlm2vec.serve.asked import Asked, Embedded


def _saved(kind: str) -> bytes:
    file = io.BytesIO()
    PIL.Image.new("RGB", (6, 4), (200, 30, 30)).save(file, kind)
    return file.getvalue()


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


@pytest.fixture(scope="session")
def media() -> SimpleNamespace:
    """A picture, a PDF and the head of a video: bytes, data-URIs and bare base64."""
    png, pdf = _saved("PNG"), _saved("PDF")
    mp4 = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"
    return SimpleNamespace(
        png=png,
        pdf=pdf,
        mp4=mp4,
        png_uri=_uri("image/png", png),
        pdf_uri=_uri("application/pdf", pdf),
        mp4_uri=_uri("video/mp4", mp4),
        png_base64=base64.b64encode(png).decode(),
        url="https://example.org/cat.jpg",
    )


@pytest.fixture(scope="session")
def held() -> Callable[[Asked], list[list[tuple[str, Any]]]]:
    """What the inputs hold once `encode` has understood them: texts, bytes and URLs of each, in order."""

    def held(asked: Asked) -> list[list[tuple[str, Any]]]:
        inputs = parse_batch(asked.inputs, asked.instruction, allow_urls=True)
        return [[_held(part) for part in one.parts] for one in inputs]

    return held


def _held(part: Any) -> tuple[str, Any]:
    if isinstance(part, Text):
        return "text", part.text
    assert part.content.path is None
    return type(part).__name__.lower(), part.content.data or part.content.url


@pytest.fixture(scope="session")
def computed() -> Callable[..., Embedded]:
    """Vectors as of `n` inputs, of unit length, with 3, 4, 5, ... tokens."""

    def computed(n: int, dim: int = 16) -> Embedded:
        vectors = np.random.default_rng(0).normal(size=(n, dim)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return Embedded(vectors, list(range(3, 3 + n)))

    return computed
