"""`Client`: JSON to and from a server, asked again while it is busy."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from vlm2vec.describe import shorten
from vlm2vec.errors import InputError, VLM2VecError

__all__ = ["Client", "RefusedError", "ServerError"]


class ServerError(VLM2VecError):
    """A server cannot be reached, stays busy, or answers with what is no answer."""


class RefusedError(ServerError):
    """A server says that what it was sent is wrong: one of the samples, or the request."""


_REFUSED = (400, 413, 422)
_BUSY = (429, 502, 503, 504)
_MOST_WAIT = 30.0
_UNREACHED_SECONDS = 10.0
"""How long a server is tried that cannot be reached: who mistyped its name should not wait for minutes."""


class _NoRedirect(HTTPRedirectHandler):
    """A redirect would carry the key to another host, and turn a POST into a GET."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


@dataclass(frozen=True)
class Client:
    """Asks one server, from any number of threads. Proxies are those of the environment.

    Attributes:
        url: What paths are appended to, such as `http://127.0.0.1:8000/v1`.
        api_key: Sent as `Authorization: Bearer KEY`.
        timeout: Seconds without an answer after which a request has failed.
        patience: Seconds that a busy server (429, 502, 503, 504) is asked again for.

    Raises:
        InputError: The URL is none of http or https, or holds a password.
    """

    url: str
    api_key: str | None = field(default=None, repr=False)
    timeout: float = 600.0
    patience: float = 600.0

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
        except ValueError as error:
            raise InputError(f"the URL is malformed ({shorten(str(error))})") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(
                f"{shorten(self.url)} is no http or https URL", fix="Pass one like http://127.0.0.1:8000/v1."
            )
        if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
            raise InputError(
                "the URL holds a user name, a password or a query",
                fix="Leave them out; a key is the api_key.",
            )

    def get(self, path: str) -> Any:
        """The JSON at a path. See `post` for errors."""
        return self._ask(path, None, threading.Event())

    def post(self, path: str, body: Mapping[str, Any], stopping: threading.Event) -> Any:
        """What the server answers to a body.

        Args:
            path: Behind the URL.
            body: What is sent as JSON.
            stopping: Set from another thread, it ends the waiting for a busy server.

        Raises:
            RefusedError: It says that something in the body is wrong.
            ServerError: It cannot be reached, stays busy, refuses the key, has no such path or model, fails,
                or gives no JSON.
        """
        return self._ask(path, json.dumps(body).encode(), stopping)

    def _ask(self, path: str, data: bytes | None, stopping: threading.Event) -> Any:
        start, tries = time.monotonic(), 0
        while True:
            try:
                return self._answer(path, data)
            except _BusyError as error:
                wait = min(2.0**tries, _MOST_WAIT) if error.wait is None else error.wait
                is_over = time.monotonic() + wait - start > min(self.patience, error.patience)
                if is_over or stopping.wait(wait):
                    raise error.meant from None
                tries += 1

    def _answer(self, path: str, data: bytes | None) -> Any:
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if self.api_key:
            headers["Authorization"] = f"Bearer {self.api_key}"
        # `__post_init__` has looked that it is http or https.
        request = Request(self.url.rstrip("/") + path, data=data, headers=headers)  # noqa: S310
        try:
            with build_opener(_NoRedirect).open(request, timeout=self.timeout) as response:
                return json.load(response)
        except HTTPError as error:
            with error:
                raise self._meaning(error) from None
        except (json.JSONDecodeError, UnicodeDecodeError):
            raise ServerError(
                f"{self.url} answers with what is not JSON", fix="Pass the URL that ends in /v1."
            ) from None
        except (URLError, OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            meant = ServerError(
                f"{self.url} cannot be reached ({type(reason).__name__}: {shorten(str(reason), 120)})",
                fix="Check that the server runs, and its URL.",
            )
            if isinstance(reason, ssl.SSLCertVerificationError):
                raise meant from None
            raise _BusyError(meant, patience=_UNREACHED_SECONDS) from None

    def _meaning(self, error: HTTPError) -> Exception:
        said = _message(error)
        cause = f"{self.url} answers {error.code}{f' ({said})' if said else ''}"
        if error.code in _BUSY:
            meant = ServerError(
                cause, fix="Use fewer threads, or wait: the same call with the same output_dir goes on."
            )
            return _BusyError(meant, wait=_retry_after(error.headers.get("Retry-After")))
        if error.code in _REFUSED:
            return RefusedError(cause)
        return ServerError(cause, fix=_FIXES.get(error.code, ""))


_FIXES = {
    401: "Pass its key as api_key.",
    403: "Check the api_key, and the name that the server is called by.",
    404: "Check the URL, which mostly ends in /v1, and the name of the model.",
    405: "Check the URL, which mostly ends in /v1.",
    **dict.fromkeys((301, 302, 303, 307, 308), "It redirects: pass the URL that it leads to."),
}


class _BusyError(Exception):
    """Worth asking again."""

    def __init__(self, meant: ServerError, *, wait: float | None = None, patience: float = 1e9) -> None:
        super().__init__()
        self.meant, self.wait, self.patience = meant, wait, patience


def _retry_after(header: str | None) -> float | None:
    """Seconds to wait; the header has a number of them, or a time (RFC 9110, section 10.2.3)."""
    if header is None:
        return None
    try:
        return max(float(header), 0.0) if header.strip()[:1].isdigit() else _until(header)
    except (ValueError, TypeError):
        return None


def _until(header: str) -> float:
    end = parsedate_to_datetime(header)
    return max((end - datetime.now(end.tzinfo and UTC)).total_seconds(), 0.0)


def _message(error: HTTPError) -> str:
    """What the server says, as OpenAI, vLLM and FastAPI word it, or the begin of whatever it is."""
    try:
        text = error.read(64 * 1024).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        return ""
    try:
        body = json.loads(text)
    except ValueError:
        return shorten(text, 200)
    for key in ("error", "message", "detail"):
        if isinstance(body, dict) and body.get(key):
            body = body[key]
    return shorten(body if isinstance(body, str) else json.dumps(body), 300)
