"""Who is let in: by which name of the server, from which page, with which key; and the heads of answers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from serving_cases import ROUTE, FakeBatcher, application, ask, told

from vlm2vec import VLM2Vec

KEY = "correct-horse-battery"
BODY = {"input": "a red circle"}


@pytest.fixture(scope="module")
def app(embedded: VLM2Vec) -> Iterator[FastAPI]:
    with application(embedded, FakeBatcher(), allowed_hosts=("search.example.com",)) as made:
        yield made


@pytest.fixture(scope="module")
def locked(embedded: VLM2Vec) -> Iterator[FastAPI]:
    with application(embedded, FakeBatcher(), api_key=KEY) as made:
        yield made


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LocalHost:8000",
        "127.0.0.1",
        "127.0.0.1:1",
        "[::1]:8000",
        "[::1]",
        "search.example.com",
        "Search.example.com:443",
    ],
)
def test_the_server_answers_to_its_own_names(app: FastAPI, host: str) -> None:
    assert ask(app, "GET", "/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "",
        "attacker.example",
        "127.0.0.1.attacker.example",
        "localhost.",
        "localhost:8000:9000",
        "localhost:80@attacker.example",
        "192.168.1.5",
        "[::1].attacker.example",
        "[::1",
        "search.example.com.attacker.example",
        "x.search.example.com",
    ],
)
@pytest.mark.parametrize("path", ["/health", "/v1/models", "/nowhere"])
def test_a_name_that_was_rebound_gets_nothing(app: FastAPI, host: str, path: str) -> None:
    answer = ask(app, "GET", path, headers={"Host": host})
    assert (answer.status_code, told(answer)["code"]) == (403, "unknown_host")


def test_two_host_headers_get_nothing(app: FastAPI) -> None:
    headers = [("Host", "localhost"), ("Host", "localhost")]
    assert ask(app, "GET", "/health", headers=headers).status_code == 403


def test_a_server_of_all_addresses_answers_to_addresses_and_not_to_names(embedded: VLM2Vec) -> None:
    with application(embedded, FakeBatcher(), host="0.0.0.0", api_key=KEY) as app:  # noqa: S104
        for host, status in (("192.168.1.5:8000", 200), ("[fe80::1]", 200), ("attacker.example", 403)):
            assert ask(app, "GET", "/health", headers={"Host": host}).status_code == status


def test_a_server_of_all_addresses_answers_to_the_name_of_its_machine(
    app: FastAPI, embedded: VLM2Vec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "Machine-7")
    own = {"Host": "machine-7:8000"}
    for host in ("0.0.0.0", "::"):  # noqa: S104
        with application(embedded, FakeBatcher(), host=host, api_key=KEY) as open_one:
            assert ask(open_one, "GET", "/health", headers=own).status_code == 200
    assert ask(app, "GET", "/health", headers=own).status_code == 403


def test_without_a_name_of_the_machine_no_name_is_none(
    embedded: VLM2Vec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "")
    with application(embedded, FakeBatcher(), host="::", api_key=KEY) as app:
        assert ask(app, "GET", "/health", headers={"Host": ""}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": f"Bearer {KEY}x"},
        {"Authorization": f"Bearer {KEY[:-1]}"},
        {"Authorization": f"Bearer {KEY.upper()}"},
        {"Authorization": KEY},
        {"X-API-Key": "wrong"},
        {"X-API-Key": "\u00fc".encode("latin-1").decode("latin-1")},
        {"Cookie": f"key={KEY}"},
    ],
    ids=repr,
)
def test_a_wrong_key_learns_nothing(locked: FastAPI, headers: dict[str, str]) -> None:
    asked = [
        ("POST", ROUTE),
        ("GET", ROUTE),
        ("GET", "/v1/models"),
        ("GET", "/metrics"),
        ("GET", "/openapi.json"),
        ("GET", "/nowhere"),
        ("DELETE", "/"),
        ("POST", "/health"),
        ("GET", "/health/"),
        ("GET", "/health/../metrics"),
        ("GET", "/%68ealth/%2e%2e/metrics"),
        ("OPTIONS", ROUTE),
        ("GET", f"/v1/models?key={KEY}"),
    ]
    encoded = {name: value.encode("latin-1") for name, value in headers.items()}
    answers = [ask(locked, method, path, headers=encoded) for method, path in asked]  # type: ignore[arg-type]
    assert {(answer.status_code, answer.content, str(answer.headers)) for answer in answers} == {
        (401, answers[0].content, str(answers[0].headers))
    }
    assert told(answers[0])["type"] == "authentication_error"
    assert answers[0].headers["WWW-Authenticate"] == "Bearer"


def test_the_body_of_a_wrong_key_is_not_read(locked: FastAPI) -> None:
    too_large = {"Content-Type": "application/json", "Content-Length": str(10**12)}
    assert ask(locked, "POST", ROUTE, content=b"", headers=too_large).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {KEY}"},
        {"authorization": f"bearer   {KEY}"},
        {"X-API-Key": KEY},
        {"Authorization": "Bearer wrong", "X-API-Key": KEY},
    ],
)
def test_the_right_key_opens(locked: FastAPI, headers: dict[str, str]) -> None:
    assert ask(locked, "POST", ROUTE, json=BODY, headers=headers).status_code == 200
    assert ask(locked, "GET", "/nowhere", headers=headers).status_code == 404


def test_a_probe_needs_no_key(locked: FastAPI) -> None:
    assert ask(locked, "GET", "/health").json() == {"status": "ok"}
    assert ask(locked, "GET", "/ready").json() == {"status": "ok", "waiting": 0}


def test_the_description_says_what_needs_no_key(locked: FastAPI) -> None:
    described = locked.openapi()
    open_paths = {
        path for path, said in described["paths"].items() if said.get("get", {}).get("security") == []
    }
    assert described["security"] == [{"key": []}]
    assert open_paths == {"/health", "/ready"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://127.0.0.1:8000"}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://behind.a.proxy"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://attacker.example"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:9000"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1:8000"}, 403),
        ({"Sec-Fetch-Site": ""}, 403),
        ({"Origin": "https://attacker.example"}, 403),
        ({"Origin": "http://127.0.0.1:9000"}, 403),
        ({"Origin": "http://127.0.0.1"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
    ],
    ids=repr,
)
def test_pages_of_other_sites_cannot_post(app: FastAPI, headers: dict[str, str], status: int) -> None:
    assert ask(app, "POST", ROUTE, json=BODY, headers=headers).status_code == status


def test_no_page_of_another_site_can_read_by_default(app: FastAPI) -> None:
    answer = ask(app, "GET", "/v1/models", headers={"Origin": "https://attacker.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]
    asked = {"Origin": "https://attacker.example", "Access-Control-Request-Method": "POST"}
    answer = ask(app, "OPTIONS", ROUTE, headers=asked)
    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_an_origin_that_is_allowed_can_ask_with_a_key_and_another_cannot(embedded: VLM2Vec) -> None:
    site = "https://search.example.com"
    with application(embedded, FakeBatcher(), api_key=KEY, cors_origins=(site,)) as app:
        wanted = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
        assert ask(app, "OPTIONS", ROUTE, headers={"Origin": site, **wanted}).status_code == 200
        assert (
            ask(app, "OPTIONS", ROUTE, headers={"Origin": "https://x.example", **wanted}).status_code == 400
        )
        sent = {"Origin": site, "Sec-Fetch-Site": "cross-site", "Authorization": f"Bearer {KEY}"}
        answer = ask(app, "POST", ROUTE, json=BODY, headers=sent)
        assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, site)
        refused = ask(app, "POST", ROUTE, json=BODY, headers={**sent, "Authorization": "Bearer wrong"})
        assert (refused.status_code, refused.headers["Access-Control-Allow-Origin"]) == (401, site)
        answer = ask(app, "POST", ROUTE, json=BODY, headers={**sent, "Origin": "https://x.example"})
        assert answer.status_code == 403
        assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("path", ["/health", "/nowhere", ROUTE, "/v1/models"])
def test_every_answer_has_the_headers_that_keep_browsers_safe(app: FastAPI, path: str) -> None:
    headers = ask(app, "GET", path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
