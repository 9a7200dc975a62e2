"""Routes, and what a client is told when something is wrong: in one form, with a status that is true."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from serving_cases import ROUTE, FakeBatcher, application, ask, client, post, told

from vlm2vec import VLM2Vec
from vlm2vec.errors import (
    CheckpointError,
    ContextLengthError,
    IndexStoreError,
    InputError,
    LimitError,
    MediaError,
    NonFiniteError,
    OutOfMemoryError,
)
from vlm2vec.serve.errors import QueueFullError, StoppedError
from vlm2vec.serve.log import log_to_stderr

BODY = {"input": ["a red circle", "a blue square"]}


@pytest.fixture(scope="module")
def app(embedded: VLM2Vec) -> Iterator[FastAPI]:
    with application(embedded) as made:
        yield made


@pytest.fixture
def fake() -> FakeBatcher:
    return FakeBatcher()


@pytest.fixture
def faked(embedded: VLM2Vec, fake: FakeBatcher) -> Iterator[FastAPI]:
    with application(embedded, fake, request_seconds=0.5) as made:
        yield made


def counted(app: FastAPI, name: str) -> float:
    lines = ask(app, "GET", "/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def test_vectors_are_those_of_encode(app: FastAPI, embedded: VLM2Vec) -> None:
    answer = ask(app, "POST", ROUTE, json=BODY)
    got = np.array([row["embedding"] for row in answer.json()["data"]], np.float32)
    np.testing.assert_allclose(got, embedded.encode(BODY["input"]), atol=1e-6)
    assert answer.json()["model"] == "vlm2vec"


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (InputError("the text is empty", index=1), 400, "invalid_input"),
        (MediaError("the file is no picture", index=1), 400, "invalid_media"),
        (LimitError("the picture is too large", index=1), 400, "limit_exceeded"),
        (ContextLengthError("the text is too long", index=1), 400, "context_length_exceeded"),
        (OutOfMemoryError("it needs more memory than there is", index=1), 400, "limit_exceeded"),
        (NonFiniteError("the network computes NaN", index=1), 400, "invalid_input"),
        (CheckpointError("the weights are gone"), 503, "model_unavailable"),
        (IndexStoreError("the index is damaged"), 503, "index_unavailable"),
        (StoppedError("the server is stopping"), 503, "stopping"),
    ],
)
def test_an_error_has_its_status_and_says_which_input_it_is(
    faked: FastAPI, fake: FakeBatcher, error: Any, status: int, code: str
) -> None:
    fake.error = error
    answer = ask(faked, "POST", ROUTE, json=BODY)
    assert answer.status_code == status
    assert told(answer)["code"] == code
    assert told(answer)["index"] == error.index
    assert told(answer)["message"] == str(error)
    assert counted(faked, f'vlm2vec_errors_total{{kind="{code}"}}') == 1


def test_a_full_queue_says_when_to_come_again(faked: FastAPI, fake: FakeBatcher) -> None:
    fake.error = QueueFullError("the queue is full")
    answer = ask(faked, "POST", ROUTE, json=BODY)
    assert (answer.status_code, told(answer)["type"]) == (429, "rate_limit_error")
    assert int(answer.headers["Retry-After"]) >= 1


def test_a_fault_of_the_server_says_nothing_more_and_its_text_is_not_logged(
    faked: FastAPI, fake: FakeBatcher, caplog: pytest.LogCaptureFixture
) -> None:
    fake.error = RuntimeError("the secret of a client")
    with caplog.at_level(logging.INFO, "vlm2vec.serve"):
        answer = ask(faked, "POST", ROUTE, json=BODY)
    assert (answer.status_code, told(answer)["code"]) == (500, "internal_error")
    assert "secret" not in answer.text
    failure = next(record for record in caplog.records if record.getMessage() == "failure")
    assert failure.fields["kind"] == "RuntimeError"  # type: ignore[attr-defined]
    assert "serving_cases.py" in failure.fields["at"][-1]  # type: ignore[attr-defined]
    assert not [record for record in caplog.records if "secret" in f"{record.__dict__}"]


@pytest.mark.parametrize("path", ["/nowhere", "/v1", "/v1/embeddings/", "//v1/embeddings", "/docs", "/redoc"])
def test_paths_that_are_not_there(app: FastAPI, path: str) -> None:
    answer = ask(app, "GET", path)
    assert (answer.status_code, told(answer)["code"]) == (404, "not_found")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "TRACE", "NONSENSE"])
def test_methods_that_are_not_there(app: FastAPI, method: str) -> None:
    answer = ask(app, method, ROUTE)
    assert (answer.status_code, told(answer)["code"]) == (405, "method_not_allowed")
    assert answer.headers["Allow"] == "POST"


def test_validation_of_fastapi_has_the_same_form(embedded: VLM2Vec) -> None:
    with application(embedded, FakeBatcher()) as app:

        @app.get("/count")
        def count(number: int) -> int:
            return number

        answer = ask(app, "GET", "/count?number=secret")
        assert (answer.status_code, told(answer)["param"]) == (400, "number")
        assert "secret" not in answer.text
        assert "422" not in ask(app, "GET", "/openapi.json").text


def test_an_answer_that_takes_too_long_is_given_up(faked: FastAPI, fake: FakeBatcher) -> None:
    fake.seconds = 30
    start = time.monotonic()
    answer = ask(faked, "POST", ROUTE, json=BODY)
    assert (answer.status_code, told(answer)["code"]) == (504, "too_slow")
    assert time.monotonic() - start < 5
    assert (fake.began, fake.finished) == (1, 0)


def test_a_client_that_goes_away_ends_its_request(faked: FastAPI, fake: FakeBatcher) -> None:
    fake.seconds = 30
    messages = [
        {"type": "http.request", "body": json.dumps(BODY).encode(), "more_body": False},
        {"type": "http.disconnect"},
    ]
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        while not fake.began and len(messages) == 1:
            await asyncio.sleep(0.01)
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": ROUTE, "query_string": b"", "headers": headers}
    asyncio.run(faked(scope | {"root_path": ""}, receive, send))  # type: ignore[arg-type]
    assert (fake.began, fake.finished, sent) == (1, 0, [])
    assert counted(faked, f'vlm2vec_requests_total{{route="{ROUTE}",status="499"}}') == 1


@pytest.mark.parametrize("path", ["/health", "/ready", "/"])
def test_who_watches_may_ask_for_the_head_alone(app: FastAPI, path: str) -> None:
    assert ask(app, "HEAD", path).status_code == 200


def test_health_sees_a_thread_that_has_died(faked: FastAPI, fake: FakeBatcher) -> None:
    assert ask(faked, "GET", "/health").status_code == 200
    fake.is_alive = False
    for path in ("/health", "/ready"):
        answer = ask(faked, "GET", path)
        assert (answer.status_code, told(answer)["code"]) == (503, "model_thread_died")


def test_the_death_of_the_true_thread_is_seen(embedded: VLM2Vec, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(**_: Any) -> None:
        raise SystemExit  # what the thread does not survive

    with application(embedded) as app:
        assert ask(app, "POST", ROUTE, json=BODY).status_code == 200
        monkeypatch.setattr(app.state.serving.metrics, "batch", die)  # it is called by that thread
        answer = ask(app, "POST", ROUTE, json=BODY)
        assert (answer.status_code, told(answer)["code"]) == (503, "stopping")
        for path in ("/health", "/ready"):
            assert ask(app, "GET", path).status_code == 503
        assert ask(app, "POST", ROUTE, json=BODY).status_code == 503


def test_a_full_queue_is_alive_and_not_ready(embedded: VLM2Vec) -> None:
    with application(embedded, FakeBatcher(waiting=7), max_waiting=7) as app:
        assert ask(app, "GET", "/health").status_code == 200
        assert ask(app, "GET", "/ready").status_code == 503


def test_models_are_listed_as_openai_does(app: FastAPI) -> None:
    content = ask(app, "GET", "/v1/models").json()
    assert content["object"] == "list"
    (model,) = content["data"]
    assert (model["id"], model["object"], model["dimensions"]) == ("vlm2vec", "model", 224)
    assert ask(app, "GET", "/v1/models/vlm2vec").json() == model
    assert ask(app, "GET", "/v1/models/another/one").status_code == 404


def test_no_path_of_the_server_is_in_the_name_of_a_model(tiny: VLM2Vec) -> None:
    with application(tiny, FakeBatcher()) as app:
        assert ask(app, "GET", "/v1/models").json()["data"][0]["id"] == "tiny_qwen2vl"


def test_requests_inputs_and_tokens_are_counted(faked: FastAPI) -> None:
    for _ in range(3):
        ask(faked, "POST", ROUTE, json=BODY)
    ask(faked, "GET", "/nowhere/at/all")
    assert counted(faked, f'vlm2vec_requests_total{{route="{ROUTE}",status="200"}}') == 3
    assert counted(faked, f'vlm2vec_inputs_total{{route="{ROUTE}"}}') == 6
    assert counted(faked, f'vlm2vec_tokens_total{{route="{ROUTE}"}}') == 30
    assert counted(faked, f'vlm2vec_request_seconds_count{{route="{ROUTE}"}}') == 3
    assert counted(faked, 'vlm2vec_requests_total{route="unmatched",status="404"}') == 1
    assert "nowhere" not in ask(faked, "GET", "/metrics").text


def test_requests_that_guards_refuse_are_counted_under_the_route_of_their_path(embedded: VLM2Vec) -> None:
    with application(embedded, FakeBatcher(), api_key="key-of-this-server", max_request_bytes=10) as app:
        key = {"Authorization": "Bearer key-of-this-server"}
        ask(app, "GET", "/v1/models/some/name")
        ask(app, "POST", ROUTE, json=BODY)
        ask(app, "POST", ROUTE, json=BODY, headers={"Host": "attacker.example"})
        ask(app, "POST", ROUTE, json=BODY, headers=key)
        ask(app, "GET", "/nowhere/at/all")
        ask(app, "GET", "/openapi.json", headers=key)
        lines = ask(app, "GET", "/metrics", headers=key).text.splitlines()
    counts = {line.partition(" ")[0].partition("{")[2] for line in lines if "_requests_total{" in line}
    assert counts == {
        'route="/v1/models/{name:path}",status="401"}',
        f'route="{ROUTE}",status="401"}}',
        f'route="{ROUTE}",status="403"}}',
        f'route="{ROUTE}",status="413"}}',
        'route="unmatched",status="401"}',
        'route="/openapi.json",status="200"}',
    }
    assert not [line for line in lines if "_created" in line]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, '"truncate_prompt_tokens": -1'),
        ({"task": "text-matching"}, '"truncate": true'),
        ({"input_type": "query"}, '"truncate": "END"'),
    ],
)
def test_a_text_that_is_too_long_is_answered_with_the_field_that_shortens_it(
    app: FastAPI, body: dict[str, Any], said: str
) -> None:
    asked = {"model": "vlm2vec", "input": ["a red circle " * 3000], **body}
    answer = ask(app, "POST", ROUTE, json=asked)
    error = told(answer)
    assert (error["code"], error["index"]) == ("context_length_exceeded", 0)
    assert error["message"].endswith(f"Texts alone are shortened with {said}.")
    assert "encode(" not in error["message"]
    assert ask(app, "POST", ROUTE, json={**asked, **json.loads(f"{{{said}}}")}).status_code == 200


def test_a_url_is_answered_with_what_a_client_and_the_server_can_do(app: FastAPI) -> None:
    url = {"type": "image_url", "image_url": {"url": "https://example.org/cat.jpg"}}
    message = told(ask(app, "POST", ROUTE, json={"model": "vlm2vec", "input": [[url]]}))["message"]
    assert message.endswith(
        "Send the content as a data-URI. Who runs the server can let it fetch URLs: --allow-urls."
    )


@pytest.mark.parametrize(
    ("fix", "said"),
    [
        ("Make it smaller, or raise Limits.max_image_pixels.", "raise the server's --max-image-pixels."),
        ("Download it and pass the path or bytes.", "Send the content as a data-URI."),
    ],
)
def test_limits_are_named_as_options_of_the_server(
    faked: FastAPI, fake: FakeBatcher, fix: str, said: str
) -> None:
    fake.error = LimitError("it is large", fix=fix, index=0)
    assert told(ask(faked, "POST", ROUTE, json=BODY))["message"].endswith(said)


def test_batches_are_counted(app: FastAPI) -> None:
    before = counted(app, "vlm2vec_batch_inputs_sum")
    ask(app, "POST", ROUTE, json=BODY)
    assert counted(app, "vlm2vec_batch_inputs_sum") == before + 2
    assert counted(app, "vlm2vec_batch_tokens_sum") > 0
    assert counted(app, "vlm2vec_waiting_inputs") == 0


@pytest.mark.parametrize("form", ["json", "text"])
def test_the_log_has_a_line_for_each_request_without_what_was_sent(
    embedded: VLM2Vec, capsys: pytest.CaptureFixture[str], form: Any
) -> None:
    key = "the-key-of-this-server"
    with application(embedded, FakeBatcher(), api_key=key) as app, log_to_stderr(form):
        headers = {"Authorization": f"Bearer {key}", "User-Agent": "agent-of-a-person"}
        ask(app, "POST", f"{ROUTE}?q=secret-query", json={"input": "secret-text"}, headers=headers)
        post(app, b'{"input": "secret-text', **headers)
        ask(app, "GET", "/secret-path", headers=headers)
        ask(app, "GET", "/v1/models", headers={"Authorization": "Bearer wrong-secret"})
    written = capsys.readouterr().err
    lines = written.splitlines()
    assert len(lines) == 4
    assert not [word for word in ("secret", key, "agent", "127.0.0.1") if word in written]
    if form == "json":
        first, second, third, fourth = map(json.loads, lines)
        assert (first["event"], first["route"], first["status"]) == ("request", ROUTE, 200)
        assert (first["inputs"], first["tokens"], first["method"]) == (1, 5, "POST")
        assert first["ms"] > 0
        assert first["client"] == "127.0.0.0/24"
        assert (second["status"], second["error"]) == (400, "invalid_json")
        assert (third["status"], third["route"]) == (404, "unmatched")
        assert (fourth["status"], fourth["error"]) == (401, "invalid_api_key")


def test_the_description_names_bodies_examples_and_errors_and_loads_nothing_from_elsewhere(
    app: FastAPI,
) -> None:
    answer = ask(app, "GET", "/openapi.json")
    described = answer.json()
    operation = described["paths"][ROUTE]["post"]
    (example,) = list(operation["requestBody"]["content"]["application/json"]["examples"].values())[:1]
    assert ask(app, "POST", ROUTE, json=example["value"]).status_code == 200
    assert {"200", "4XX", "5XX"} <= operation["responses"].keys()
    assert "http://" not in answer.text.replace(" ", "").replace('"http://www.w3.org', "")


def test_many_clients_at_once_get_their_own_vectors(app: FastAPI, embedded: VLM2Vec) -> None:
    texts = [f"{number} red circles" for number in range(32)]

    async def asked() -> list[Any]:
        async with client(app) as one:
            answers = await asyncio.gather(*[one.post(ROUTE, json={"input": text}) for text in texts])
            return [answer.json()["data"][0]["embedding"] for answer in answers]

    np.testing.assert_allclose(np.array(asyncio.run(asked())), embedded.encode(texts), atol=1e-6)
