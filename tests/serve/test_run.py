"""Connections over which no request comes are closed, however slowly their bytes come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from vlm2vec.serve.run import _HeadInTime, bind
from vlm2vec.serve.settings import ServeSettings

HEAD = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"


async def refusing(scope: Any, receive: Any, send: Any) -> None:
    """Answers before the body has come, as where the key is wrong."""
    await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to a server that waits a second for the head of a request."""
    opened = bind(ServeSettings(port=0))
    config = uvicorn.Config(
        refusing,
        http=_HeadInTime,
        lifespan="off",
        log_config=None,
        timeout_keep_alive=1,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    task = asyncio.ensure_future(server.serve(sockets=[opened]))
    while not server.started:
        await asyncio.sleep(0.01)
    reader, writer = await asyncio.open_connection(*opened.getsockname())
    try:
        yield reader, writer
    finally:
        writer.close()
        server.should_exit = True
        await task


async def trickle(writer: asyncio.StreamWriter, byte: bytes) -> None:
    while True:
        writer.write(byte)
        await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    ("first", "byte"),
    [
        (b"", b""),
        (b"GET / HTTP/1.1\r\nX: ", b"a"),
        (HEAD + b"GET / HTTP/1.1\r\nX: ", b"a"),
        (b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 1000\r\n\r\n", b"a"),
    ],
    ids=["nothing", "a head", "a second head", "a body that was refused"],
)
def test_a_connection_without_a_request_is_closed(first: bytes, byte: bytes) -> None:
    async def read() -> None:
        async with connected() as (reader, writer):
            writer.write(first)
            slow = asyncio.ensure_future(trickle(writer, byte))
            try:
                async with asyncio.timeout(5):
                    await reader.read()
            except ConnectionError:
                pass
            finally:
                slow.cancel()

    asyncio.run(read())


def test_a_request_after_another_is_answered() -> None:
    async def read() -> None:
        async with connected() as (reader, writer):
            for _ in range(5):
                await asyncio.sleep(0.2)
                writer.write(HEAD[:20])
                await asyncio.sleep(0.2)
                writer.write(HEAD[20:])
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 401")

    asyncio.run(read())
