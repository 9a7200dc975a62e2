"""URLs are fetched while the model computes, a few at a time, and nothing of them is kept."""

from __future__ import annotations

import http.server
import io
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import PIL.Image
import pytest

from vlm2vec import VLM2Vec
from vlm2vec.encoding import ahead
from vlm2vec.errors import InputError, MediaError
from vlm2vec.inputs import parse as parse_module
from vlm2vec.inputs import parse_input
from vlm2vec.inputs.parse import fetched
from vlm2vec.media import fetch as fetch_module
from vlm2vec.media import source as source_module
from vlm2vec.media.deadline import Cancelled
from vlm2vec.media.source import Source

URLS = 40


def picture(number: int) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (56, 56, 3), dtype=np.uint8)
    PIL.Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


class Handler(http.server.BaseHTTPRequestHandler):
    """Pictures by number; everything else is not there, but for a PDF."""

    def do_GET(self) -> None:
        name = self.path.lstrip("/").partition("?")[0]
        body = picture(int(name)) if name.isdigit() else b"%PDF-1.7" if name == "pdf" else b""
        self.send_response(200 if body else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.fixture(scope="module")
def model() -> VLM2Vec:
    return VLM2Vec(device="cpu", allow_urls=True)


@pytest.fixture(autouse=True)
def threads(monkeypatch: pytest.MonkeyPatch) -> list[threading.Thread]:
    """The thread of each download."""
    monkeypatch.setattr(fetch_module, "_is_public", lambda _: True)
    found: list[threading.Thread] = []
    fetch = source_module.fetch

    def noted(*args: Any, **kwargs: Any) -> bytes:
        found.append(threading.current_thread())
        return fetch(*args, **kwargs)

    monkeypatch.setattr(source_module, "fetch", noted)
    return found


@pytest.fixture(autouse=True)
def held(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many sources hold what their URL led to."""
    known: dict[int, dict[str, Any]] = {}
    read = Source.read

    def noted(source: Source) -> bytes:
        known[id(source.facts)] = source.facts
        return read(source)

    monkeypatch.setattr(Source, "read", noted)
    return lambda: sum("fetched" in facts for facts in known.values())


def test_urls_are_fetched_beside_the_model_and_let_go_of_with_their_batch(
    server: str, model: VLM2Vec, threads: list[threading.Thread], held: Callable[[], int]
) -> None:
    asked: list[int] = []
    computed: list[int] = []
    left: list[int] = []

    def noted(_: Any, given: Any) -> None:
        asked.append(len(threads))
        computed.append(len(given[0]["packed"].offsets) - 1)
        left.append(held())

    hook = model[0].register_forward_pre_hook(noted)
    try:
        vectors = model.encode(
            [{"image": f"{server}/{number}"} for number in range(URLS)], max_tokens_per_batch=80
        )
    finally:
        hook.remove()
    assert np.allclose(vectors, model.encode([picture(number) for number in range(URLS)]), atol=5e-7)
    assert len(threads) == URLS
    assert threading.main_thread() not in threads
    assert len(asked) > 4
    assert asked[0] <= 2 * ahead._URLS_AT_ONCE < URLS
    for done, still in zip(np.cumsum(computed), left, strict=True):
        assert still <= URLS - done
    assert held() == 0


def test_what_a_url_led_to_is_let_go_of_when_it_is_decoded_and_not_with_its_batch(
    server: str, model: VLM2Vec, held: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[int] = []
    finished = ahead._finished

    def noted(batch: Any, decoded: Any, *given: Any, **options: Any) -> Any:
        for future in decoded.values():
            future.result()
        left.append(held())
        return finished(batch, decoded, *given, **options)

    monkeypatch.setattr(ahead, "_finished", noted)
    monkeypatch.setattr(model, "engine_settings", replace(model.engine_settings, prepare_ahead=False))
    model.encode([{"image": f"{server}/{number}"} for number in range(4)])
    assert [count for count in left if count] == []
    assert left


@pytest.mark.parametrize("ahead_of_the_model", [True, False])
def test_large_files_are_fetched_one_at_a_time_and_few_are_held(
    server: str,
    model: VLM2Vec,
    ahead_of_the_model: bool,
    monkeypatch: pytest.MonkeyPatch,
    threads: list[threading.Thread],
    held: Callable[[], int],
) -> None:
    """A group ends with its third picture here, and at most three batches wait for the model."""
    size = len(picture(0))
    monkeypatch.setattr(ahead, "_BYTES_AHEAD", size // 2)
    monkeypatch.setattr(ahead, "_BYTES_AT_ONCE", 2 * size + 1)
    settings = replace(model.engine_settings, prepare_ahead=ahead_of_the_model)
    monkeypatch.setattr(model, "engine_settings", settings)
    most: list[int] = []
    get = Source.fetched

    def noted(source: Source, max_bytes: int) -> bytes:
        try:
            return get(source, max_bytes)
        finally:
            most.append(held())

    monkeypatch.setattr(Source, "fetched", noted)
    vectors = model.encode([{"image": f"{server}/{number}"} for number in range(URLS)])
    assert np.allclose(vectors, model.encode([picture(number) for number in range(URLS)]), atol=5e-7)
    assert [thread is threading.main_thread() for thread in threads].count(True) == URLS
    assert len(threads) == (2 * URLS if ahead_of_the_model else URLS)
    assert max(most) <= 3 + 3 * 3
    assert held() == 0


def test_the_urls_of_one_input_have_a_limit_together(
    server: str, model: VLM2Vec, monkeypatch: pytest.MonkeyPatch, held: Callable[[], int]
) -> None:
    monkeypatch.setattr(parse_module, "_FETCHED_BYTES", 2 * len(picture(0)) + 100)
    monkeypatch.setattr(ahead, "_BYTES_AHEAD", len(picture(0)))
    few, many = [{"images": [f"{server}/{number}" for number in range(count)]} for count in (2, 3)]
    errors: dict[int | None, str] = {}
    vectors = model.encode([few, many], on_error=lambda index, error: errors.update({index: str(error)}))
    assert np.isfinite(vectors[0]).all()
    assert list(errors) == [1]
    assert "what its URLs lead to has more than" in errors[1]
    assert held() == 0


def test_one_url_of_equal_inputs_is_fetched_once(
    server: str, model: VLM2Vec, threads: list[threading.Thread]
) -> None:
    vectors = model.encode([{"image": f"{server}/1"}] * 3)
    assert len(threads) == 1
    assert (vectors == vectors[0]).all()


@pytest.mark.parametrize("ahead_of_the_model", [True, False])
def test_a_url_that_leads_nowhere_costs_its_own_row_only(
    server: str,
    model: VLM2Vec,
    ahead_of_the_model: bool,
    monkeypatch: pytest.MonkeyPatch,
    held: Callable[[], int],
) -> None:
    settings = replace(model.engine_settings, prepare_ahead=ahead_of_the_model)
    monkeypatch.setattr(model, "engine_settings", settings)
    errors: dict[int | None, str] = {}
    inputs = [
        {"image": f"{server}/1"},
        {"image": f"{server}/gone?token=secret"},
        {"text": "a page", "images": [f"{server}/2", f"{server}/pdf"]},
        {"video": f"{server}/3"},
        {"pdf": f"{server}/pdf"},
        {"video": [f"{server}/2", f"{server}/3"]},
    ]
    vectors = model.encode(inputs, on_error=lambda index, error: errors.update({index: str(error)}))
    assert list(errors) == [1, 2, 3, 4]
    assert errors[1].startswith(f"input 1 ({server}/gone): the server answered 404")
    assert f'input 2 ({server}/pdf): a PDF stands under "images"' in errors[2]
    assert 'an image stands under "video"' in errors[3]
    assert "the PDF cannot be opened" in errors[4]
    assert not any("secret" in error for error in errors.values())
    assert np.isfinite(vectors[[0, 5]]).all()
    assert held() == 0
    with pytest.raises(MediaError, match="404"):
        model.encode(inputs)


def test_training_features_of_urls_are_those_of_their_content(server: str, model: VLM2Vec) -> None:
    one, other = model.preprocess([{"image": f"{server}/1"}]), model.preprocess([picture(1)])
    assert (one["pixel_values"] == other["pixel_values"]).all()
    with pytest.raises(MediaError, match=r"input 0 .*404"):
        model.preprocess([{"image": f"{server}/gone"}])


@pytest.mark.parametrize("freeze_vision", [False, True])
def test_training_fetches_a_url_once_a_step(
    freeze_vision: bool, server: str, threads: list[threading.Thread], held: Callable[[], int]
) -> None:
    """Also where its picture is decoded again: the second answer may be another, or none."""
    model = VLM2Vec(device="cpu", allow_urls=True)
    rows = [
        {"query": f"picture {number}", "document": {"image": f"{server}/{number}"}} for number in range(4)
    ]
    chunks = {"max_tokens_per_chunk": 40, "kept_tokens": 0, "show_progress_bar": False}
    model.fit(rows, max_steps=1, batch_size=4, freeze_vision=freeze_vision, **chunks)
    assert len(threads) == 4
    assert held() == 0


def test_a_parsed_url_is_refused_by_whoever_does_not_allow_urls(server: str) -> None:
    parsed = parse_input({"image": f"{server}/1"}, allow_urls=True)
    with pytest.raises(InputError, match="URLs are not fetched"):
        parse_input(parsed)
    assert fetched(parsed) is not parsed


def test_a_silent_server_does_not_keep_a_caller_who_gives_up(model: VLM2Vec, server: str) -> None:
    """The reading of an answer that never comes ends soon after the call does."""
    begun = threading.Event()

    class Silent(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            begun.set()
            over.wait(20)

        def log_message(self, *_: Any) -> None:
            pass

    over = threading.Event()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Silent) as silent:
        threading.Thread(target=silent.serve_forever, daemon=True).start()
        with ahead.Workers() as workers:
            item = parse_input({"image": f"http://127.0.0.1:{silent.server_port}/a"}, allow_urls=True)
            rows = workers.fetched([(0, item)], 1)

            def wait() -> None:
                with suppress(Cancelled):
                    next(rows)

            threading.Thread(target=wait, daemon=True).start()
            assert begun.wait(10)
        assert not [each for each in threading.enumerate() if each.name.startswith("vlm2vec-fetch")]
        over.set()
        silent.shutdown()
