"""Bodies: JSON of a sound form alone, in bounded size and time, and so many at once."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st
from serving_cases import ROUTE, FakeBatcher, application, ask, client, pieces, post, told

from vlm2vec import VLM2Vec
from vlm2vec.serve.answers import RefusedError
from vlm2vec.serve.body import MAX_DEPTH, MAX_VALUES, parse_json
from vlm2vec.serve.guards import BODIES_AT_ONCE

KIB = 1024
TEXT = json.dumps({"input": "a red circle"}).encode()


@pytest.fixture(scope="module")
def app(embedded: VLM2Vec) -> Iterator[FastAPI]:
    with application(
        embedded, FakeBatcher(), max_request_bytes=64 * KIB, body_seconds=0.2, max_inputs=3
    ) as made:
        yield made


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@settings(max_examples=40)
@given(st.dictionaries(st.text(), values))
def test_every_object_is_read_as_it_is(content: dict[str, object]) -> None:
    assert parse_json(json.dumps(content).encode()) == content
    assert parse_json(json.dumps(content, ensure_ascii=False).encode()) == content


@given(st.binary(max_size=200))
def test_bytes_are_an_object_or_a_refusal(body: bytes) -> None:
    try:
        assert isinstance(parse_json(body), dict)
    except RefusedError as error:
        assert error.status == 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'"text"',
        b"null",
        b'{"input": "a"',
        b'{"input": NaN}',
        b'{"input": -Infinity}',
        b'{"input": ' + b"9" * 5000 + b"}",
        b"\xff\xfe{}",
        '{"input": "a"}'.encode("utf-16"),
        b'\xef\xbb\xbf{"input": "a"}',
        b'{"input": "\xed\xa0\x80"}',
        b'{"input": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":' * 1000 + b"1" + b"}" * 1000,
        b'{"input": [' + b"[]," * MAX_VALUES + b"1]}",
        b'{"input": [' + b"1," * MAX_VALUES + b"1]}",
    ],
    ids=lambda body: repr(body[:24]),
)
def test_what_is_no_sound_object_is_refused(body: bytes) -> None:
    with pytest.raises(RefusedError) as caught:
        parse_json(body)
    assert (caught.value.status, caught.value.code) == (400, "invalid_json")


def test_depth_is_counted_outside_of_strings_alone() -> None:
    text = '[{"\\' * 1000
    assert parse_json(json.dumps({"input": text}).encode()) == {"input": text}
    deepest = '{"a":' + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1) + "}"
    assert parse_json(deepest.encode())
    with pytest.raises(RefusedError, match="within one another"):
        parse_json(deepest.replace("[", "[[", 1).replace("]", "]]", 1).encode())


@pytest.mark.parametrize("piece", [b'"', b'\\"', b'"\\', b"\\", b'"a\\"', b'["', b'{"a":"\\'])
def test_time_grows_no_faster_than_the_bytes(piece: bytes) -> None:
    start = time.process_time()
    with pytest.raises(RefusedError):
        parse_json(piece * (1_000_000 // len(piece)))
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "application/json; charset=utf-16",
        "application/json, text/plain",
    ],
)
def test_json_must_be_said_to_be_json(app: FastAPI, kind: str | None) -> None:
    answer = ask(app, "POST", ROUTE, content=TEXT, headers={} if kind is None else {"Content-Type": kind})
    assert answer.status_code == 415
    assert told(answer)["code"] == "unsupported_media_type"


def test_two_content_types_are_refused(app: FastAPI) -> None:
    headers = [("Content-Type", "application/json"), ("Content-Type", "application/json")]
    assert ask(app, "POST", ROUTE, content=TEXT, headers=headers).status_code == 415


@pytest.mark.parametrize(
    "kind", ["application/json", "APPLICATION/JSON; charset=UTF-8", 'application/json;charset="utf-8"']
)
def test_json_is_taken(app: FastAPI, kind: str) -> None:
    assert ask(app, "POST", ROUTE, content=TEXT, headers={"Content-Type": kind}).status_code == 200


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip"])
def test_compressed_bodies_are_refused(app: FastAPI, encoding: str) -> None:
    answer = post(app, TEXT, **{"Content-Encoding": encoding})
    assert (answer.status_code, told(answer)["code"]) == (415, "unsupported_encoding")


def test_a_length_beyond_the_limit_is_refused_before_the_body_is_read(app: FastAPI) -> None:
    async def body() -> None:
        raise AssertionError("the body was read")

    for length in (64 * KIB + 1, 10**17, 10**30):
        messages = _raw(app, [(b"content-length", str(length).encode())], body)
        assert messages[0]["status"] == 413
        assert (b"connection", b"close") in messages[0]["headers"]


def test_thousands_of_digits_are_a_length_too_large(app: FastAPI) -> None:
    answer = _raw(app, [(b"content-length", b"9" * 50_000)], None)
    assert answer[0]["status"] == 413


@pytest.mark.parametrize("length", [b"-1", b"1e3", b"", "\u0663".encode(), b"0x10", b"1, 1"])
def test_a_length_that_is_no_number_is_refused(app: FastAPI, length: bytes) -> None:
    assert _raw(app, [(b"content-length", length)], None)[0]["status"] == 400


def test_a_body_of_the_greatest_size_is_taken_and_one_byte_more_is_not(app: FastAPI) -> None:
    assert post(app, TEXT.ljust(64 * KIB)).status_code == 200
    for content in (TEXT.ljust(64 * KIB + 1), pieces(TEXT.ljust(64 * KIB), b" ")):
        answer = post(app, content)
        assert (answer.status_code, told(answer)["code"]) == (413, "request_too_large")


def test_a_body_that_comes_in_pieces_is_taken(app: FastAPI) -> None:
    assert post(app, pieces(TEXT[:5], b"", TEXT[5:])).status_code == 200


def test_a_body_that_does_not_end_in_time_is_refused(app: FastAPI) -> None:
    start = time.monotonic()
    answer = post(app, pieces(*[b" "] * 100, pause=0.05))
    assert (answer.status_code, told(answer)["code"]) == (408, "body_too_slow")
    assert time.monotonic() - start < 3


PART = (
    b'--x\r\nContent-Disposition: form-data; name="images"; filename="a.png"\r\n\r\nno picture\r\n--x--\r\n'
)


@pytest.mark.parametrize(
    "kind", [None, "application/json", "multipart/mixed; boundary=x", "multipart/form-data"]
)
def test_a_form_must_be_said_to_be_a_form(app: FastAPI, kind: str | None) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    answer = ask(app, "POST", "/v1/embedding/image", content=PART, headers=headers)
    assert answer.status_code == (400 if kind == "multipart/form-data" else 415)
    told(answer)


@settings(max_examples=100)
@given(
    body=st.binary(max_size=60) | st.tuples(st.integers(0, len(PART)), st.binary(max_size=8)),
    kind=st.sampled_from(["x", '"', "", "x; charset=nonsense", "x; charset=utf-16", "\xff"]),
)
def test_a_broken_form_is_refused(app: FastAPI, body: bytes | tuple[int, bytes], kind: str) -> None:
    content = body if isinstance(body, bytes) else PART[: body[0]] + body[1] + PART[body[0] :]
    headers = {"Content-Type": f"multipart/form-data; boundary={kind}".encode("latin-1")}
    answer = ask(app, "POST", "/v1/embedding/image", content=content, headers=headers)  # type: ignore[arg-type]
    assert answer.status_code in (200, 400), answer.text


def test_too_many_inputs_are_refused(app: FastAPI) -> None:
    answer = ask(app, "POST", ROUTE, json={"input": ["a"] * 4})
    assert (answer.status_code, told(answer)["code"]) == (400, "too_many_inputs")
    assert ask(app, "POST", ROUTE, json={"input": ["a"] * 3}).status_code == 200
    assert ask(app, "POST", ROUTE, json={"input": []}).status_code == 400


def test_bodies_in_memory_are_bounded_and_given_up(embedded: VLM2Vec) -> None:
    most = 32 * KIB
    with application(embedded, FakeBatcher(seconds=0.2), max_request_bytes=most) as app:
        metrics, highest = app.state.serving.metrics, 0.0

        def held() -> float:
            lines = metrics.text().decode().splitlines()
            return float(next(line for line in lines if line.startswith("vlm2vec_body_bytes")).split()[1])

        async def all_of_them() -> list[httpx.Response]:
            nonlocal highest
            async with client(app) as one:
                body, headers = TEXT.ljust(most), {"Content-Type": "application/json"}
                tasks = [
                    asyncio.create_task(one.post(ROUTE, content=pieces(body), headers=headers))
                    for _ in range(64)
                ]
                await asyncio.sleep(0.1)
                highest = held()
                return await asyncio.gather(*tasks)

        answers = asyncio.run(all_of_them())
        by_status = {status: [a for a in answers if a.status_code == status] for status in (200, 429)}
        assert len(by_status[200]) == BODIES_AT_ONCE
        assert len(by_status[429]) == 64 - BODIES_AT_ONCE
        assert {answer.headers["Retry-After"] for answer in by_status[429]} == {"1"}
        assert highest == BODIES_AT_ONCE * most
        assert held() == 0
        assert post(app, TEXT.ljust(most)).status_code == 200


def _raw(app: FastAPI, headers: list[tuple[bytes, bytes]], receive: object) -> list[dict[str, object]]:
    """What the application sends for a request with headers that a client would not send."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": ROUTE,
        "raw_path": ROUTE.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json"), *headers],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
    }
    sent: list[dict[str, object]] = []

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    async def disconnected() -> dict[str, object]:
        return {"type": "http.disconnect"}

    asyncio.run(app(scope, receive or disconnected, send))  # type: ignore[arg-type]
    return sent
