"""The page in a browser: what a person does with it, by mouse, keyboard and phone, with and without a key."""

from __future__ import annotations

import base64
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI
from search_cases import searching

from vlm2vec import Index, VLM2Vec
from vlm2vec.serve.run import bind
from vlm2vec.serve.settings import ServeSettings

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None, reason="there is no Chromium, which apt-get install chromium brings"
    ),
]

KEY = "correct-horse-battery"
RING = "a large red ring moving down"
LONG, UNPLAYABLE, HOSTILE = "long.mp4", "old.avi", "<img src=x onerror=alert(1)>.txt"
Open = Callable[..., Any]


def write_video(path: Path, colours: list[str], codec: str, seconds: int = 10) -> None:
    """A clip of plain colours, each for some seconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=4, options={"threads": "1"})
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for colour in colours:
            pixels = np.full((64, 64, 3), {"red": (220, 20, 20), "blue": (20, 20, 220)}[colour], np.uint8)
            for _ in range(4 * seconds):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


@pytest.fixture(scope="module")
def shown(photos: Path, embedded: VLM2Vec, tmp_path_factory: pytest.TempPathFactory) -> Index:
    """An index of the drawn files, of clips, of many notes and of one with a hostile name."""
    folder = tmp_path_factory.mktemp("shown") / "photos"
    shutil.copytree(photos, folder)
    (folder / "clips").mkdir()
    write_video(folder / "clips" / LONG, ["red", "blue", "red"], "libx264")
    write_video(folder / "clips" / UNPLAYABLE, ["blue"], "mpeg4", seconds=3)
    (folder / "many").mkdir()
    for number in range(30):
        (folder / "many" / f"note {number}.txt").write_text(f"note of day {number}", encoding="utf-8")
    (folder / "many" / HOSTILE.replace("/", "")).write_text(
        "<b>bold</b><script>alert(1)</script>", encoding="utf-8"
    )
    index = Index(tmp_path_factory.mktemp("shown stores") / "pictures", embedded)
    index.sync(folder, show_progress_bar=False)
    return index


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """The address of a server that runs in a thread."""
    opened = bind(ServeSettings(port=0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]})
    thread.start()
    try:
        deadline = time.monotonic() + 60
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.02)
        yield f"http://127.0.0.1:{opened.getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join(30)


@pytest.fixture(scope="module")
def address(embedded: VLM2Vec, shown: Index) -> Iterator[str]:
    with searching(embedded, shown) as app, served(app) as at:
        yield at


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def browse(chromium: Any) -> Iterator[Open]:
    """Opens an address; a fault of a script, a refusal by policy, or a request elsewhere fails the test."""
    contexts, faults = [], []

    def opened(
        at: str, *, width: int = 1280, scheme: str = "light", allowed: tuple[int, ...] = (), **how: Any
    ) -> Any:
        context = chromium.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme, **how)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        host = at.partition("#")[0]
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on(
            "console",
            lambda message: "Content Security Policy" in message.text and faults.append(message.text),
        )
        page.on("dialog", lambda dialog: (faults.append(dialog.message), dialog.dismiss()))
        page.on(
            "response",
            lambda answer: (
                answer.status >= 400
                and answer.status not in allowed
                and faults.append(f"{answer.status} {answer.url}")
            ),
        )
        page.on(
            "request",
            lambda request: request.url.startswith((host, "blob:", "data:")) or faults.append(request.url),
        )
        page.goto(at)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert faults == []


def ask(page: Any, words: str) -> None:
    page.fill("#words", words)
    page.press("#words", "Enter")
    wait(page)


def wait(page: Any) -> None:
    """Until the results of the last search are there."""
    until(
        page, "!document.querySelector('main').classList.contains('busy') && document.querySelector('.hit')"
    )


def until(page: Any, expression: str, seconds: float = 20) -> None:
    """Until it is true of the page, asked from outside: its policy lets no text become a script in it."""
    deadline = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, f"not true in {seconds:g} s: {expression}"
        page.wait_for_timeout(30)


def names(page: Any) -> list[str]:
    return [one.strip() for one in page.locator(".file").all_text_contents()]


def drop(page: Any, path: Path, kind: str, event: str = "drop") -> None:
    """Drop a file on the page, or paste it."""
    page.evaluate(
        """([data, name, type, event]) => {
            const bytes = Uint8Array.from(atob(data), (each) => each.charCodeAt(0));
            const moved = new DataTransfer();
            moved.items.add(new File([bytes], name, { type }));
            const how = { bubbles: true, cancelable: true };
            const made = event === "paste"
                ? new ClipboardEvent("paste", { clipboardData: moved, ...how })
                : new DragEvent(event, { dataTransfer: moved, ...how });
            document.body.dispatchEvent(made);
        }""",
        [base64.b64encode(path.read_bytes()).decode(), path.name, kind, event],
    )


def test_words_find_what_they_say(browse: Open, address: str) -> None:
    page = browse(address)
    assert page.evaluate("document.activeElement.id") == "words"
    until(page, "document.title === 'pictures \N{EN DASH} search'")
    assert "7 pictures · 6 videos · 2 PDFs · 32 texts · model vlm2vec" in page.text_content("#holds")
    ask(page, RING)
    assert names(page)[0] == "clip-red-ring-moving-down.mp4"
    first = page.locator(".hit").first
    assert "0:00\N{EN DASH}0:02" in first.text_content()
    assert first.get_attribute("aria-label").startswith(
        "1. clip-red-ring-moving-down.mp4, 0:00\N{EN DASH}0:02, score 0."
    )
    assert page.text_content("#status").startswith("24 results, best first, in ")
    until(
        page, "[...document.querySelectorAll('.hit img')].slice(0, 3).every((each) => each.naturalWidth > 0)"
    )


def test_the_address_is_the_query(browse: Open, address: str) -> None:
    page = browse(f"{address}#q=a+report&kind=pdf&in=photos%2Fdrawn")
    wait(page)
    assert (page.input_value("#words"), page.input_value("#folder")) == ("a report", "photos/drawn")
    assert page.locator("#kinds input:checked").evaluate_all("all => all.map((one) => one.value)") == ["pdf"]
    assert len(names(page)) == 6
    ask(page, "a red circle")
    assert page.evaluate("location.hash") == "#q=a+red+circle&kind=pdf&in=photos%2Fdrawn"
    page.go_back()
    until(page, "document.getElementById('words').value === 'a report'")
    page.goto(address)
    page.wait_for_selector("#start:not([hidden])")


def test_a_file_is_dropped_pasted_or_chosen_and_removed(
    browse: Open, address: str, photos: Path, shown: Index
) -> None:
    diamond = photos / "drawn" / "scene-blue-diamond.jpg"
    page = browse(address)
    drop(page, diamond, "image/jpeg", "dragover")
    assert page.is_visible("#drop")
    drop(page, diamond, "image/jpeg")
    wait(page)
    assert not page.is_visible("#drop")
    assert (page.text_content("#chip-name"), names(page)[0]) == (diamond.name, diamond.name)
    with page.expect_response("**/v1/search") as answer:
        ask(page, "but a report")
    expected = shown.search([diamond, "but a report"], k=24)
    assert [hit["id"] for hit in answer.value.json()["data"]] == [hit.id for hit in expected]
    page.fill("#words", "")
    page.click("#chip-remove")
    page.wait_for_selector("#start:not([hidden])")
    assert not page.is_visible("#chip")
    assert page.locator("#hits:not(.samples) .hit").count() == 0
    drop(page, photos / "drawn" / "clip-red-ring-moving-down.mp4", "video/mp4", "paste")
    wait(page)
    assert names(page)[0] == "clip-red-ring-moving-down.mp4"
    page.set_input_files("#file", photos / "drawn" / "report-autumn-desert.pdf")
    page.wait_for_selector("#chip-page:not([hidden])")
    page.fill("#page", "2")
    with page.expect_response("**/v1/search"):
        page.press("#page", "Enter")
    wait(page)
    assert (names(page)[0], "page 2" in page.locator(".hit").first.text_content()) == (
        "report-autumn-desert.pdf",
        True,
    )


def test_kinds_and_folders_are_filters(browse: Open, address: str) -> None:
    page = browse(address)
    ask(page, "a report")
    with page.expect_response("**/v1/search"):
        page.get_by_label("PDFs").check()
    wait(page)
    assert {name.rpartition(".")[2] for name in names(page)} == {"pdf"}
    with page.expect_response("**/v1/search"):
        page.get_by_label("Pictures").check()
    wait(page)
    assert {name.rpartition(".")[2] for name in names(page)} == {"pdf", "png", "jpg"}
    with page.expect_response("**/v1/search"):
        page.select_option("#folder", "photos/notes")
    wait(page)
    assert names(page) == ["wide.png"]
    with page.expect_response("**/v1/search"):
        page.get_by_label("Pictures").uncheck()
    until(page, "document.getElementById('status').textContent === 'Nothing fits these filters.'")


def test_a_page_of_a_pdf_is_shown_and_opens_at_that_page(browse: Open, address: str) -> None:
    page = browse(f"{address}#q=a+report&kind=pdf")
    wait(page)
    card = page.locator(".hit", has_text="page 3").first
    card.click()
    until(page, "document.querySelector('#stage img')?.naturalHeight > 480")
    assert page.text_content("#viewer-open") == "Open page 3"
    assert page.get_attribute("#viewer-open", "href").endswith(".pdf%23page%3D3#page=3")
    page.keyboard.press("Escape")
    with page.context.expect_page() as opened:
        card.click(modifiers=["Control"])
    assert opened.value.url.endswith(".pdf%23page%3D3#page=3")
    assert not page.is_visible("#viewer")


def test_a_video_plays_from_the_moment(browse: Open, address: str) -> None:
    page = browse(f"{address}#q=blue&kind=video&in=photos%2Fclips")
    wait(page)
    page.locator(".hit", has_text="0:10\N{EN DASH}0:20").click()
    until(page, "document.querySelector('#stage video')?.currentTime >= 10")
    assert page.evaluate("document.querySelector('#stage video').videoWidth") == 64
    assert page.text_content("#viewer-name") == LONG
    page.keyboard.press("Escape")
    until(page, "!document.querySelector('#stage').children.length")


def test_of_a_video_that_cannot_be_played_frames_are_shown(browse: Open, address: str) -> None:
    page = browse(f"{address}#q=blue&kind=video&in=photos%2Fclips")
    wait(page)
    page.locator(".hit", has_text=UNPLAYABLE).click()
    until(page, "document.querySelector('#stage img')?.naturalWidth > 0")
    assert "cannot play" in page.text_content("#viewer-note")


def test_a_picture_opens_large_and_others_follow(browse: Open, address: str) -> None:
    page = browse(f"{address}#q=a+blue+diamond&kind=image")
    wait(page)
    page.locator(".hit").first.click()
    until(page, "document.querySelector('#stage img')?.naturalWidth > 300")
    first = page.text_content("#viewer-name")
    assert page.is_disabled("#previous")
    assert page.get_attribute("#viewer-open", "href").endswith("/files/drawn%2Fscene-blue-diamond.jpg")
    page.click("#next")
    assert page.text_content("#viewer-name") != first
    assert page.text_content("#viewer-note") == "2 of 7"
    page.click("#viewer-close")
    until(page, "document.activeElement.classList.contains('hit')")


def test_what_is_far_from_the_best_is_paler(browse: Open, address: str) -> None:
    page = browse(address)
    ask(page, RING)
    near = [
        float(one)
        for one in page.evaluate(
            "[...document.querySelectorAll('.hit')].map((one) => one.style.getPropertyValue('--near'))"
        )
    ]
    assert near[0] == 1
    assert near == sorted(near, reverse=True)
    assert 0 <= near[-1] < 0.5
    paleness = "getComputedStyle([...document.querySelectorAll('.meter i')].at({})).opacity"
    assert float(page.evaluate(paleness.format(-1))) < float(page.evaluate(paleness.format(0))) == 1


def test_the_start_shows_files_of_the_index(browse: Open, address: str) -> None:
    page = browse(address)
    page.wait_for_selector("#start:not([hidden])")
    assert "In this index" in page.text_content("#start")
    assert len(set(names(page))) == len(names(page)) == 12
    assert page.locator(".score").count() == 0
    page.locator(".hit").first.click()
    assert page.text_content("#viewer-note") == "1 of 12"
    assert "score" not in page.text_content("#viewer-what")
    page.keyboard.press("Escape")
    ask(page, RING)
    assert page.locator(".samples").count() == 0
    assert not page.is_visible("#start")


def test_a_refusal_of_an_old_key_does_not_discard_a_new_one(
    browse: Open, embedded: VLM2Vec, shown: Index
) -> None:
    with searching(embedded, shown, api_key=KEY) as app, served(app) as at:
        page = browse(at, allowed=(401,))
        page.wait_for_selector("#key-dialog[open]")
        held = []
        page.route("**/v1/search", lambda route: held.append(route) if not held else route.continue_())
        page.evaluate("sessionStorage.setItem('vlm2vec-key', 'old')")
        page.evaluate(
            "words.value = 'blue'; document.getElementById('form').requestSubmit()"
        )  # with the old key
        until(page, "document.querySelector('main').classList.contains('busy')")
        page.fill("#key", KEY)
        page.press("#key", "Enter")
        page.wait_for_selector("#filters:not([hidden])")
        held[0].continue_()
        wait(page)
        until(page, "!document.querySelector('#hits').classList.contains('samples')")
        assert not page.is_visible("#key-dialog")
        assert page.evaluate("sessionStorage.getItem('vlm2vec-key')") == KEY


def test_an_address_may_say_anything(browse: Open, address: str) -> None:
    page = browse(f"{address}#q=a+report&kind=constructor,toString")
    wait(page)
    assert page.text_content("#status").startswith("24 results")


def test_all_of_it_works_by_keyboard(browse: Open, address: str) -> None:
    page = browse(address)
    page.keyboard.type("a blue diamond")
    page.keyboard.press("Enter")
    wait(page)
    focused = "[...document.querySelectorAll('.hit')].indexOf(document.activeElement)"
    columns = page.evaluate(
        "getComputedStyle(document.getElementById('hits')).gridTemplateColumns.split(' ').length"
    )
    for key, at in (
        ("ArrowDown", 0),
        ("ArrowRight", 1),
        ("ArrowDown", 1 + columns),
        ("ArrowLeft", columns),
        ("ArrowUp", 0),
    ):
        page.keyboard.press(key)
        assert page.evaluate(focused) == at
    page.keyboard.press("Enter")
    assert page.is_visible("#viewer")
    page.keyboard.press("ArrowRight")
    assert page.text_content("#viewer-note") == "2 of 24"
    page.keyboard.press("Escape")
    until(page, f"{focused} === 1")  # the one that was looked at last
    assert not page.is_visible("#viewer")
    page.keyboard.press("/")
    page.keyboard.type("a report")
    assert page.input_value("#words") == "a report"
    page.keyboard.press("Escape")
    page.wait_for_selector("#start:not([hidden])")


def test_more_results_follow_the_first(browse: Open, address: str) -> None:
    page = browse(f"{address}#q=a+note+of+the+day")
    wait(page)
    before = names(page)
    with page.expect_response("**/v1/search"):
        page.click("#more")
    until(page, "document.querySelectorAll('.hit').length === 48")
    assert names(page)[:24] == before
    assert page.evaluate("[...document.querySelectorAll('.hit')].indexOf(document.activeElement)") == 24


def test_names_and_texts_are_never_markup(browse: Open, address: str) -> None:
    page = browse(f"{address}#q=bold&kind=text&in=photos%2Fmany")
    wait(page)
    while page.is_visible("#more"):
        page.click("#more")
        until(page, "!document.querySelector('main').classList.contains('busy')")
    assert HOSTILE in names(page)
    page.locator(".hit", has_text="<b>bold</b>").click()
    assert page.text_content("#stage pre") == "<b>bold</b><script>alert(1)</script>"
    assert page.locator("#hits b, #hits script, #stage b, .file img").count() == 0


def test_what_is_wrong_with_a_file_is_said_in_words(browse: Open, address: str) -> None:
    page = browse(address, allowed=(400,))
    page.set_input_files("#file", {"name": "broken.png", "mimeType": "image/png", "buffer": b"no picture"})
    page.wait_for_selector("#error:not([hidden])")
    assert (
        page.text_content("#error")
        == 'The file "broken.png" is of no known format. Send a picture, a clip or a PDF.'
    )
    assert page.get_attribute("#error", "role") == "alert"
    page.wait_for_selector("#chip", state="hidden")
    ask(page, "a red ring")
    assert not page.is_visible("#error")


def test_a_server_that_is_gone_is_said_in_words(browse: Open, embedded: VLM2Vec, shown: Index) -> None:
    with searching(embedded, shown) as app, served(app) as at:
        page = browse(at)
        ask(page, "a red ring")
    page.press("#words", "Enter")
    page.wait_for_selector("#error:not([hidden])")
    assert "The server does not answer." in page.text_content("#error")


def test_an_empty_index_says_how_to_fill_it(
    browse: Open, embedded: VLM2Vec, tmp_path: Path, photos: Path
) -> None:
    with searching(embedded, Index(tmp_path / "new", embedded)) as app, served(app) as at:
        page = browse(at)
        page.wait_for_selector("#start code")
        assert "Nothing is indexed yet" in page.text_content("#start")
        assert page.text_content("#start code") == "vlm2vec index FOLDER"
        Index(tmp_path / "new", embedded).sync(photos / "notes", show_progress_bar=False)
        ask(page, "rings")
        assert len(names(page)) == 2


def test_a_server_without_an_index_says_how_to_start_with_one(browse: Open, embedded: VLM2Vec) -> None:
    with searching(embedded, None) as app, served(app) as at:
        page = browse(at, allowed=(404,))
        page.wait_for_selector("#start code")
        assert page.text_content("#start code") == "vlm2vec serve --index FOLDER"


def test_it_asks_for_the_key_and_keeps_it_for_the_tab(browse: Open, embedded: VLM2Vec, shown: Index) -> None:
    with searching(embedded, shown, api_key=KEY) as app, served(app) as at:
        page = browse(f"{at}#q=blue&in=photos%2Fclips", allowed=(401,))
        page.fill("#key", "wrong")
        page.press("#key", "Enter")
        page.wait_for_selector("#key-wrong:not([hidden])")
        page.fill("#key", KEY)
        page.press("#key", "Enter")
        wait(page)
        until(page, "[...document.querySelectorAll('.hit img')].some((each) => each.naturalWidth > 0)")
        page.locator(".hit", has_text="0:10\N{EN DASH}0:20").click()
        until(page, "document.querySelector('#stage video')?.currentTime >= 10")
        assert KEY not in page.content() + page.evaluate("location.href")
        page.keyboard.press("Escape")
        page.reload()
        wait(page)
        assert not page.is_visible("#key-dialog")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible(browse: Open, address: str, photos: Path, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    page = browse(address, scheme=scheme, allowed=(400,), reduced_motion="reduce")

    def check(what: str) -> None:
        page.wait_for_timeout(300)  # what fades in
        found = axe.run(page)
        assert found.violations_count == 0, f"{what}: {found.generate_report()}"

    page.wait_for_selector("#start:not([hidden])")
    check("at the start")
    drop(page, photos / "drawn" / "report-autumn-desert.pdf", "application/pdf")
    ask(page, "a red ring")
    page.get_by_label("Videos").check()
    wait(page)
    check("with results")
    page.locator(".hit").first.click()
    page.wait_for_selector("#stage video")
    check("a video")
    page.keyboard.press("Escape")
    page.set_input_files("#file", {"name": "a.png", "mimeType": "image/png", "buffer": b"no"})
    page.wait_for_selector("#error:not([hidden])")
    check("an error")
    page.evaluate("document.getElementById('key-dialog').showModal()")
    check("asked for a key")


@pytest.mark.parametrize("width", [320, 390])
def test_it_fits_a_phone(browse: Open, address: str, photos: Path, width: int) -> None:
    page = browse(address, width=width, has_touch=True, is_mobile=True)
    drop(page, photos / "drawn" / "scene-pink-square-red-diamond-red-square.png", "image/png")
    ask(page, "a red ring")
    assert page.evaluate("document.activeElement.id") != "words"  # the keyboard would hide the results
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for control in page.locator("#form button:visible, .kind-choice, select, #words").all():
        assert control.bounding_box()["height"] >= 44
    lefts = page.evaluate(
        "[...document.querySelectorAll('.hit')].map((one) => one.getBoundingClientRect().left)"
    )
    assert len(set(lefts)) == 2
    page.locator(".hit[role=button]").first.tap()
    assert page.evaluate("document.getElementById('viewer').getBoundingClientRect().width") == width
