"""Hundreds of requests that mean no good: each is refused in one form, quickly, and the server goes on."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from serving_cases import ROUTE, application, ask, client, pieces, told

from vlm2vec import VLM2Vec

JSON = {"Content-Type": "application/json"}
DEEP = 5000


def data_uri(content: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it has so many pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def paths(there: Path) -> Iterator[str]:
    """Names of a file that is there, and of some that are not, in forms that could be taken for others."""
    yield from (str(there), f"file://{there}", f"FILE://{there}", f"file://localhost{there}", f"file:{there}")
    yield from (f"/{there}", f"/proc/self/root{there}", f"/proc/self/cwd/../../../..{there}", "~/.ssh/id_rsa")
    yield from (
        "/etc/passwd",
        "../../../../etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "/proc/self/environ",
        ".",
        "/",
    )
    yield from (
        "\\\\host\\share\\a.png",
        "C:\\a.png",
        "/dev/zero",
        "/dev/stdin",
        "a\0b.png",
        "nowhere.png",
        "",
    )
    yield from (
        "http://127.0.0.1:8000/health",
        "http://169.254.169.254/latest/meta-data",
        "https://a.example/a.png",
    )
    yield from ("ftp://a.example/a.png", "gopher://a.example", "data:text/html,<b>", "javascript:alert(1)")


def media(content: str) -> Iterator[Any]:
    """Inputs that name a medium so."""
    yield {"image": content}
    yield [{"type": "image_url", "image_url": {"url": content}}]
    yield [{"type": "video_url", "video_url": {"url": content}}]
    yield {"pdf": content}


def broken_media() -> Iterator[str]:
    picture = bomb(30, 30)
    yield from (data_uri(bomb(100_000, 100_000)), data_uri(bomb(2**31 - 1, 1)), data_uri(bomb(0, 0)))
    yield from (data_uri(picture[:40]), data_uri(b""), data_uri(b"\0" * 1000), data_uri(b"%PDF-1.7"))
    yield from ("data:image/png;base64,@@@@", "data:image/png;base64,QUJD=QUJD", "data:image/png;base64")
    yield from (
        f"data:image/png;base64,{'A' * 1001}",
        "data:image/png,%ff%fe",
        "data:",
        "data:,",
        "data:;base64,",
    )


def bodies() -> Iterator[bytes]:
    """Bodies that are no JSON, or none that asks for something."""
    whole = json.dumps({"input": ["a red circle", {"text": "a", "image": data_uri(b"x")}]}).encode()
    yield from (whole[:cut] for cut in range(0, len(whole), 7))
    yield from (b"[" * DEEP, b'{"input":' * DEEP, b'{"input":' + b"[" * DEEP + b"]" * DEEP + b"}")
    yield from (
        b"\0" * 100,
        b"\xff" * 100,
        b'{"input": "\\ud800"}',
        b'{"input": "\\u0000\\udfff"}',
        b"{}",
        b"[]",
    )
    yield from (
        b'{"input": NaN}',
        b'{"input": 1e999}',
        b'{"input": ' + b"1" * 10_000 + b"}",
        b'{"input": -1}',
    )
    yield from (b'{"input": ' + b'"a",' * 10 + b"}", b"{'input': 'a'}", b'{"input": "a"} {"input": "a"}')
    for value in (None, True, 7, 0.5, {}, [], [[]], [None], [[None]], [{}], [[{}]], [True], "", [""], "  "):
        yield json.dumps({"input": value}).encode()
    for name, value in (
        ("encoding_format", "hex"),
        ("encoding_format", 7),
        ("dimensions", -1),
        ("dimensions", 10**30),
        ("dimensions", "12"),
        ("dimensions", 1e999),
        ("instruction", ["a"]),
        ("instruction", {"a": {}}),
        ("model", {"a": 1}),
        ("nonsense", 1),
        ("a" * 10_000, 1),
        ("\u0000", 1),
    ):
        yield json.dumps({"input": "a", name: value}).encode()
    yield json.dumps({"messages": "a"}).encode()
    yield json.dumps({"messages": [{"role": "tool", "content": [{"type": "image_url"}]}]}).encode()


def requests(there: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for content in (*paths(there), *broken_media()):
        for one in media(content):
            yield "POST", ROUTE, {"json": {"input": [one]}}
    for body in bodies():
        yield "POST", ROUTE, {"content": body, "headers": JSON}
    for path in (
        "/../etc/passwd",
        "/..%2f..%2fetc%2fpasswd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/v1/models/../../etc/passwd",
        "/v1/models/%00",
        "/v1/models/" + "a" * 5000,
        "/v1/embeddings%00",
        "/v1//embeddings",
        "/v1/embeddings;a=b",
        "/V1/EMBEDDINGS",
        "/\u202e",
        "/%ff%fe",
        "/.git/config",
    ):
        yield "GET", path, {}
        yield "POST", path, {"json": {"input": "a"}}
    for method in ("PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PROPFIND", "A" * 1000):
        yield method, ROUTE, {"json": {"input": "a"}}
    for name, value in (
        ("Host", "attacker.example"),
        ("Host", "\x7f"),
        ("Content-Type", "application/json; charset=\xff"),
        ("Content-Type", "a" * 10_000),
        ("Content-Encoding", "gzip"),
        ("Content-Length", "9" * 5000),
        ("Origin", "null"),
        ("Sec-Fetch-Site", "cross-site"),
    ):
        yield (
            "POST",
            ROUTE,
            {"content": b'{"input": "a"}', "headers": {**JSON, name: value.encode("latin-1")}},
        )
    yield "POST", ROUTE, {"content": pieces(b'{"input": ', *[b" "] * 100, pause=0.05), "headers": JSON}
    yield "POST", ROUTE, {"content": pieces(*[b" " * 2**18] * 5), "headers": JSON}
    yield "POST", "/v1/embedding/image", {"files": {"images": ("a.png", b"no picture")}}
    yield "POST", "/v1/embedding/image", {"files": {"nonsense": ("../../a", b"")}}
    form = {"Content-Type": "multipart/form-data"}
    yield "POST", "/v1/embedding/image", {"content": b"--x\r\n", "headers": form}
    for boundary in ("", "x", "x" * 1000, '"'):
        kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        yield "POST", "/v1/embedding/image", {"content": b"--x\r\nContent-Disposition: form", "headers": kind}
        yield "POST", "/v1/embedding/image", {"content": b'--x\r\n:\xff\r\n\r\n--x--"', "headers": kind}


@pytest.fixture(scope="module")
def app(embedded: VLM2Vec) -> Iterator[FastAPI]:
    with application(embedded, max_request_bytes=2**20, body_seconds=1, request_seconds=20) as made:
        yield made


def test_hostile_requests_are_refused_and_the_server_goes_on(app: FastAPI, tmp_path: Path) -> None:
    there = tmp_path / "a.png"
    there.write_bytes(bomb(30, 30))
    asked = list(requests(there))
    assert len(asked) >= 200
    random.Random(0).shuffle(asked)  # noqa: S311 - an order, no secret
    answers: list[httpx.Response | None] = [None] * len(asked)

    async def worker(one: httpx.AsyncClient, numbers: Iterator[int]) -> None:
        for number in numbers:
            method, path, request = asked[number]
            answers[number] = await asyncio.wait_for(one.request(method, path, **request), timeout=20)

    async def all_of_them() -> None:
        numbers = iter(range(len(asked)))
        async with client(app) as one:
            await asyncio.gather(*[worker(one, numbers) for _ in range(16)])

    start = time.monotonic()
    asyncio.run(all_of_them())
    assert time.monotonic() - start < 60
    wrong = [
        (f"{request}"[:300], answer and answer.status_code, answer and answer.text[:300])
        for request, answer in zip(asked, answers, strict=True)
        if answer is None or not 400 <= answer.status_code < 500
    ]
    assert not wrong
    for answer in answers:
        assert answer is not None
        told(answer)
        assert "Traceback" not in answer.text
    assert ask(app, "GET", "/health").status_code == 200
    assert ask(app, "POST", ROUTE, json={"input": "a red circle"}).status_code == 200


def test_a_path_gets_the_same_answer_whether_the_file_is_there_or_not(app: FastAPI, tmp_path: Path) -> None:
    there, gone = tmp_path / "there.png", tmp_path / "gone.png"
    there.write_bytes(bomb(30, 30))
    for shape in media("PATH"):
        texts = []
        for path in (there, gone):
            content = json.dumps({"input": [shape]}).replace("PATH", str(path))
            answer = ask(app, "POST", ROUTE, content=content, headers=JSON)
            assert answer.status_code == 400
            texts.append(answer.text.replace(path.name, "NAME"))
        assert texts[0] == texts[1]
