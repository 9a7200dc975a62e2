"""One line of log a request, in JSON or as text: never what was sent, never the key, and no one's address."""

from __future__ import annotations

import ipaddress
import json
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from traceback import extract_tb
from typing import Any, Literal

from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vlm2vec.serve.answers import RefusedError, error_answer
from vlm2vec.serve.metrics import Metrics

__all__ = ["LogFormat", "Record", "RequestLog", "log_to_stderr", "logger", "network_of", "record_of"]

LogFormat = Literal["text", "json"]

logger = logging.getLogger("vlm2vec.serve")

_RECORD = "vlm2vec.record"
_GONE = 499  # the client went away before the answer; no status of HTTP, but what other servers log
_MOST_FRAMES = 5


@dataclass
class Record:
    """What is logged and counted of a request, filled in while it is answered.

    Attributes:
        inputs: That were embedded.
        tokens: Of these, media included.
        error: What went wrong, in a word.
        body_bytes: Of the body.
    """

    inputs: int = 0
    tokens: int = 0
    error: str | None = None
    body_bytes: int = 0


def record_of(scope: Scope) -> Record:
    """That of the request."""
    record: Record = scope.setdefault(_RECORD, Record())
    return record


class RequestLog:
    """Logs and counts each request; a fault of the server itself becomes a 500 that says nothing more.

    Args:
        app: What answers.
        metrics: That count.
        routes: Of which a request is one, even where a guard refuses it before.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics, routes: Sequence[BaseRoute] = ()) -> None:
        self.app = app
        self.metrics = metrics
        self.routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and log what became of it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        record, start, status = record_of(scope), time.perf_counter(), _GONE

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, sent)
        except Exception as error:
            # The text of an error may hold what was sent: its kind and its place alone are logged.
            frames = [f"{frame.filename}:{frame.lineno}" for frame in extract_tb(error.__traceback__)]
            fields = {"kind": type(error).__name__, "at": frames[-_MOST_FRAMES:]}
            logger.error("failure", extra={"fields": fields})  # noqa: TRY400 - that would log the text
            record.error = "internal_error"
            if status != _GONE:
                raise  # half an answer is out: the connection is cut
            failure = RefusedError(500, "internal_error", "the server failed", fix="Its log says where.")
            await error_answer(failure)(scope, receive, sent)
        finally:
            self._done(scope, record, status, time.perf_counter() - start)

    def _done(self, scope: Scope, record: Record, status: int, seconds: float) -> None:
        route = self._route(scope)
        counted = {"inputs": record.inputs, "tokens": record.tokens, "error": record.error}
        self.metrics.request(route, status, seconds=seconds, **counted)  # type: ignore[arg-type]
        said = {
            "method": scope["method"] if scope["method"] in ("GET", "HEAD", "POST", "OPTIONS") else "other",
            "route": route,
            "status": status,
            "ms": round(1000 * seconds, 1),
            **counted,
            "client": network_of((scope.get("client") or ("",))[0]),
        }
        logger.info("request", extra={"fields": {name: value for name, value in said.items() if value}})

    def _route(self, scope: Scope) -> str:
        """The pattern of the path: one of a fixed set, or "unmatched"."""
        route = scope.get("route")
        if route is None:
            route = next((each for each in self.routes if each.matches(scope)[0] is not Match.NONE), None)
        return str(getattr(route, "path", "unmatched"))


def network_of(address: str) -> str:
    """The network that an address is in, which is no single person's: 256 addresses, or a site's.

    Example:
        >>> network_of("192.168.1.77"), network_of("2001:db8:1:2::3"), network_of("")
        ('192.168.1.0/24', '2001:db8:1::/48', '')
    """
    try:
        bits = 24 if ipaddress.ip_address(address).version == 4 else 48
        return str(ipaddress.ip_network(f"{address}/{bits}", strict=False))
    except ValueError:
        return ""


@contextmanager
def log_to_stderr(form: LogFormat) -> Iterator[None]:
    """Meanwhile the lines of the server, and warnings of uvicorn, go to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_FORMATTERS[form]())
    loggers = {
        "vlm2vec.serve": logging.INFO,
        "uvicorn.error": logging.WARNING,
        "python_multipart": logging.ERROR,  # a broken form is the client's, and has a line of ours
    }
    kept = {name: (logging.getLogger(name).level, logging.getLogger(name).propagate) for name in loggers}
    for name, level in loggers.items():
        each = logging.getLogger(name)
        each.addHandler(handler)
        each.setLevel(level)
        each.propagate = False
    try:
        yield
    finally:
        for name, (level, propagate) in kept.items():
            each = logging.getLogger(name)
            each.removeHandler(handler)
            each.setLevel(level)
            each.propagate = propagate


class _JSONLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {
            "time": when,
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["kind"] = record.exc_info[0].__name__
        return json.dumps(line)


class _TextLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = dict(getattr(record, "fields", {}))
        when = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        if record.exc_info and record.exc_info[0] is not None:
            fields["kind"] = record.exc_info[0].__name__
        words = [f"{name}={value}" for name, value in fields.items()]
        return " ".join([when, record.getMessage(), *words])


_FORMATTERS: dict[LogFormat, type[logging.Formatter]] = {"text": _TextLines, "json": _JSONLines}
