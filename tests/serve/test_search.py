"""`POST /v1/search` finds what `Index.search` finds, takes a query in each form, and filters as told."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from search_cases import data_uri, found, get, search, searching
from serving_cases import ask, told

from vlm2vec import Index, VLM2Vec
from vlm2vec.serve.errors import QueueFullError
from vlm2vec.serve.folders import FolderNames

RING = "a large red ring moving down"
CLIP = "drawn/clip-red-ring-moving-down.mp4"
DIAMOND = "drawn/scene-blue-diamond.jpg"
REPORT = "drawn/report-autumn-desert.pdf"


@pytest.fixture(scope="module")
def app(embedded: VLM2Vec, index: Index) -> Iterator[FastAPI]:
    with searching(embedded, index) as made:
        yield made


def test_hits_are_those_of_the_index(app: FastAPI, index: Index) -> None:
    for kind in ([], ["pdf"], ["image", "video"]):
        where = f"kind IN ({', '.join(repr(one) for one in kind)})" if kind else None
        expected = index.search(RING, k=7, where=where)
        hits = found(app, RING, k=7, kind=kind)
        assert [hit["id"] for hit in hits] == [hit.id for hit in expected]
        assert [hit["score"] for hit in hits] == pytest.approx([hit.score for hit in expected], abs=2e-6)


def test_a_hit_says_what_and_where_it_is(app: FastAPI) -> None:
    (hit,) = found(app, RING, k=1)
    assert hit["name"] == CLIP
    assert (hit["rank"], hit["kind"], hit["label"]) == (1, "video", "video 0:00-0:02")
    assert (hit["folder"], hit["page"], hit["start"], hit["end"], hit["text"]) == (
        "photos",
        None,
        0.0,
        2.0,
        None,
    )
    (hit,) = found(app, "a circle", k=1, kind="text", under="photos")
    assert hit["text"] == "# Rings\n\nA red ring is a circle."
    assert hit["thumbnail"] is None
    assert hit["file"] == "/files/notes%2F50%25%20%231%3F%20%C3%BC.md%23passage%3D1"


def test_no_answer_says_where_on_the_server_files_are(app: FastAPI, photos: Path, index: Index) -> None:
    told_of = (
        search(app, RING, k=99).text + ask(app, "GET", "/v1/index").text + search(app, "x", under="/etc").text
    )
    for place in (photos.parent, index.store.parent):
        assert str(place) not in told_of


@pytest.mark.parametrize(
    ("name", "kind", "key"),
    [(DIAMOND, "image/jpeg", "image"), (REPORT, "application/pdf", "pdf"), (CLIP, "video/mp4", "video")],
)
def test_a_file_as_the_query_is_a_data_uri_a_part_or_an_upload(
    app: FastAPI, index: Index, photos: Path, name: str, kind: str, key: str
) -> None:
    uri = data_uri(photos / name, kind)
    expected = [hit.id for hit in index.search(photos / name, k=5)]
    part = (
        {"type": "file", "file": {"file_data": uri}}
        if key == "pdf"
        else {"type": f"{key}_url", f"{key}_url": {"url": uri}}
    )
    for query in (uri, {key: uri}, part, [part]):
        assert [hit["id"] for hit in found(app, query, k=5)] == expected
    sent = ask(
        app, "POST", "/v1/search", files={"file": (name, (photos / name).read_bytes())}, data={"k": "5"}
    )
    assert [hit["id"] for hit in sent.json()["data"]] == expected


def test_words_may_stand_beside_a_file(app: FastAPI, index: Index, photos: Path) -> None:
    expected = [hit.id for hit in index.search([photos / DIAMOND, "but red"], k=5)]
    assert [
        hit["id"] for hit in found(app, [{"image": data_uri(photos / DIAMOND, "image/jpeg")}, "but red"], k=5)
    ] == expected
    sent = ask(
        app,
        "POST",
        "/v1/search",
        files={"file": ("a.jpg", (photos / DIAMOND).read_bytes())},
        data={"query": "but red", "k": "5"},
    )
    assert [hit["id"] for hit in sent.json()["data"]] == expected


def test_of_an_uploaded_pdf_one_page_may_be_meant(app: FastAPI, index: Index, photos: Path) -> None:
    expected = index.search({"pdf": photos / REPORT, "page": 2}, k=1)[0]
    sent = ask(
        app,
        "POST",
        "/v1/search",
        files={"file": ("r.pdf", (photos / REPORT).read_bytes())},
        data={"page": "2", "k": "1", "kind": "pdf,image"},
    )
    (hit,) = sent.json()["data"]
    assert (hit["id"], hit["page"]) == (expected.id, 2)


def test_the_instruction_is_the_callers(app: FastAPI, index: Index) -> None:
    expected = index.search("a report", k=5, instruction="Find a page.")
    scores = [hit["score"] for hit in found(app, "a report", k=5, instruction="Find a page.")]
    assert scores == pytest.approx([hit.score for hit in expected], abs=2e-6)


def test_under_is_a_folder_by_its_name(app: FastAPI) -> None:
    names = {hit["name"] for hit in found(app, "x", k=99, under="photos/notes")}
    assert names == {"notes/50% #1? ü.md", "notes/wide.png"}
    assert len(found(app, "x", k=99, under="photos")) == 18
    assert found(app, "x", k=99, under="photos/not") == []
    assert found(app, "x", k=99, under="photos/../..") == []


def test_each_folder_has_a_name_of_its_own() -> None:
    names = FolderNames({1: Path("/a/p (3)"), 2: Path("/b/p"), 3: Path("/c/p"), 4: Path("/")}).names
    assert list(names.values()) == ["p (3)", "p", "p (3) (3)", "files"]


@pytest.mark.parametrize("under", ["/etc", "drawn", "..", "~", "photos'", "%2e%2e"])
def test_a_folder_of_another_name_is_an_error(app: FastAPI, under: str) -> None:
    answer = search(app, "x", under=under)
    assert answer.status_code == 400
    assert "There are photos." in told(answer)["message"]


@pytest.mark.parametrize(
    ("metadata", "ids"),
    [
        ({"Team": "O'Hara"}, ["ticket 1"]),
        ({"year": 2025}, ["../../etc/passwd"]),
        ({"year": 2024.0, "open": True}, ["ticket 1"]),
        ({"weight": 2}, ["../../etc/passwd"]),
        ({"open": False, "Team": "O'Hara"}, []),
        ({"Team": "' OR 1=1 OR Team='"}, []),
    ],
)
def test_metadata_must_be_equal(app: FastAPI, metadata: dict[str, Any], ids: list[str]) -> None:
    hits = found(app, "x", k=99, metadata=metadata)
    assert [hit["id"] for hit in hits] == ids
    assert all(hit["file"] is None and hit["thumbnail"] is None for hit in hits)


@pytest.mark.parametrize(
    "metadata",
    [
        {"year": "2024"},
        {"Team": 1},
        {"open": 1},
        {"year": True},
        {"year": 1e30},
        {"year": 10**400},
        {"weight": 10**400},
        {"id": "x"},
        {"1=1 OR year": 2},
    ],
)
def test_metadata_of_another_name_or_type_is_an_error(app: FastAPI, metadata: dict[str, Any]) -> None:
    answer = search(app, "x", metadata=metadata)
    assert (answer.status_code, told(answer)["code"]) == (400, "invalid_input")


def test_hits_of_one_file_can_be_limited(app: FastAPI) -> None:
    names = [hit["name"] for hit in found(app, "a report", k=99, kind="pdf", per_file=1)]
    assert len(names) == len(set(names)) == 2


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "query"),
        ({"query": None}, "query"),
        ({"query": ""}, "query"),
        ({"query": 3}, "query"),
        ({"query": []}, "query"),
        ({"query": {"type": "audio"}}, "query"),
        ({"query": "x", "k": 0}, "k"),
        ({"query": "x", "k": 1001}, "k"),
        ({"query": "x", "k": True}, "k"),
        ({"query": "x", "k": "3"}, "k"),
        ({"query": "x", "kind": "audio"}, "kind"),
        ({"query": "x", "kind": [["pdf"]]}, "kind"),
        ({"query": "x", "per_file": 0}, "per_file"),
        ({"query": "x", "under": 3}, "under"),
        ({"query": "x", "where": "1 = 1"}, "where"),
        ({"query": "x", "metadata": [1]}, "metadata"),
        ({"query": "x", "metadata": {"year": None}}, "metadata.year"),
        ({"query": "x", "instruction": 3}, "instruction"),
        ({"query": {"image": "/etc/passwd"}}, "query.image"),
        ({"query": [{"pdf": "file:///etc/passwd"}]}, "query[0]"),
        ({"query": "data:image/png;base64,!!!"}, "query"),
    ],
)
def test_what_cannot_be_read_is_an_error_that_says_where(
    app: FastAPI, body: dict[str, Any], param: str
) -> None:
    answer = ask(app, "POST", "/v1/search", json=body)
    assert answer.status_code == 400
    assert (told(answer)["param"] or "query").startswith(param)
    assert told(answer)["index"] is None


@pytest.mark.parametrize(
    ("sent", "cause"),
    [
        ({"data": {"k": "3"}, "files": {}}, "neither a query nor a file"),
        ({"files": {"file": ("a.png", b"")}}, "empty"),
        ({"files": {"file": ("a.png", b"no picture")}}, "no known format"),
        ({"files": {"file": ("a.svg", b"<svg onload=alert(1)>")}}, "SVG"),
        ({"files": {"file": ("a.png", b"\x89PNG\r\n\x1a\n")}}, "picture|image"),
        ({"files": {"file": ("a.gif", b"GIF89a")}, "data": {"k": "many"}}, "k is"),
        ({"files": {"file": ("a.gif", b"GIF89a")}, "data": {"metadata": "{"}}, "no JSON"),
        ({"files": {"file": ("a.gif", b"GIF89a")}, "data": {"kinds": "pdf"}}, 'Did you mean "kind"'),
    ],
)
def test_a_form_that_cannot_be_read_is_an_error(app: FastAPI, sent: dict[str, Any], cause: str) -> None:
    if not sent["files"]:
        sent = {"files": {"k": (None, "3")}}
    answer = ask(app, "POST", "/v1/search", **sent)
    assert answer.status_code == 400
    assert any(word in told(answer)["message"] for word in cause.split("|"))


def test_a_page_of_another_site_cannot_search_with_a_form(app: FastAPI) -> None:
    answer = ask(
        app, "POST", "/v1/search", files={"query": (None, "x")}, headers={"Origin": "http://attacker.example"}
    )
    assert answer.status_code == 403


def test_it_says_what_the_index_holds(app: FastAPI) -> None:
    held = ask(app, "GET", "/v1/index").json()
    samples = held.pop("samples")
    assert held == {
        "object": "index",
        "model": "vlm2vec",
        "name": "found",
        "rows": 20,
        "files": {"image": 7, "pdf": 2, "text": 1, "video": 4},
        "failures": 0,
        "dimensions": 224,
        "folders": [
            {"name": "photos", "files": 14},
            {"name": "photos/drawn", "files": 12},
            {"name": "photos/notes", "files": 2},
        ],
        "metadata": {"Team": "str", "year": "int", "weight": "float", "open": "bool"},
    }
    assert len({sample["name"] for sample in samples}) == len(samples) == 12
    assert all("score" not in sample for sample in samples)
    assert {sample["page"] for sample in samples} <= {None, 1}


def test_an_index_that_is_not_made_yet_is_an_empty_one(embedded: VLM2Vec, tmp_path: Path) -> None:
    with searching(embedded, Index(tmp_path / "pictures", embedded)) as app:
        assert found(app, "a red ring", kind="pdf") == []
        held = ask(app, "GET", "/v1/index").json()
        assert (held["name"], held["rows"], held["folders"]) == ("pictures", 0, [])
        assert get(app, "files", "a.png").status_code == 404


def test_without_an_index_it_says_how_to_start_with_one(embedded: VLM2Vec) -> None:
    with searching(embedded, None) as app:
        for answer in (
            search(app, "x"),
            ask(app, "GET", "/v1/index"),
            get(app, "files", "a"),
            get(app, "thumbnails", "a"),
        ):
            assert (answer.status_code, told(answer)["code"]) == (404, "no_index")
            assert "--index" in told(answer)["message"]


def test_files_that_come_later_are_found(embedded: VLM2Vec, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.txt").write_text("a red ring", encoding="utf-8")
    with searching(embedded, Index(tmp_path / "store", embedded)) as app:
        assert found(app, "a red ring") == []
        Index(tmp_path / "store", embedded).sync(tmp_path / "files", show_progress_bar=False)
        assert [hit["name"] for hit in found(app, "a red ring")] == ["a.txt"]


def test_a_store_that_is_damaged_is_the_servers_fault(embedded: VLM2Vec, tmp_path: Path) -> None:
    index = Index(tmp_path / "store", embedded)
    index.add(["a red ring"])
    with searching(embedded, Index(tmp_path / "store", embedded)) as app:
        for manifest in (tmp_path / "store").rglob("manifest.sqlite"):
            manifest.write_bytes(b"nothing")
        answer = search(app, "x")
        assert (answer.status_code, told(answer)["code"]) == (503, "index_unavailable")
        assert str(tmp_path) not in answer.text


def test_rows_that_are_gone_are_the_servers_fault(embedded: VLM2Vec, tmp_path: Path) -> None:
    Index(tmp_path / "store", embedded).add(["a red ring"], ids=["a"])
    for rows in (tmp_path / "store").rglob("data/*.lance"):
        rows.unlink()
    with searching(embedded, Index(tmp_path / "store", embedded)) as app:
        for answer in (search(app, "x"), get(app, "files", "a"), get(app, "thumbnails", "a")):
            assert (answer.status_code, told(answer)["code"]) == (503, "index_unavailable")
            assert str(tmp_path) not in answer.text


def test_metadata_that_json_has_no_number_for_is_null(embedded: VLM2Vec, tmp_path: Path) -> None:
    index = Index(tmp_path / "store", embedded)
    index.add(["a", "b", "c"], metadata=[{"size": value} for value in (math.nan, math.inf, 0.5)])
    with searching(embedded, index) as app:
        sizes = [hit["metadata"]["size"] for hit in found(app, "a")]
    assert sorted(sizes, key=str) == [0.5, None, None]


def test_a_full_queue_is_429(app: FastAPI) -> None:
    class Full:
        async def embed(self, asked: object) -> object:
            raise QueueFullError("the queue is full")

    serving = app.state.serving
    app.state.serving = replace(serving, batcher=Full())
    try:
        assert search(app, "x").status_code == 429
    finally:
        app.state.serving = serving
