"""Models behind HTTP: the scores of the model itself, and what happens when a server is busy or refuses."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vlm2vec import VLM2Vec, mmeb
from vlm2vec.errors import InputError, MediaError
from vlm2vec.mmeb import ServedModel
from vlm2vec.mmeb.encoders.served_client import RefusedError, ServerError
from vlm2vec.mmeb.samples import Content
from vlm2vec.mmeb.task_result import StaleResultError

Answer = tuple[int, dict[str, str], Any]


class Server:
    """A server of this machine, which answers as a function of the body says, and notes what it was sent."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.models = ["tiny"]
        self.answer: Callable[[dict[str, Any]], Answer] = lambda body: vectors_for(len(body["input"]))
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._send(200, {}, {"data": [{"id": name} for name in server.models]})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with server._lock:
                    server.bodies.append(body)
                    server.headers.append(dict(self.headers))
                    answer = server.answer(body)
                self._send(*answer)

            def _send(self, status: int, headers: dict[str, str], content: Any) -> None:
                data = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(data))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def vectors_for(count: int, dim: int = 3) -> Answer:
    rows = np.random.default_rng(count).normal(size=(count, dim)).tolist()
    return 200, {}, {"data": [{"index": index, "embedding": row} for index, row in enumerate(rows)]}


def answered(rows: np.ndarray) -> Answer:
    data = [{"index": index, "embedding": row.tolist()} for index, row in enumerate(rows)]
    return 200, {}, {"data": data[::-1]}


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture(scope="module")
def model() -> VLM2Vec:
    return VLM2Vec(device="cpu")


def texts(*given: str) -> list[Content]:
    return [Content(text, text) for text in given]


def as_vlm2vec(model: VLM2Vec) -> Callable[[dict[str, Any]], Answer]:
    return lambda body: answered(
        model.encode(body["input"], instruction=body["instruction"], show_progress_bar=False)
    )


def as_vllm(model: VLM2Vec) -> Callable[[dict[str, Any]], Answer]:
    def answer(body: dict[str, Any]) -> Answer:
        turns = [one for one in body["messages"] if one["role"] != "assistant"]
        for part in turns[-1]["content"]:
            if part["type"] == "video_url":
                frames = part.pop("video_url")["url"].removeprefix("data:video/jpeg;base64,").split(",")
                part |= {"type": "video", "video": [f"data:image/png;base64,{one}" for one in frames]}
                part["num_frames"] = len(frames)
        return answered(model.encode([turns], show_progress_bar=False))

    return answer


def as_openai(model: VLM2Vec) -> Callable[[dict[str, Any]], Answer]:
    return lambda body: answered(model.encode(body["input"], instruction="", show_progress_bar=False))


@pytest.mark.parametrize(
    ("shape", "task"), [("vlm2vec", "mini-I-VG"), ("vlm2vec", "mini-V-RET"), ("vllm", "mini-V-RET")]
)
def test_scores_are_those_of_the_model_itself(server: Server, model: VLM2Vec, shape: Any, task: str) -> None:
    server.answer = {"vlm2vec": as_vlm2vec, "vllm": as_vllm}[shape](model)
    place = {"vlm2vec": "field", "vllm": "system"}[shape]
    served = ServedModel(server.url, shape=shape, instruction_in=place)
    expected = mmeb.evaluate(model, task).tasks[0]
    found = mmeb.evaluate(served, task).tasks[0]
    assert found.scores == expected.scores
    assert found.per_query == expected.per_query
    assert [top[0] for top in found.top] == [top[0] for top in expected.top]
    assert found.model == "tiny"


def test_scores_with_the_instruction_in_the_text_are_those_of_such_texts(
    server: Server, model: VLM2Vec
) -> None:
    def worded(contents: Any, role: str) -> np.ndarray:
        inputs = [
            {
                **({"image": one.image} if one.image else {}),
                "text": " ".join(filter(None, (one.instruction, one.text))),
            }
            for one in contents
        ]
        given = [one if "image" in one and one["text"] else dict(filter(all, one.items())) for one in inputs]
        found: np.ndarray = model.encode(given, instruction="", show_progress_bar=False)
        return found

    server.answer = as_openai(model)
    expected = mmeb.evaluate(worded, "mini-I-RET", name="worded").tasks[0]
    found = mmeb.evaluate(ServedModel(server.url), "mini-I-RET").tasks[0]
    assert found.per_query == expected.per_query


def test_a_url_is_a_model(server: Server, model: VLM2Vec) -> None:
    server.answer = as_vlm2vec(model)
    found = mmeb.evaluate(server.url, "mini-I-CLS", shape="vlm2vec")
    assert found.scores == mmeb.evaluate(model, "mini-I-CLS").scores
    assert found.settings["prompts"] == "instruction beside the input"


def test_results_of_another_model_or_server_are_refused(
    server: Server, model: VLM2Vec, tmp_path: Path
) -> None:
    server.answer = as_vlm2vec(model)
    served = ServedModel(server.url, shape="vlm2vec", api_key="secret")
    mmeb.evaluate(served, "mini-I-CLS", output_dir=tmp_path)
    asked = len(server.bodies)
    again = ServedModel(f"{server.url}/", shape="vlm2vec", api_key="another", batch_size=3)
    mmeb.evaluate(again, "mini-I-CLS", output_dir=tmp_path)
    assert len(server.bodies) == asked
    with pytest.raises(StaleResultError, match=r"model\.model differ"):
        mmeb.evaluate(ServedModel(server.url, "other", shape="vlm2vec"), "mini-I-CLS", output_dir=tmp_path)
    other = Server()
    with pytest.raises(StaleResultError, match=r"model\.server differ"):
        mmeb.evaluate(ServedModel(other.url, shape="vlm2vec"), "mini-I-CLS", output_dir=tmp_path)
    other.close()
    for path in tmp_path.rglob("*.json"):
        assert "secret" not in path.read_text(encoding="utf-8")


def test_rows_come_in_order_from_many_threads(server: Server) -> None:
    def answer(body: dict[str, Any]) -> Answer:
        return answered(np.asarray([[1.0, float(text)] for text in body["input"]]))

    server.answer = answer
    served = ServedModel(server.url, batch_size=3, threads=5)
    rows = served.encode(texts(*map(str, range(50))), role="query")
    assert [round(float(row[1] / row[0]), 3) for row in rows] == list(range(50))
    assert max(len(body["input"]) for body in server.bodies) == 3
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)


def test_the_key_and_more_fields_are_sent(server: Server) -> None:
    fields = {"query": {"input_type": "query"}, "document": {"input_type": "passage"}}
    served = ServedModel(
        server.url, api_key="abc", fields={"dimensions": 2}, role_fields=fields, instructions="query"
    )
    assert "abc" not in repr(served)
    for role in ("query", "document"):
        served.encode([Content("", "a cat", "Find it:")], role=role)
    assert [head["Authorization"] for head in server.headers] == ["Bearer abc"] * 2
    assert server.bodies == [
        {
            "model": "tiny",
            "input": [said],
            "encoding_format": "float",
            "dimensions": 2,
            "input_type": kind,
        }
        for said, kind in (("Find it: a cat", "query"), ("a cat", "passage"))
    ]


def test_our_server_is_told_the_role_and_that_there_is_no_instruction(server: Server) -> None:
    for place in ("field", "text"):
        served = ServedModel(server.url, shape="vlm2vec", instruction_in=place, instructions="query")
        for role in ("query", "document"):
            served.encode([Content("", "a cat", "Find it:")], role=role)
    sent = [(body["input"], body["instruction"], body["task"]) for body in server.bodies]
    assert sent == [
        (["a cat"], "Find it:", "retrieval.query"),
        (["a cat"], "", "retrieval.passage"),
        (["Find it: a cat"], "", "retrieval.query"),
        (["a cat"], "", "retrieval.passage"),
    ]


def test_vllm_is_sent_what_its_documentation_says(server: Server, pictures: list[Path]) -> None:
    server.answer = lambda body: vectors_for(1)
    one = Content("", "what?", "See:", pictures[0])
    ServedModel(server.url, shape="vllm").encode([one], role="query")
    chat = ServedModel(
        server.url, shape="vllm", instruction_in="system", instructions="query", default_instruction="Be:"
    )
    chat.encode([one], role="document")
    uri = server.bodies[0]["messages"][0]["content"][0]["image_url"]["url"]
    picture = {"type": "image_url", "image_url": {"url": uri}}
    assert base64.b64decode(uri.partition(",")[2]) == pictures[0].read_bytes()
    assert server.bodies[0]["messages"] == [
        {"role": "user", "content": [picture, {"type": "text", "text": "See: what?"}]}
    ]
    assert server.bodies[1] == {
        "model": "tiny",
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "Be:"}]},
            {"role": "user", "content": [picture, {"type": "text", "text": "what?"}]},
            {"role": "assistant", "content": [{"type": "text", "text": ""}]},
        ],
        "continue_final_message": True,
        "add_special_tokens": True,
        "encoding_format": "float",
    }


def test_a_format_that_servers_may_not_know_is_sent_as_png_without_loss(
    server: Server, tmp_path: Path
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.tiff")
    ServedModel(server.url).encode([Content("", image=tmp_path / "a.tiff")], role="query")
    (part,) = server.bodies[0]["input"][0]
    head, _, data = part["image_url"]["url"].partition(",")
    assert head == "data:image/png;base64"
    assert np.array_equal(np.asarray(Image.open(BytesIO(base64.b64decode(data)))), pixels)


def test_frames_are_all_or_the_middle_one_or_so_many(server: Server, pictures: list[Path]) -> None:
    clip = Content("", frames=tuple(pictures[:3]))

    def sent(**settings: Any) -> Any:
        ServedModel(server.url, **settings).encode([clip], role="document")
        return server.bodies[-1]["input"][0]

    (all_of_it,) = sent(shape="vlm2vec")
    assert all_of_it["type"] == "video"
    assert (len(all_of_it["video"]), all_of_it["num_frames"]) == (3, 3)
    (two,) = sent(shape="vlm2vec", frames=2)
    assert two["video"] == [all_of_it["video"][0], all_of_it["video"][2]]
    assert sent(frames="middle") == [{"type": "image_url", "image_url": {"url": all_of_it["video"][1]}}]
    assert ServedModel(server.url, frames=2).changes(mmeb.get_task("MSVD")) == {"frames": 2}


def test_vllm_is_told_to_look_at_more_frames_than_it_would(server: Server, pictures: list[Path]) -> None:
    server.answer = lambda body: vectors_for(1)
    for count in (32, 33):
        clip = Content("", frames=(pictures[0],) * count)
        ServedModel(server.url, shape="vllm").encode([clip], role="document")
        (part,) = server.bodies[-1]["messages"][0]["content"]
        assert part["video_url"]["url"].startswith("data:video/jpeg;base64,")
        assert part["video_url"]["url"].count(",") == count
    few, many = server.bodies
    assert "media_io_kwargs" not in few
    assert many["media_io_kwargs"] == {"video": {"num_frames": 33}}


def test_a_clip_ends_the_run_where_the_shape_has_none(server: Server, pictures: list[Path]) -> None:
    clip = Content("", frames=tuple(pictures[:2]))
    with pytest.raises(InputError, match='frames="middle"'):
        ServedModel(server.url).encode([*texts("a"), clip], role="document")


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again_when_it_says(server: Server, status: int) -> None:
    refusals = iter([(status, {"Retry-After": "0"}, {}), (status, {"Retry-After": "0.01"}, {})])
    server.answer = lambda body: next(refusals, vectors_for(1))
    assert len(ServedModel(server.url).encode(texts("a"), role="query")) == 1
    assert len(server.bodies) == 3


def test_a_server_that_stays_busy_is_an_error_that_says_what_it_said(server: Server) -> None:
    said = {"error": {"message": "the queue is full"}}
    server.answer = lambda body: (429, {"Retry-After": "7"}, said)
    with pytest.raises(ServerError, match=r"answers 429 \(the queue is full\)\. Use fewer threads"):
        ServedModel(server.url, patience=5).encode(texts("a"), role="query")


def test_one_error_ends_the_waiting_of_all_threads(server: Server) -> None:
    def answer(body: dict[str, Any]) -> Answer:
        return (429, {"Retry-After": "300"}, {}) if body["input"] == ["wait"] else (401, {}, {})

    server.answer = answer
    before = threading.active_count()
    with pytest.raises(ServerError):
        ServedModel(server.url, batch_size=1).encode(texts("fail", "wait"), role="query")
    for thread in threading.enumerate():
        if thread.name.startswith("ThreadPoolExecutor"):
            thread.join(timeout=10)
    assert threading.active_count() <= before + 4


def test_one_sample_that_is_refused_costs_no_other(server: Server, tmp_path: Path) -> None:
    def answer(body: dict[str, Any]) -> Answer:
        if "bad" in body["input"]:
            return 400, {}, {"error": {"message": "no such text", "index": body["input"].index("bad")}}
        return answered(np.asarray([[1.0, float(text)] for text in body["input"]]))

    server.answer = answer
    missing = Content("", image=tmp_path / "missing.png")
    rows = ServedModel(server.url).encode([*texts("1", "bad", "2"), missing], role="query")
    assert isinstance(rows[1], RefusedError)
    assert "answers 400 (no such text)" in str(rows[1])
    assert isinstance(rows[3], MediaError)
    assert [round(float(rows[n][1] / rows[n][0])) for n in (0, 2)] == [1, 2]


def test_a_server_that_refuses_everything_ends_the_run(server: Server) -> None:
    server.answer = lambda body: (400, {}, {"detail": "unknown field"})
    with pytest.raises(RefusedError, match="unknown field"):
        ServedModel(server.url).encode(texts("a", "b"), role="query")
    with pytest.raises(RefusedError, match="unknown field"):
        mmeb.evaluate(ServedModel(server.url), "mini-I-CLS", on_error="score")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((401, {}, {"error": {"message": "no"}}), r"answers 401 \(no\)\. Pass its key as api_key"),
        ((404, {}, {"object": "error", "message": "no model x"}), r"404 \(no model x\)\. Check the URL"),
        ((500, {}, b"oops"), r"answers 500 \(oops\)"),
        ((307, {"Location": "http://elsewhere/"}, {}), "It redirects"),
        ((200, {}, b"<html>"), "is not JSON"),
        ((200, {}, b'"\xff"'), "is not JSON"),
        ((200, {}, {"data": []}), r"shape \(0,\) for 1 inputs"),
        ((200, {}, [1]), "are no vectors"),
        ((200, {}, {"data": [{"index": 0, "embedding": [[1, 2], [3, 4]]}]}), r"shape \(1, 2, 2\)"),
        ((200, {}, {"data": [{"index": 1, "embedding": [1, 2]}]}), "for 1 inputs"),
        ((200, {}, {"data": [{"index": 0, "embedding": "AAAA"}]}), "are no vectors"),
    ],
)
def test_what_is_no_answer_is_an_error(server: Server, answer: Answer, said: str) -> None:
    server.answer = lambda body: answer
    with pytest.raises(ServerError, match=said):
        ServedModel(server.url).encode(texts("a"), role="query")


def test_vectors_of_another_size_are_an_error(server: Server) -> None:
    sizes = iter([3, 4])
    server.answer = lambda body: vectors_for(1, next(sizes))
    served = ServedModel(server.url)
    served.encode(texts("a"), role="query")
    with pytest.raises(ServerError, match="of 3 components, and now of 4"):
        served.encode(texts("b"), role="query")


def test_the_model_is_the_only_one_that_is_listed(server: Server) -> None:
    assert ServedModel(server.url).model == "tiny"
    server.models = ["one", "two"]
    with pytest.raises(InputError, match="has 2 models: one, two"):
        ServedModel(server.url)


def test_a_server_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlm2vec.mmeb.encoders.served_client._UNREACHED_SECONDS", 0.0)
    with pytest.raises(ServerError, match="cannot be reached"):
        ServedModel("http://127.0.0.1:1/v1", "some").encode(texts("a"), role="query")


@pytest.mark.parametrize(
    ("url", "settings"),
    [
        ("ftp://host/v1", {}),
        ("http:///v1", {}),
        ("http://me:word@host/v1", {}),
        ("http://host/v1?key=1", {}),
        ("http://host/v1", {"shape": "other"}),
        ("http://host/v1", {"instruction_in": "system"}),
        ("http://host/v1", {"instructions": "all"}),
        ("http://host/v1", {"frames": 0}),
        ("http://host/v1", {"threads": 0}),
        ("http://host/v1", {"batch_size": 1.5}),
    ],
)
def test_settings_that_make_no_sense_are_refused(url: str, settings: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        ServedModel(url, "some", **settings)


def test_a_time_to_come_back_at_is_understood() -> None:
    from vlm2vec.mmeb.encoders import served_client

    assert served_client._retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert served_client._retry_after("soon") is None
    assert served_client._retry_after("2") == 2
