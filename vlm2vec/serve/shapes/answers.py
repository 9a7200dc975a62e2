"""Vectors as JSON: lists of numbers, base64, packed bits; and the list that most servers answer with."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from vlm2vec.serve.asked import Embedded

__all__ = ["BASE64", "ENCODINGS", "Encoding", "answer_list", "usage"]

Encoding: TypeAlias = Callable[[npt.NDArray[np.float32]], list[Any]]
"""From `(n, dim)` vectors to `n` values of JSON."""


def _floats(vectors: npt.NDArray[np.float32]) -> list[Any]:
    return list(vectors.tolist())


def _base64(vectors: npt.NDArray[np.float32]) -> list[Any]:
    little = np.ascontiguousarray(vectors, dtype="<f4")
    return [base64.b64encode(vector.tobytes()).decode("ascii") for vector in little]


def _ubinary(vectors: npt.NDArray[np.float32]) -> list[Any]:
    # As sentence-transformers' `quantize_embeddings`: a bit for each component, set above 0, eight to a byte.
    return list(np.packbits(vectors > 0, axis=-1).tolist())


def _binary(vectors: npt.NDArray[np.float32]) -> list[Any]:
    return list((np.packbits(vectors > 0, axis=-1).astype(np.int16) - 128).tolist())


BASE64: Mapping[str, Encoding] = {"float": _floats, "base64": _base64}
"""What openai's `encoding_format` may say."""

ENCODINGS: Mapping[str, Encoding] = {**BASE64, "binary": _binary, "ubinary": _ubinary}


def usage(embedded: Embedded) -> dict[str, int]:
    """Tokens of the inputs, media included."""
    total = sum(embedded.tokens)
    return {"prompt_tokens": total, "total_tokens": total}


def answer_list(embedded: Embedded, model: str, encoding: Encoding) -> dict[str, Any]:
    """The list of vectors that OpenAI answers with.

    Args:
        embedded: What was computed.
        model: The model's name.
        encoding: Of its vectors.
    """
    vectors = encoding(embedded.vectors)
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": vector}
            for index, vector in enumerate(vectors)
        ],
        "model": model,
        "usage": usage(embedded),
    }
