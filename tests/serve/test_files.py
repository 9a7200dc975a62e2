"""Files and thumbnails are those of rows whose files lie below indexed folders, whatever is asked for."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import PIL.Image
import pytest
from fastapi import FastAPI
from search_cases import get, searching
from serving_cases import ask, told

from vlm2vec import Index, VLM2Vec
from vlm2vec.serve.byte_range import UnsatisfiableRangeError, byte_range
from vlm2vec.serve.stored_file import FileGoneError, media_type, open_below
from vlm2vec.serve.thumbnails import SIZES, Thumbnails

CLIP = "drawn/clip-red-ring-moving-down.mp4"
DIAMOND = "drawn/scene-blue-diamond.jpg"
REPORT = "drawn/report-autumn-desert.pdf"
NOTE = "notes/50% #1? ü.md"
SECRET = b"what nobody may read"


@pytest.fixture(scope="module")
def app(embedded: VLM2Vec, index: Index) -> Iterator[FastAPI]:
    with searching(embedded, index) as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a picture in it, and a secret beside it."""
    (tmp_path / "files" / "in").mkdir(parents=True)
    PIL.Image.new("RGB", (64, 64), "red").save(tmp_path / "files" / "in" / "a.png")
    (tmp_path / "secret.txt").write_bytes(SECRET)
    return tmp_path / "files"


@pytest.fixture
def own(embedded: VLM2Vec, folder: Path, tmp_path: Path) -> Iterator[FastAPI]:
    """An application of that folder."""
    index = Index(tmp_path / "store", embedded)
    index.sync(folder, show_progress_bar=False)
    with searching(embedded, index) as made:
        yield made


@pytest.fixture(scope="module")
def shared(embedded: VLM2Vec, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    """The same for tests that change nothing."""
    place = tmp_path_factory.mktemp("shared")
    (place / "files" / "in").mkdir(parents=True)
    PIL.Image.new("RGB", (64, 64), "red").save(place / "files" / "in" / "a.png")
    (place / "secret.txt").write_bytes(SECRET)
    index = Index(place / "store", embedded)
    index.sync(place / "files", show_progress_bar=False)
    with searching(embedded, index) as made:
        yield made


async def sent(app: FastAPI, address: str) -> tuple[int, bytes]:
    """Status and content of the answer to a path just as it stands: clients take dots out of it first."""
    raw = address.encode()
    messages: list[Any] = []
    body: list[Any] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Any:
        if not body:
            await asyncio.Event().wait()  # the client stays
        return body.pop()

    async def send(message: Any) -> None:
        messages.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": unquote(address),  # as uvicorn does
        "raw_path": raw,
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"127.0.0.1")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
    }
    await app(scope, receive, send)
    return messages[0]["status"], b"".join(message.get("body", b"") for message in messages[1:])


@pytest.mark.parametrize(
    ("name", "row", "kind"),
    [
        (CLIP, f"{CLIP}#t=0,2", "video/mp4"),
        (DIAMOND, DIAMOND, "image/jpeg"),
        (REPORT, f"{REPORT}#page=3", "application/pdf"),
        (NOTE, f"{NOTE}#passage=1", "text/plain; charset=utf-8"),
    ],
)
def test_the_file_of_a_row_is_given_as_it_is(
    app: FastAPI, photos: Path, name: str, row: str, kind: str
) -> None:
    answer = get(app, "files", row)
    assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
    assert answer.content == (photos / name).read_bytes()
    assert answer.headers["content-disposition"].startswith("inline; filename*=UTF-8''")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert kind == "application/pdf" or "sandbox" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("route", ["files", "thumbnails"])
@pytest.mark.parametrize("name", ["two\nlines.png", "\r\nX-Evil: 1.png", "<img src=x onerror=a>.png"])
def test_names_may_have_any_characters(
    embedded: VLM2Vec, folder: Path, tmp_path: Path, name: str, route: str
) -> None:
    (folder / "in" / "a.png").rename(folder / name)
    index = Index(tmp_path / "store", embedded)
    index.sync(folder, show_progress_bar=False)
    with searching(embedded, index) as app:
        answer = get(app, route, name)
    assert answer.status_code == 200
    assert "x-evil" not in answer.headers


def test_a_slash_of_an_id_may_stand_in_the_address(app: FastAPI, photos: Path) -> None:
    assert ask(app, "GET", f"/files/{DIAMOND}").content == (photos / DIAMOND).read_bytes()


@pytest.mark.parametrize(
    ("wanted", "first", "end"),
    [("bytes=0-9", 0, 10), ("bytes=100-", 100, None), ("bytes=-7", -7, None), ("bytes=0-999999999", 0, None)],
)
def test_a_range_of_a_file_is_that_range(
    app: FastAPI, photos: Path, wanted: str, first: int, end: int | None
) -> None:
    whole = (photos / CLIP).read_bytes()
    answer = get(app, "files", f"{CLIP}#t=0,2", Range=wanted)
    assert answer.status_code == 206
    assert answer.content == whole[first:end]
    start = len(whole) + first if first < 0 else first
    assert answer.headers["content-range"] == f"bytes {start}-{start + len(answer.content) - 1}/{len(whole)}"


def test_a_range_behind_the_end_is_refused(app: FastAPI, photos: Path) -> None:
    answer = get(app, "files", DIAMOND, Range="bytes=99999999-")
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{(photos / DIAMOND).stat().st_size}"


def test_a_range_of_another_version_is_all_of_this_one(app: FastAPI, photos: Path) -> None:
    tag = get(app, "files", DIAMOND).headers["etag"]
    assert get(app, "files", DIAMOND, **{"Range": "bytes=0-1", "If-Range": tag}).status_code == 206
    answer = get(app, "files", DIAMOND, **{"Range": "bytes=0-1", "If-Range": '"other"'})
    assert (answer.status_code, answer.content) == (200, (photos / DIAMOND).read_bytes())


@pytest.mark.parametrize("route", ["files", "thumbnails"])
def test_what_a_browser_has_already_is_not_sent_again(app: FastAPI, route: str) -> None:
    tag = get(app, route, DIAMOND).headers["etag"]
    answer = get(app, route, DIAMOND, **{"If-None-Match": tag})
    assert (answer.status_code, answer.content) == (304, b"")


@pytest.mark.parametrize(
    ("header", "span"),
    [
        (None, None),
        ("", None),
        ("bytes=", None),
        ("bytes=-", None),
        ("bytes=5-2", None),
        ("items=0-1", None),
        ("bytes=0-1,3-4", None),
        ("bytes=a-b", None),
        ("bytes=٣-٤", None),
        ("bytes=" + "9" * 4000 + "-", None),
        ("bytes=0-0", (0, 1)),
        ("bytes=9-", (9, 10)),
        ("bytes=-99", (0, 10)),
        ("Bytes = 2 - 3", (2, 4)),
    ],
)
def test_ranges_are_read_as_the_standard_says(header: str | None, span: tuple[int, int] | None) -> None:
    assert byte_range(header, 10) == span


@pytest.mark.parametrize(
    ("header", "size"), [("bytes=10-", 10), ("bytes=-0", 10), ("bytes=0-", 0), ("bytes=-5", 0)]
)
def test_a_range_of_nothing_cannot_be_satisfied(header: str, size: int) -> None:
    with pytest.raises(UnsatisfiableRangeError):
        byte_range(header, size)


@pytest.mark.parametrize("route", ["files", "thumbnails"])
@pytest.mark.parametrize(
    "path",
    [
        "",
        "..",
        "../secret.txt",
        "in/../../secret.txt",
        "..%2Fsecret.txt",
        "%2e%2e/secret.txt",
        "%2e%2e%2fsecret.txt",
        "..%252Fsecret.txt",
        "..%5Csecret.txt",
        "..%c0%afsecret.txt",
        "%00",
        "in/a.png%00.txt",
        "in//a.png",
        "./in/a.png",
        "in/./a.png",
        "in%2F%2E%2E%2Fin%2Fa.png",
        "/etc/passwd",
        "%2Fetc%2Fpasswd",
        "file:///etc/passwd",
        "~/.ssh/id_rsa",
        "C:%5Cwindows%5Cwin.ini",
        "in",
        "in/",
        "IN/A.PNG",
        "in/a.png#page=1",
        "' OR '1'='1",
        "%ff%fe",
        "%ED%A0%80",
        "a" * 5000,
    ],
)
def test_what_is_no_id_of_a_row_is_not_there(shared: FastAPI, route: str, path: str) -> None:
    status, content = asyncio.run(sent(shared, f"/{route}/{path}"))
    assert status == 404
    assert SECRET not in content
    assert b"secret" not in content


def test_an_added_row_has_no_file_whatever_its_id_is(app: FastAPI) -> None:
    for name in ("ticket 1", "../../etc/passwd"):
        for route in ("files", "thumbnails"):
            assert get(app, route, name).status_code == 404


@pytest.mark.parametrize("route", ["files", "thumbnails"])
def test_a_file_that_became_a_link_out_of_the_folder_is_not_there(
    own: FastAPI, folder: Path, route: str
) -> None:
    assert get(own, route, "in/a.png").status_code == 200
    for target in (
        folder.parent / "secret.txt",
        Path("/etc/passwd"),
        Path("/dev/zero"),
        Path("/proc/self/environ"),
    ):
        (folder / "in" / "a.png").unlink()
        (folder / "in" / "a.png").symlink_to(target)
        answer = get(own, route, "in/a.png")
        assert (answer.status_code, told(answer)["code"]) == (404, "not_found")


@pytest.mark.parametrize("route", ["files", "thumbnails"])
def test_a_folder_that_became_a_link_out_of_the_folder_is_not_there(
    own: FastAPI, folder: Path, route: str
) -> None:
    outside = folder.parent / "outside"
    (folder / "in").rename(outside)
    (folder / "in").symlink_to(outside, target_is_directory=True)
    assert get(own, route, "in/a.png").status_code == 404


def test_a_link_to_a_file_in_the_folder_is_followed(own: FastAPI, folder: Path) -> None:
    (folder / "in" / "a.png").rename(folder / "b.png")
    (folder / "in" / "a.png").symlink_to("../b.png")
    assert get(own, "files", "in/a.png").content == (folder / "b.png").read_bytes()
    assert get(own, "thumbnails", "in/a.png").status_code == 200


@pytest.mark.parametrize("route", ["files", "thumbnails"])
def test_a_file_that_is_gone_or_is_none_is_not_there(own: FastAPI, folder: Path, route: str) -> None:
    path = folder / "in" / "a.png"
    path.unlink()
    gone = get(own, route, "in/a.png")
    path.mkdir()
    is_folder = get(own, route, "in/a.png")
    path.rmdir()
    os.mkfifo(path)
    is_pipe = get(own, route, "in/a.png")
    never = get(own, route, "never.png")
    assert {answer.status_code for answer in (gone, is_folder, is_pipe, never)} == {404}
    assert len({answer.text for answer in (gone, is_folder, is_pipe, never)}) == 1


@pytest.mark.parametrize("route", ["files", "thumbnails"])
def test_asking_for_what_became_a_folder_leaves_nothing_open(own: FastAPI, folder: Path, route: str) -> None:
    (folder / "in" / "a.png").unlink()
    (folder / "in" / "a.png").mkdir()
    get(own, route, "in/a.png")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        get(own, route, "in/a.png")
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


@pytest.mark.parametrize("route", ["files", "thumbnails"])
def test_of_a_damaged_store_nobody_is_told_the_place(own: FastAPI, tmp_path: Path, route: str) -> None:
    for manifest in (tmp_path / "store").rglob("manifest.sqlite"):
        manifest.write_bytes(b"nothing")
    answer = get(own, route, "in/a.png")
    assert (answer.status_code, told(answer)["code"]) == (503, "index_unavailable")
    assert str(tmp_path) not in answer.text


def test_the_store_is_not_given_though_it_lies_in_the_folder(embedded: VLM2Vec, folder: Path) -> None:
    index = Index(folder, embedded)
    index.sync(folder, show_progress_bar=False)
    manifest = next((folder / ".vlm2vec").rglob("manifest.sqlite"))
    (folder / "in" / "a.png").unlink()
    (folder / "in" / "a.png").symlink_to(manifest)
    with searching(embedded, index) as app:
        assert get(app, "files", "in/a.png").status_code == 404


def test_what_becomes_a_link_between_looking_and_opening_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "in" / "a.png"
    resolve = Path.resolve

    def swapped(self: Path, strict: bool = False) -> Path:
        real = resolve(self, strict=strict)
        if self == path and not path.is_symlink():
            path.unlink()
            path.symlink_to(folder.parent / "secret.txt")
        return real

    monkeypatch.setattr(Path, "resolve", swapped)
    with pytest.raises(FileGoneError):
        open_below(path, [folder])


def test_a_thumbnail_of_a_file_that_was_replaced_meanwhile_is_not_given(
    index: Index, photos: Path, folder: Path
) -> None:
    hit = index.row(DIAMOND)
    assert hit is not None
    stored = open_below(folder / "in" / "a.png", [folder])
    PIL.Image.new("RGB", (10, 10), "blue").save(folder / "in" / "b.png")
    (folder / "in" / "b.png").replace(folder / "in" / "a.png")
    with stored.file, pytest.raises(FileGoneError):
        Thumbnails().of(hit, stored, size=240)


@pytest.mark.parametrize(
    "content",
    [
        b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
        b"<!doctype html><script>alert(1)</script>",
        b"<?xml version='1.0'?>",
        b"MZ",
        b"",
    ],
)
def test_what_a_browser_could_run_is_given_to_be_saved_alone(
    own: FastAPI, folder: Path, content: bytes
) -> None:
    (folder / "in" / "a.png").write_bytes(content)
    answer = get(own, "files", "in/a.png")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert "sandbox" in answer.headers["content-security-policy"]
    assert get(own, "thumbnails", "in/a.png").status_code == 404


def test_types_are_of_the_content(photos: Path) -> None:
    assert media_type(Path("a.html"), b"GIF89a") == "image/gif"
    assert media_type(Path("a.webm"), b"\x1a\x45\xdf\xa3\x9f\x42\x82\x84webm") == "video/webm"
    assert media_type(Path("a.md"), b"<script>") == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("row", "colour"),
    [("notes/wide.png", (0, 128, 128)), (DIAMOND, None), (f"{REPORT}#page=2", None), (f"{CLIP}#t=0,2", None)],
)
def test_a_thumbnail_is_a_small_picture(app: FastAPI, row: str, colour: tuple[int, ...] | None) -> None:
    answer = ask(app, "GET", f"/thumbnails/{row.replace('#', '%23')}", params={"size": 240})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/webp")
    picture = PIL.Image.open(io.BytesIO(answer.content))
    assert 50 < max(picture.size) <= 240
    if colour is not None:
        assert picture.size == (240, 120)
        assert picture.convert("RGB").getpixel((9, 9)) == pytest.approx(colour, abs=4)


def test_of_a_moment_there_is_an_animation(app: FastAPI) -> None:
    moment = f"/thumbnails/{CLIP}%23t%3D0%2C2"
    moving = PIL.Image.open(io.BytesIO(ask(app, "GET", moment, params={"frames": 8}).content))
    still = PIL.Image.open(io.BytesIO(ask(app, "GET", moment).content))
    assert (moving.n_frames, still.n_frames) == (8, 1)
    assert PIL.Image.open(io.BytesIO(get(app, "thumbnails", DIAMOND).content)).n_frames == 1


def test_sizes_are_few(app: FastAPI) -> None:
    answers = {
        ask(app, "GET", "/thumbnails/notes/wide.png", params={"size": size}).content for size in (1, 17, 240)
    }
    assert len(answers) == 1
    large = PIL.Image.open(
        io.BytesIO(ask(app, "GET", "/thumbnails/notes/wide.png", params={"size": 9999999}).content)
    )
    assert max(large.size) == SIZES[-1]


@pytest.mark.parametrize("size", ["0", "-1", "x", "1e3", "²", "9" * 5000, ""])
def test_a_size_that_is_no_number_is_an_error(app: FastAPI, size: str) -> None:
    answer = ask(app, "GET", "/thumbnails/notes/wide.png", params={"size": size})
    assert (answer.status_code, told(answer)["param"]) == (400, "size")


def test_of_a_text_there_is_no_thumbnail(app: FastAPI) -> None:
    answer = get(app, "thumbnails", f"{NOTE}#passage=1")
    assert (answer.status_code, told(answer)["code"]) == (404, "no_thumbnail")


def test_of_a_broken_file_there_is_no_thumbnail_and_nothing_of_its_place(own: FastAPI, folder: Path) -> None:
    path = folder / "in" / "a.png"
    path.write_bytes(path.read_bytes()[:40])
    answer = get(own, "thumbnails", "in/a.png")
    assert (answer.status_code, told(answer)["code"]) == (404, "no_thumbnail")
    assert str(folder) not in answer.text


def test_a_changed_file_has_another_thumbnail(own: FastAPI, folder: Path) -> None:
    before = get(own, "thumbnails", "in/a.png").content
    PIL.Image.new("RGB", (64, 64), "blue").save(folder / "in" / "a.png")
    assert get(own, "thumbnails", "in/a.png").content != before


def test_thumbnails_are_kept_within_a_bound(
    index: Index, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hits = [hit for hit in index.search("x", 99, where="kind = 'image'") if hit.path is not None]
    drawn = []
    thumbnails = Thumbnails(max_bytes=4_000)
    pixels = thumbnails._pixels
    monkeypatch.setattr(thumbnails, "_pixels", lambda hit, *rest: drawn.append(hit.id) or pixels(hit, *rest))

    def draw(hit: object) -> int:
        stored = open_below(hit.path, [photos])
        with stored.file:
            return len(thumbnails.of(hit, stored, size=240))

    total = sum(draw(hit) for hit in hits)
    assert total > 4_000 >= thumbnails._bytes > 0
    draw(hits[-1])
    assert drawn == [hit.id for hit in hits]
    draw(hits[0])
    assert drawn == [hit.id for hit in [*hits, hits[0]]]


def test_an_open_file_is_closed_when_it_was_sent(app: FastAPI) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        get(app, "files", DIAMOND)
        get(app, "files", DIAMOND, Range="bytes=99999999-")
        get(app, "thumbnails", DIAMOND)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 2
