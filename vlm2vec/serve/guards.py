"""What stands in front of every route: host names, pages of other sites, the key, sizes and times.

Each is a plain ASGI middleware, and knows nothing of routes.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import socket
from collections.abc import Callable, Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vlm2vec.errors import VLM2VecError
from vlm2vec.serve.answers import RefusedError, code_of, error_answer
from vlm2vec.serve.links import Links
from vlm2vec.serve.log import record_of
from vlm2vec.serve.settings import ServeSettings

__all__ = ["BODIES_AT_ONCE", "ApiKey", "Bounds", "HostNames", "SafeHeaders", "SameOrigin"]

BODIES_AT_ONCE = 4
"""So many bodies of the greatest size are in memory at once; requests beyond are answered 429."""

_LOCAL = frozenset({"localhost", "127.0.0.1", "[::1]"})
_READING = frozenset({"GET", "HEAD", "OPTIONS"})

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}


async def _refuse(error: VLM2VecError, scope: Scope, receive: Receive, send: Send) -> None:
    record_of(scope).error = code_of(error)[1]
    await error_answer(error)(scope, receive, send)


class SafeHeaders:
    """Headers that keep browsers from guessing, embedding and telling; a route's own stand."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and add to its answer."""

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, sent if scope["type"] == "http" else send)


class HostNames:
    """The server answers to its own names alone, so that no page can rebind a name to this machine and ask.

    A server that listens on all addresses answers to any address and its machine's name as well: only foreign
    names are rebound.
    """

    def __init__(self, app: ASGIApp, *, settings: ServeSettings) -> None:
        self.app = app
        host = settings.host.lower()
        own = f"[{host}]" if ":" in host and not host.startswith("[") else host
        self.names = _LOCAL | {own} | {name.lower() for name in settings.allowed_hosts}
        self.any_address = _is_unspecified(host)
        if self.any_address:
            self.names |= {name for name in (socket.gethostname().lower(),) if name}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http" or self._is_ours(Headers(scope=scope).getlist("host")):
            await self.app(scope, receive, send)
            return
        refusal = RefusedError(
            403,
            "unknown_host",
            "this server is not known by the name of the Host header",
            fix="Who runs it can add the name: --allowed-host NAME.",
        )
        await _refuse(refusal, scope, receive, send)

    def _is_ours(self, hosts: list[str]) -> bool:
        if len(hosts) != 1:
            return False
        name, port = _split_port(hosts[0].lower())
        if port and not port.isdecimal():
            return False
        return name in self.names or (self.any_address and _is_address(name))


class SameOrigin:
    """A page of another site changes and asks nothing here, unless its origin is one of those allowed.

    Programs other than browsers send neither of the two headers that are looked at.
    """

    def __init__(self, app: ASGIApp, *, settings: ServeSettings) -> None:
        self.app = app
        self.origins = frozenset(settings.cors_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http" or scope["method"] in _READING or self._is_same(Headers(scope=scope)):
            await self.app(scope, receive, send)
            return
        refusal = RefusedError(
            403,
            "other_origin",
            "a page of another site asks",
            fix="Who runs the server can allow it: --cors-origin ORIGIN.",
        )
        await _refuse(refusal, scope, receive, send)

    def _is_same(self, headers: Headers) -> bool:
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        if origin is not None and origin in self.origins:
            return True
        if site is not None:
            return site in ("same-origin", "none")
        return origin is None or origin.partition("://")[2] == headers.get("host")


class ApiKey:
    """Who has no key, or a wrong one, gets the same answer for every path that is not open to all.

    Args:
        app: What answers.
        key: The key; `None` lets everyone in.
        open_paths: What needs none: the page before the key is typed in, and the health of the server.
        links: What it has signed needs none either.
    """

    def __init__(
        self, app: ASGIApp, *, key: str | None, open_paths: Collection[str], links: Links | None = None
    ) -> None:
        self.app = app
        self.links = links
        self.digest = None if key is None else _digest(key)
        self.open_paths = frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http" or self.digest is None or self._is_open(scope):
            await self.app(scope, receive, send)
            return
        # Digests are of one length, and all that were sent are compared: the time tells nothing.
        given = _keys(Headers(scope=scope)) or [""]
        right = [hmac.compare_digest(_digest(key), self.digest) for key in given]
        if any(right):
            await self.app(scope, receive, send)
            return
        refusal = RefusedError(
            401,
            "invalid_api_key",
            "the API key is missing or wrong",
            fix="Send the header Authorization: Bearer KEY.",
            headers={"WWW-Authenticate": "Bearer"},
        )
        await _refuse(refusal, scope, receive, send)

    def _is_open(self, scope: Scope) -> bool:
        if scope["method"] not in ("GET", "HEAD"):
            return False
        query = scope["query_string"].decode("latin-1")
        return scope["path"] in self.open_paths or (
            self.links is not None and self.links.is_good(scope["path"], query)
        )


class Bounds:
    """Bodies of a bounded size, within a bounded time, and so many at once; an answer within a bounded time.

    A body is read whole before the route is called. `BODIES_AT_ONCE` times the greatest size is the most that
    all open requests hold: 256 MB by default, of which text and media read from them take about three times
    as much for a moment. What comes beyond that is answered 429, before it is read. A client that goes away
    ends its request.

    Args:
        app: What answers.
        settings: Of the server.
        held: Is told how many bytes of bodies are in memory.
    """

    def __init__(self, app: ASGIApp, *, settings: ServeSettings, held: Callable[[int], None]) -> None:
        self.app = app
        self.settings = settings
        self.held = held
        self.most = BODIES_AT_ONCE * settings.max_request_bytes
        self.held_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = _Bounded(self, scope, receive, send)
        try:
            await request.run()
        except RefusedError as refusal:
            await _refuse(refusal, scope, receive, send)
        finally:
            self.take(-request.size)

    def take(self, size: int) -> None:
        """Count bytes of a body that came, or, less than 0, that are given up."""
        self.held_bytes += size
        self.held(self.held_bytes)


class _Bounded:
    """One request within the bounds."""

    def __init__(self, bounds: Bounds, scope: Scope, receive: Receive, send: Send) -> None:
        self.bounds, self.scope, self.receive, self.send = bounds, scope, receive, send
        self.deadline = asyncio.get_running_loop().time() + bounds.settings.request_seconds
        self.size = 0
        self.started = self.complete = self.gone = False

    async def run(self) -> None:
        """Read the body, and let the rest of the server answer.

        Raises:
            RefusedError: The body is too large, too slow, or in no form that is read; or the answer is not
                there in time.
        """
        self._check_headers()
        seconds = self.bounds.settings.body_seconds
        try:
            async with asyncio.timeout(seconds):
                body = await self._body()
        except TimeoutError:
            raise _closing(
                408, "body_too_slow", f"the body has not come within {seconds:g} seconds"
            ) from None
        if body is not None:
            await self._answer(body)

    def _check_headers(self) -> None:
        headers = Headers(scope=self.scope)
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise _closing(415, "unsupported_encoding", "the body is compressed", fix="Send it as it is.")
        lengths = headers.getlist("content-length")
        if not lengths:
            return
        if len(lengths) > 1 or not (lengths[0].isascii() and lengths[0].isdecimal()):
            raise _closing(400, "invalid_length", "the header Content-Length is no number")
        # Compared as text first: thousands of digits are no number that can be read.
        digits = lengths[0].lstrip("0")
        if len(digits) > 18 or int(digits or 0) > self.bounds.settings.max_request_bytes:
            raise self._too_large()
        self._check_room(int(digits or 0))

    async def _body(self) -> bytes | None:
        """`None` where the client went away."""
        chunks: list[bytes] = []
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                return None
            chunk = message.get("body", b"")
            self._check_room(len(chunk))
            self.size += len(chunk)
            self.bounds.take(len(chunk))
            if self.size > self.bounds.settings.max_request_bytes:
                raise self._too_large()
            if chunk:
                chunks.append(chunk)
            if not message.get("more_body", False):
                record_of(self.scope).body_bytes = self.size
                return b"".join(chunks)

    async def _answer(self, body: bytes) -> None:
        """The rest of the server, ended where it takes too long to begin, or where the client goes away."""
        first: Message | None = {"type": "http.request", "body": body, "more_body": False}
        del body
        watch = asyncio.ensure_future(self.receive())
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for the type checker: a coroutine runs in a task

        def leave(_: object) -> None:
            if not self.complete:
                self.gone = True
                task.cancel()

        async def next_message() -> Message:
            nonlocal first
            if first is not None:
                message, first = first, None
                return message
            return await asyncio.shield(watch)

        limit = asyncio.timeout_at(self.deadline)

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.started = True
                if not limit.expired():
                    limit.reschedule(None)
            elif not message.get("more_body", False):
                self.complete = True
            await self.send(message)

        watch.add_done_callback(leave)
        try:
            async with limit:
                await self.bounds.app(self.scope, next_message, sent)
        except TimeoutError:
            if self.started or not limit.expired():
                raise
            seconds = self.bounds.settings.request_seconds
            raise _closing(504, "too_slow", f"there is no answer within {seconds:g} seconds") from None
        except asyncio.CancelledError:
            if not self.gone:
                raise
            task.uncancel()
        finally:
            watch.remove_done_callback(leave)
            watch.cancel()

    def _too_large(self) -> RefusedError:
        most = self.bounds.settings.max_request_bytes
        fix = "Send several requests; who runs the server can raise --max-request-mb."
        return _closing(413, "request_too_large", f"the body has over {most:,} bytes", fix=fix)

    def _check_room(self, size: int) -> None:
        if self.bounds.held_bytes + size > self.bounds.most:
            raise _closing(
                429,
                "too_many_bodies",
                "the server holds as many bodies of requests as it may",
                fix="Try again.",
                headers={"Retry-After": "1"},
            )


def _closing(
    status: int, code: str, cause: str, *, fix: str = "", headers: dict[str, str] | None = None
) -> RefusedError:
    """The connection ends with the answer: what is left of the body is not waited for."""
    return RefusedError(status, code, cause, fix=fix, headers={**(headers or {}), "Connection": "close"})


def _keys(headers: Headers) -> list[str]:
    bearers = [value.partition(" ") for value in headers.getlist("authorization")]
    keys = [key.strip() for scheme, _, key in bearers if scheme.lower() == "bearer"]
    return [*keys, *headers.getlist("x-api-key")]


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8")).digest()


def _split_port(host: str) -> tuple[str, str]:
    """Name and port of a Host header; brackets stay around addresses of IPv6."""
    if host.startswith("["):
        name, bracket, rest = host.partition("]")
        return name + bracket, rest.removeprefix(":") if rest.startswith(":") else rest
    name, _, port = host.partition(":")
    return name, port


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _is_unspecified(host: str) -> bool:
    return _is_address(host) and ipaddress.ip_address(host.strip("[]")).is_unspecified
