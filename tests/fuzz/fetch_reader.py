"""Answers of a web server: status lines, headers, redirects, lengths, chunks; without a network."""

from __future__ import annotations

import gzip
import ipaddress
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

from .mutations import damaged, damaged_text
from .reader import Case, Reader, WrongResultError

__all__ = ["fetch"]

_HOST, _ADDRESS = "fuzz.test", "93.184.215.14"  # a public one, to which nothing is sent
_MAX_BYTES, _SECONDS = 20_000, 1.0
_WORDS = tuple(
    (
        "HTTP/1.1 HTTP/1.0 HTTP/9 200 204 206 301 302 303 307 308 100 404 500 OK Location "
        "Content-Length Content-Encoding Transfer-Encoding chunked gzip identity close keep-alive "
        "Connection bytes http https ftp file 127.0.0.1 10.0.0.1 169.254.169.254 0x7f000001 "
        "2130706433 017700000001 localhost 8.8.8.8 [::1] [::ffff:127.0.0.1] [64:ff9b::7f00:1] "
        "[2002:7f00:1::] [fe80::1%eth0] a@b .. %00 \\ # ? fuzz.test //x ffffffff -1 -5 0x10 1e3 "
        "+7 ٣ \x85"
    )
    .encode()
    .split(b" ")
)


def _answer(body: bytes = b"content " * 20, status: str = "200 OK", **headers: str) -> bytes:
    headers = {"Content_Length": str(len(body)), **headers}
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode() + body


def _seeds() -> list[Case]:
    plain = _answer()
    chunks = b"".join(
        b"%x;name=value\r\n%b\r\n" % (len(part), part) for part in (b"content " * 9, b"more", b"")
    )
    chunked = _answer(chunks, Transfer_Encoding="chunked").replace(b"Content-Length", b"X-Length")
    answers = [
        [plain],
        [_answer(status="302 Found", Location="/other"), plain],
        [
            _answer(status="301 Moved", Location=f"http://{_HOST}/a?b=c"),
            _answer(status="307 T", Location="x"),
            plain,
        ],
        [_answer(status="302 Found", Location="http://10.0.0.1/"), plain],
        [_answer(status="404 Not Found")],
        [chunked],
        [chunked + b"Trailer: value\r\n\r\n"],
        [_answer(gzip.compress(b"content"), Content_Encoding="gzip")],
        [_answer(b"half", Content_Length="100")],
        [_answer(b"x" * 30_000)],
        [b"HTTP/1.0 200 OK\r\n\r\nto the end"],
        [b"HTTP/1.1 100 Continue\r\n\r\n" + plain],
        [_answer(X_Many="y" * 9000)],
        [b""],
    ]
    return [{str(i): data for i, data in enumerate(each)} for each in answers]


def _damage(case: Case, rng: Random, seeds: Sequence[Case]) -> Case:
    name = rng.choice(sorted(case))
    others = [data for seed in seeds for data in seed.values()]
    data = damaged_text(case[name], rng, _WORDS) if rng.random() < 0.6 else damaged(case[name], rng, others)
    if rng.random() < 0.02:
        data = data.replace(b"\r\n", b"\r\nX-More: 1\r\n" * rng.choice((2, 40)), 1)
    if rng.random() < 0.02:
        case = {**case, "hold": b""}  # the connection stays open behind the answer
    return {**case, name: data}


def _start() -> Callable[[Path], None]:
    from vlm2vec.media.fetch import fetch

    def read(folder: Path) -> None:
        names = sorted((path for path in folder.iterdir() if path.name != "hold"), key=lambda path: path.name)
        answers = [path.read_bytes() for path in names]
        with _server(answers, hold=(folder / "hold").exists()) as port, _only(port):
            data = fetch(f"http://{_HOST}/file", max_bytes=_MAX_BYTES, seconds=_SECONDS)
            if len(data) > _MAX_BYTES:
                raise WrongResultError("more bytes than are allowed")

    return read


@contextmanager
def _server(answers: Sequence[bytes], *, hold: bool) -> Iterator[int]:
    """Gives each connection its answer, whatever it asks for, and the last one to all further ones."""
    end = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.05)

        def serve() -> None:
            count = 0
            while not end.is_set():
                try:
                    connection, _ = listening.accept()
                except OSError:  # the time is over, or the case
                    continue
                with connection:
                    connection.settimeout(1)
                    try:
                        connection.recv(65536)
                        connection.sendall(answers[min(count, len(answers) - 1)] if answers else b"")
                        if hold:
                            end.wait(2)
                    except OSError:
                        pass
                count += 1

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            end.set()
            with suppress(OSError):  # not every system lets go of one who waits
                listening.shutdown(socket.SHUT_RDWR)
            thread.join()


@contextmanager
def _only(port: int) -> Iterator[None]:
    """The server's name is the only one, and leads to it; other addresses must be public, and fail."""
    look_up, connect = socket.getaddrinfo, socket.create_connection

    def addresses(host: str, *rest: Any, **more: Any) -> Any:
        return look_up(_ADDRESS if host == _HOST else host, *rest, flags=socket.AI_NUMERICHOST, **more)

    def connected(address: tuple[str, int], timeout: float) -> socket.socket:
        if address[0] == _ADDRESS:
            return connect(("127.0.0.1", port), timeout)
        if not ipaddress.ip_address(address[0]).is_global:
            raise WrongResultError(f"connects to {address}")
        raise ConnectionRefusedError

    with (
        mock.patch.object(socket, "getaddrinfo", addresses),
        mock.patch.object(socket, "create_connection", connected),
    ):
        yield


fetch = Reader(_seeds, _damage, _start, 1.0, 60)
