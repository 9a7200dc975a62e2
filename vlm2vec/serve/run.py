"""`bind` and `run`: a socket that a server listens on, and the server until a signal ends it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import ceil
from types import FrameType

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from vlm2vec.errors import InputError
from vlm2vec.serve.settings import ServeSettings

__all__ = ["bind", "run", "url_of"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_BACKLOG = 2048
_KEEP_ALIVE_SECONDS = 15


def bind(settings: ServeSettings) -> socket.socket:
    """A socket at host and port; until it listens, connections are refused.

    Raises:
        InputError: The port is taken or not allowed, or the host is no address of this machine.
    """
    try:
        found = socket.getaddrinfo(
            settings.host.strip("[]"), settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, address = found[0]
        opened = socket.socket(family, kind, protocol)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
    except OSError as error:
        raise InputError(
            f"nothing can listen at {settings.host}, port {settings.port} ({error.strerror or error})",
            fix="Choose another one: --port, where 0 takes a free one, and --host.",
        ) from error
    return opened


def url_of(opened: socket.socket) -> str:
    """What to type into a browser, or give to a client, on this machine."""
    host, port = opened.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def run(app: FastAPI, opened: socket.socket, ready: Callable[[], None]) -> None:
    """Serve until SIGINT or SIGTERM, then finish what was begun; a second signal ends the process at once.

    Args:
        app: From `create_app`.
        opened: From `bind`.
        ready: Is called once requests are answered and signals are waited for.
    """
    settings: ServeSettings = app.state.serving.settings
    config = uvicorn.Config(
        app,
        http=_HeadInTime,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=ceil(settings.stop_seconds),
    )
    _Server(config, ready).run(sockets=[opened])


class _HeadInTime(H11Protocol):
    """Closes a connection over which nothing comes, or the head of a request does not come whole in time.

    uvicorn's own time runs between requests alone, and ends with their first byte.
    """

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._late = self.loop.call_later(self.timeout_keep_alive, transport.close)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._in_time()  # a request is here, whose body has a time of its own
        elif self._late is None:
            self._late = self.loop.call_later(self.timeout_keep_alive, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._in_time()
        super().connection_lost(exc)

    def _in_time(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self.ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:  # type: ignore[override]
        """Unlike uvicorn's, a signal is not raised again after the stop, and any second one ends."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {each: signal.signal(each, self.handle_exit) for each in _SIGNALS}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            # The thread that has the model cannot be interrupted, and nothing is written that could be lost.
            os._exit(128 + sig)
        self.should_exit = True
