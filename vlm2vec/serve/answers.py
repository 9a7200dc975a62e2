"""Answers in JSON, and what a client is told when something is wrong, in the form that OpenAI's clients read.

{"error": {"message": ..., "type": ..., "param": ..., "code": ..., "index": ...}}
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from math import ceil
from typing import Any

from starlette.responses import Response

from vlm2vec.errors import (
    CheckpointError,
    ContextLengthError,
    IndexMismatchError,
    IndexStoreError,
    InputError,
    LimitError,
    MediaError,
    VLM2VecError,
)
from vlm2vec.serve.errors import QueueFullError, StoppedError

__all__ = ["RefusedError", "code_of", "error_answer", "fix_for_clients", "json_answer", "json_bytes"]


class RefusedError(VLM2VecError):
    """A request is refused for what it is, rather than for one of its inputs.

    Args:
        status: Of HTTP.
        code: A word for programs.
        cause: What was wrong, as a sentence without a full stop.
        fix: What to change.
        param: The field of the request that is at fault.
        headers: Of the answer.
    """

    def __init__(
        self,
        status: int,
        code: str,
        cause: str,
        *,
        fix: str = "",
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(cause, fix=fix)
        self.status = status
        self.code = code
        self.param = param
        self.headers = dict(headers or {})


_AS_DATA = "Send the content as a data-URI."

# The first that fits is taken. What is not the server's own fault is the client's: 400.
_STATUS: tuple[tuple[type[VLM2VecError], int, str], ...] = (
    (QueueFullError, 429, "queue_full"),
    (StoppedError, 503, "stopping"),
    (IndexMismatchError, 503, "index_unavailable"),
    (IndexStoreError, 503, "index_unavailable"),
    (CheckpointError, 503, "model_unavailable"),
    (ContextLengthError, 400, "context_length_exceeded"),
    (LimitError, 400, "limit_exceeded"),
    (MediaError, 400, "invalid_media"),
    (VLM2VecError, 400, "invalid_input"),
)

# What an error of the package tells who writes Python, and what it tells a client instead. The first is taken
# whose class fits and whose words are in the fix.
_FIXES: tuple[tuple[type[VLM2VecError], str, str], ...] = (
    (ContextLengthError, "encode(", "Shorten the text, or give fewer pages, frames or max_pixels."),
    (InputError, "allow_urls=", f"{_AS_DATA} Who runs the server can let it fetch URLs: --allow-urls."),
    (VLM2VecError, "Download it", _AS_DATA),
    (MediaError, "Pass its password", 'Send it without one, or with "password" beside the file.'),
    (LimitError, "Pass a path", "Send a smaller one."),
    (LimitError, "PIL.", "Make it smaller."),
    (LimitError, "pdf_pages(", 'Say which with "pages": "1-8", or send each page as an input of its own.'),
)
_LIMIT = re.compile(r"\bLimits\.(\w+)")

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "server_error",
    504: "server_error",
}


def json_bytes(content: Any) -> bytes:
    """JSON in ASCII: text of clients may hold halves of characters, which UTF-8 cannot."""
    return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


def json_answer(content: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """The answer to a request."""
    return Response(
        content if isinstance(content, bytes) else json_bytes(content),
        status_code=status,
        headers=dict(headers or {}),
        media_type="application/json",
    )


def code_of(error: VLM2VecError) -> tuple[int, str]:
    """Status of HTTP, and a word for programs.

    Example:
        >>> code_of(LimitError("the image has 10 gigapixels"))
        (400, 'limit_exceeded')
    """
    if isinstance(error, RefusedError):
        return error.status, error.code
    return next((status, code) for kind, status, code in _STATUS if isinstance(error, kind))


def fix_for_clients(error: VLM2VecError) -> str:
    """What to change, for who sends requests: no arguments of Python, and limits as the server's options.

    Example:
        >>> fix_for_clients(LimitError("it is large", fix="Crop it, or raise Limits.max_image_pixels."))
        "Crop it, or raise the server's --max-image-pixels."
    """
    for kind, words, fix in _FIXES:
        if isinstance(error, kind) and words in error.fix:
            return fix
    return _LIMIT.sub(lambda found: f"the server's --{found[1].replace('_', '-')}", error.fix)


def error_answer(error: VLM2VecError) -> Response:
    """The answer to a request that cannot be fulfilled."""
    status, code = code_of(error)
    error.fix = fix_for_clients(error)
    headers: dict[str, str] = {}
    if isinstance(error, RefusedError):
        headers = error.headers
    if isinstance(error, QueueFullError):
        headers = {"Retry-After": str(max(1, ceil(error.retry_after)))}
    told = {
        "message": str(error),
        "type": _TYPES.get(status, "invalid_request_error"),
        "param": getattr(error, "param", None if error.index is None else "input"),
        "code": code,
        "index": error.index,
    }
    return json_answer({"error": told}, status=status, headers=headers)
