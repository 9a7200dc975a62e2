"""The body of a request: JSON that is neither too deep nor of too many values, or a form with files."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import accumulate
from typing import Any

from starlette.datastructures import FormData
from starlette.requests import Request

from vlm2vec.serve.answers import RefusedError

__all__ = ["INLINE_BYTES", "MAX_DEPTH", "MAX_VALUES", "open_form", "parse_json", "read_json"]

MAX_DEPTH = 64
"""Lists and objects within one another."""

MAX_VALUES = 1_000_000
"""Of a body: an empty list is 3 bytes of a request and 64 of memory."""

INLINE_BYTES = 64 * 1024
"""A larger body is read in a thread, so that other requests go on meanwhile."""

# A string that does not end reaches to the end, and nothing is tried twice: the time is linear in the bytes.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_TO_BRACKETS = bytes(each for each in range(256) if each not in b"[]{}")
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_JSON = re.compile(
    r"application/(?:json|[a-z0-9.-]+\+json)\s*(?:;\s*charset\s*=\s*\"?utf-?8\"?\s*)?", re.IGNORECASE
)


async def read_json(request: Request) -> dict[str, Any]:
    """The object that a request brings.

    Raises:
        RefusedError: 415, where it is not said to be JSON: a page of another site could send the rest without
            being asked whether it may; 400, where it is not a JSON object of a sound form.
    """
    kinds = request.headers.getlist("content-type")
    if len(kinds) != 1 or not _JSON.fullmatch(kinds[0].strip()):
        raise RefusedError(
            415,
            "unsupported_media_type",
            "the body is not said to be JSON in UTF-8",
            fix="Send the header Content-Type: application/json, once.",
        )
    body = b"".join([chunk async for chunk in request.stream()])
    if len(body) > INLINE_BYTES:
        return await asyncio.to_thread(parse_json, body)
    return parse_json(body)


@asynccontextmanager
async def open_form(request: Request, *, max_files: int, max_fields: int) -> AsyncIterator[FormData]:
    """The fields and files of a form that a request brings; the files are gone at the end.

    Args:
        request: The request.
        max_files: That it may bring.
        max_fields: The same, beside files.

    Raises:
        RefusedError: 415, where it is not said to be a form with files; 400, where it is none.
    """
    kinds = request.headers.getlist("content-type")
    if len(kinds) != 1 or kinds[0].partition(";")[0].strip().lower() != "multipart/form-data":
        raise RefusedError(
            415,
            "unsupported_media_type",
            "the body is not said to be a form",
            fix="Send one header Content-Type: multipart/form-data, as curl -F does.",
        )
    try:
        form = await request.form(max_files=max_files, max_fields=max_fields)
    except (ValueError, LookupError):  # of python-multipart, and of encodings that do not exist
        raise RefusedError(400, "invalid_form", "the body is not the form that it is said to be") from None
    try:
        yield form
    finally:
        await form.close()


def parse_json(body: bytes) -> dict[str, Any]:
    """The same of its bytes.

    Example:
        >>> parse_json(b'{"input": "a red circle"}')
        {'input': 'a red circle'}
        >>> parse_json(b"[" * 100)
        Traceback (most recent call last):
        vlm2vec.serve.answers.RefusedError: the body has over 64 lists and objects within one another...
    """
    _check_structure(body)
    try:
        content = json.loads(body.decode("utf-8"), parse_constant=_no_number)
    except (
        ValueError,
        RecursionError,
    ) as error:  # broken JSON, other encodings, whole numbers of 4,301 digits
        where = (
            f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        )
        raise _invalid(f"the body is not JSON in UTF-8{where}") from None
    if not isinstance(content, dict):
        raise _invalid("the body is no JSON object", fix='Send one, such as {"input": "a red circle"}.')
    return content


def _check_structure(body: bytes) -> None:
    bare = _STRING.sub(b"", body)
    brackets = bare.translate(None, delete=_TO_BRACKETS)
    if bare.count(b",") + len(brackets) > MAX_VALUES:
        raise _invalid(f"the body has over {MAX_VALUES:,} values", fix="Send several requests.")
    if len(brackets) > MAX_DEPTH and max(accumulate(map(_STEP.__getitem__, brackets))) > MAX_DEPTH:
        raise _invalid(f"the body has over {MAX_DEPTH} lists and objects within one another")


def _no_number(name: str) -> Any:
    raise ValueError(name)


def _invalid(cause: str, *, fix: str = "") -> RefusedError:
    return RefusedError(400, "invalid_json", cause, fix=fix)
