"""Links that an answer signs are followed without a key, for a while, and lead to nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from search_cases import searching
from serving_cases import ask

from vlm2vec import Index, VLM2Vec
from vlm2vec.serve import links as module
from vlm2vec.serve.links import Links

KEY = "correct-horse-battery"
BEARER = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture(scope="module")
def locked(embedded: VLM2Vec, index: Index) -> Iterator[FastAPI]:
    with searching(embedded, index, api_key=KEY) as made:
        yield made


@pytest.fixture(scope="module")
def hit(locked: FastAPI) -> dict[str, Any]:
    answer = ask(locked, "POST", "/v1/search", json={"query": "a blue diamond", "k": 1}, headers=BEARER)
    (hit,) = answer.json()["data"]
    return hit


def test_links_of_an_answer_need_no_key(locked: FastAPI, hit: dict[str, Any]) -> None:
    assert ask(locked, "GET", hit["file"]).status_code == 200
    assert ask(locked, "GET", hit["thumbnail"] + "&size=240").status_code == 200


def test_all_else_needs_the_key(locked: FastAPI, hit: dict[str, Any]) -> None:
    signed = hit["file"].partition("?")[2]
    for path in (
        "/v1/index",
        "/files/a",
        hit["file"].partition("?")[0],
        f"/v1/index?{signed}",
        f"/metrics?{signed}",
    ):
        assert ask(locked, "GET", path).status_code == 401
    assert ask(locked, "POST", "/v1/search", json={"query": "x"}).status_code == 401
    assert ask(locked, "POST", f"/v1/search?{signed}", json={"query": "x"}).status_code == 401


def test_the_page_needs_no_key(locked: FastAPI) -> None:
    assert [ask(locked, "GET", path).status_code for path in ("/", "/page.css", "/page.js")] == [
        200,
        200,
        200,
    ]


def test_a_signature_is_of_one_path(locked: FastAPI, hit: dict[str, Any]) -> None:
    signed = hit["file"].partition("?")[2]
    for path in (
        hit["thumbnail"].partition("?")[0],
        "/files/drawn%2Fscene-pink-circle-green-diamond.jpg",
        hit["file"].partition("?")[0] + "x",
    ):
        assert ask(locked, "GET", f"{path}?{signed}").status_code == 401


def test_a_wrong_signature_learns_nothing(locked: FastAPI) -> None:
    there = ask(locked, "GET", "/files/drawn%2Fscene-blue-diamond.jpg?expires=99999999999&signature=00")
    missing = ask(locked, "GET", "/files/no?expires=99999999999&signature=00")
    assert (there.status_code, there.content) == (401, missing.content)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "expires=1",
        "signature=a",
        "expires=x&signature=a",
        "expires=²&signature=a",
        "expires=" + "9" * 5000 + "&signature=a",
        "&" * 5000,
        "expires=99999999999&signature=%ff\ud800",
    ],
)
def test_what_is_no_signature_is_none(query: str) -> None:
    assert not Links(signed=True).is_good("/files/a", query)


def test_a_signature_ends_in_time_and_is_the_same_for_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_800_000_000.0
    monkeypatch.setattr(module.time, "time", lambda: now)
    links = Links(signed=True)
    link = links.sign("/files/a%20b")
    path, query = "/files/a b", link.partition("?")[2]
    now += 3599
    assert links.sign("/files/a%20b") == link
    assert links.is_good(path, query)
    now += 3601
    assert not links.is_good(path, query)


def test_a_later_end_is_not_signed() -> None:
    links = Links(signed=True)
    expires, signature = links.sign("/files/a").partition("?")[2].split("&")
    later = int(expires.removeprefix("expires=")) + 3600
    assert not links.is_good("/files/a", f"expires={later}&{signature}")


def test_another_process_has_signed_nothing() -> None:
    query = Links(signed=True).sign("/files/a").partition("?")[2]
    assert not Links(signed=True).is_good("/files/a", query)
