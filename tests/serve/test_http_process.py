"""A server in a process of its own, as users start it: what it says, whom it serves, and how it ends."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from vlm2vec import VLM2Vec

openai = pytest.importorskip("openai")

ROOT = Path(__file__).parents[2]
KEY = "key-of-the-tests"
TEXTS = ["a red circle", "two blue squares", "ein gr\u00fcner Ring \U0001f7e2"]


@dataclass
class Server:
    process: subprocess.Popen[str]
    started: dict[str, Any]
    log: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return str(self.started["url"])

    def ended(self) -> int:
        return self.process.wait(timeout=60)


@contextmanager
def server(*options: str) -> Iterator[Server]:
    command = [sys.executable, "-m", "vlm2vec", "serve", "--port", "0", "--log-format", "json", *options]
    environment = {**os.environ, "VLM2VEC_API_KEY": KEY}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        while first and '"event": "serving"' not in first:  # it loads, and other libraries warn
            first = process.stderr.readline()
        assert first, "the server ended before it began"
        running = Server(process, json.loads(first))
        reader = threading.Thread(target=lambda: running.log.extend(process.stderr or ()))
        reader.start()
        try:
            yield running
        finally:
            process.kill()
            reader.join()


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with server() as one:
        yield one


@pytest.fixture(scope="module")
def client(running: Server) -> Any:
    return openai.OpenAI(base_url=f"{running.url}/v1", api_key=KEY, max_retries=0)


def test_the_first_line_says_where_what_and_whether_a_key_is_asked_for(running: Server) -> None:
    said = {name: running.started[name] for name in ("event", "model", "index", "key")}
    assert said == {"event": "serving", "model": "vlm2vec", "index": "none", "key": "asked for"}
    assert httpx.get(f"{running.url}/health").json() == {"status": "ok"}


@pytest.mark.parametrize(
    "options", [{}, {"encoding_format": "float"}, {"encoding_format": "base64"}], ids=repr
)
def test_the_client_of_openai_gets_the_vectors_of_encode(
    client: Any, embedded: VLM2Vec, options: dict[str, str]
) -> None:
    answer = client.embeddings.create(model="vlm2vec", input=TEXTS, **options)
    got = [row.embedding for row in answer.data]
    if options == {"encoding_format": "base64"}:
        got = [np.frombuffer(base64.b64decode(row), "<f4") if isinstance(row, str) else row for row in got]
    np.testing.assert_allclose(np.array(got), embedded.encode(TEXTS), atol=1e-6)
    assert [row.index for row in answer.data] == [0, 1, 2]
    assert answer.usage.total_tokens > len(TEXTS)


def test_the_client_of_openai_can_ask_for_fewer_dimensions(client: Any, embedded: VLM2Vec) -> None:
    (row,) = client.embeddings.create(model="vlm2vec", input=TEXTS[0], dimensions=64).data
    expected = embedded.encode(TEXTS[0], truncate_dim=64, normalize_embeddings=True)
    np.testing.assert_allclose(row.embedding, expected, atol=1e-6)


def test_the_client_of_openai_lists_models_and_understands_errors(client: Any, running: Server) -> None:
    assert [model.id for model in client.models.list()] == ["vlm2vec"]
    with pytest.raises(openai.BadRequestError, match="empty") as caught:
        client.embeddings.create(model="vlm2vec", input=["a", ""])
    assert caught.value.body["index"] == 1
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{running.url}/v1", api_key="wrong").models.list()


@pytest.mark.parametrize(
    "text",
    [
        b"nonsense\r\n\r\n",
        b"GET /health HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: nonsense\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 300_000,
    ],
    ids=lambda text: repr(text[:60]),
)
def test_what_is_no_sound_http_is_refused(running: Server, text: bytes) -> None:
    address = httpx.URL(running.url)
    with socket.create_connection((address.host, address.port or 0), timeout=20) as connection:
        connection.sendall(text)
        answer = connection.recv(1000)
    assert answer.split(b" ")[1] in (b"400", b"501"), answer


def test_a_body_that_is_announced_too_large_is_not_waited_for(running: Server) -> None:
    address = httpx.URL(running.url)
    head = f"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n"
    with socket.create_connection((address.host, address.port or 0), timeout=20) as connection:
        connection.sendall(f"{head}Content-Length: {10**12}\r\n\r\n".encode())
        answer = b""
        while piece := connection.recv(1000):  # until the server closes it
            answer += piece
    assert answer.startswith(b"HTTP/1.1 413")


def test_a_stop_finishes_what_was_begun(running: Server, embedded: VLM2Vec) -> None:
    texts = [[f"{number} red circles and {row} squares" for row in range(64)] for number in range(8)]
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}

    bodies = [json.dumps({"input": one}).encode() for one in texts]

    def asked(body: bytes) -> httpx.Response:
        return httpx.post(f"{running.url}/v1/embeddings", content=body, headers=headers, timeout=60)

    def are_begun() -> bool:
        """Whether the server has the bodies of all that it has not answered yet."""
        left = sum(len(body) for body, answer in zip(bodies, answers, strict=True) if not answer.done())
        metrics = httpx.get(f"{running.url}/metrics", headers=headers).text
        return f"\nvlm2vec_body_bytes {float(left)}\n" in metrics

    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(asked, body) for body in bodies]
        while not are_begun():
            pass
        running.process.send_signal(signal.SIGTERM)
        assert not all(answer.done() for answer in answers)
        done = [answer.result() for answer in answers]
    assert [answer.status_code for answer in done] == [200] * 8
    got = np.array([[row["embedding"] for row in answer.json()["data"]] for answer in done])
    np.testing.assert_allclose(got[3], embedded.encode(texts[3]), atol=1e-6)
    assert running.ended() == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{running.url}/health")


@pytest.mark.slow
def test_a_second_signal_ends_at_once() -> None:
    with server() as running:
        address = httpx.URL(running.url)
        head = f"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n"
        with socket.create_connection((address.host, address.port or 0), timeout=20) as connection:
            connection.sendall(f"{head}Content-Length: 10\r\n\r\nhalf".encode())
            httpx.get(f"{running.url}/health")  # by now the first is begun
            running.process.send_signal(signal.SIGINT)
            with pytest.raises(subprocess.TimeoutExpired):
                running.process.wait(timeout=1)
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(timeout=5) == 128 + signal.SIGTERM
