"""Jina's and SGLang's: objects with text and media."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from sentence_transformers.util.quantization import quantize_embeddings

from vlm2vec.serve.shapes import ShapeError, jina, sglang


def test_what_lancedb_sends_to_jina(media, held):
    text = {"model": "jina-clip-v1", "input": ["a cat"]}
    images = {
        "model": "jina-clip-v1",
        "input": [{"image": media.png_base64}, {"image": media.url}, {"text": "a dog"}],
    }
    assert held(jina.read(text)) == [[("text", "a cat")]]
    assert held(jina.read(images)) == [[("image", media.png)], [("image", media.url)], [("text", "a dog")]]


def test_a_pdf_and_a_video_as_data_uri_or_base64(media, held):
    pdf = base64.b64encode(media.pdf).decode()
    asked = jina.read({"input": [{"pdf": media.pdf_uri}, {"pdf": pdf}, {"video": media.mp4_uri}]})
    assert held(asked) == [[("document", media.pdf)], [("document", media.pdf)], [("clip", media.mp4)]]


@pytest.mark.parametrize(
    ("task", "role"),
    [("retrieval.query", "query"), ("retrieval.passage", "document"), ("text-matching", None), (None, None)],
)
def test_the_task_says_the_side_of_the_search(task, role):
    asked = jina.read({"input": "a", "task": task, "truncate": True, "dimensions": 8, "normalized": True})
    assert (asked.role, asked.truncate, asked.dimensions) == (role, True, 8)


def test_an_instruction_for_all_and_one_for_each():
    asked = jina.read({"input": [{"text": "a", "instruction": "Find it."}], "instruction": "Look."})
    assert (asked.inputs, asked.instruction) == ([{"text": "a", "instruction": "Find it."}], "Look.")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("late_chunking", True),
        ("return_multivector", True),
        ("normalized", False),
        ("task", "code.query"),
        ("embedding_type", "int8"),
        ("embedding_type", ["float"]),
        ("truncate", "END"),
        ("prompt_name", "query"),
    ],
)
def test_what_would_change_the_vectors_is_refused_by_name(name, value):
    with pytest.raises(ShapeError, match=name) as caught:
        jina.read({"input": "a", name: value})
    assert caught.value.param == name


@pytest.mark.parametrize("kind", ["binary", "ubinary"])
def test_bits_are_those_of_sentence_transformers(kind, computed):
    embedded = computed(3, dim=20)
    answered = jina.write({"input": ["a"] * 3, "embedding_type": kind}, embedded, "m")
    got = [one["embedding"] for one in answered["data"]]
    np.testing.assert_array_equal(got, quantize_embeddings(embedded.vectors, kind))


def test_jinas_answer_is_the_list_with_its_usage(computed):
    embedded = computed(2)
    answered = jina.write({"input": ["a", "b"], "embedding_type": "base64"}, embedded, "m")
    assert answered["usage"] == {"prompt_tokens": 7, "total_tokens": 7}
    assert (answered["object"], answered["model"]) == ("list", "m")
    data = base64.b64decode(answered["data"][1]["embedding"])
    np.testing.assert_array_equal(np.frombuffer(data, "<f4"), embedded.vectors[1])


def test_an_object_of_sglang_is_one_input_in_the_order_of_its_keys(media, held):
    body = {
        "model": "gme",
        "input": [
            {"text": "what is it?", "image": media.png_uri},
            {"image": media.png_base64, "text": "what is it?"},
        ],
        "encoding_format": "float",
        "rid": "7",
    }
    assert held(sglang.SHAPE.read(body)) == [
        [("text", "what is it?"), ("image", media.png)],
        [("image", media.png), ("text", "what is it?")],
    ]


def test_its_example_is_a_picture(held):
    ((_, (kind, data)),) = held(sglang.SHAPE.read(sglang.SHAPE.example))
    assert kind == "image"
    assert data.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("given", "param", "says"),
    [
        ({"image": "/etc/passwd"}, "input[1].image", "neither a data-URI, nor"),
        ({"image": "cat.jpg"}, "input[1].image", "neither"),
        ({"image": "../../x"}, "input[1].image", "neither"),
        ({"image": ""}, "input[1].image", "neither"),
        ({"image": "file:///etc/passwd"}, "input[1].image", "neither"),
        ({"image": "ftp://host/cat.jpg"}, "input[1].image", "not http"),
        ({"image": "data:image/png;base64,!!!"}, "input[1].image", "not valid base64"),
        ({"image": "data:image/png,abc"}, "input[1].image", "not base64"),
        ({"image": "data:text/html;base64,YQ=="}, "input[1].image", "the type"),
        ({"image": "data:image/png;base64,"}, "input[1].image", "no bytes"),
        ({"image": "data:image/png;base64"}, "input[1].image", "comma"),
        ({"image": 3}, "input[1].image", "stands for media"),
        ({"image": ["a"]}, "input[1].image", "stands for media"),
        ({"image": {"url": "http://a"}}, "input[1].image", "stands for media"),
        ({"text": 3}, "input[1].text", "not a string"),
        ({"text": ["a", "b"]}, "input[1].text", "not a string"),
        ({"text": "a", "audio": "b"}, "input[1]", "unknown key"),
        ({"image": None}, "input[1]", "no text and no media"),
        ({"prompt": "<|image_pad|>"}, "input[1]", "no text and no media"),
        ({"text": "a", "prompt": "b"}, "input[1]", "unknown key"),
        ({"text": "a", "path": "/etc/passwd", "bytes": None}, "input[1]", "unknown key"),
    ],
)
def test_the_object_at_fault_is_named(given, param, says):
    with pytest.raises(ShapeError, match=says) as caught:
        jina.read({"input": ["a", given]})
    assert (caught.value.param, caught.value.index) == (param, 1)


def test_errors_do_not_repeat_what_is_no_medium():
    with pytest.raises(ShapeError) as caught:
        jina.read({"input": [{"image": "/home/me/secret.jpg"}]})
    assert "secret" not in str(caught.value)


def test_base64_that_is_too_large_is_refused_before_it_is_decoded(monkeypatch):
    def decoded(*_, **__):
        raise AssertionError("it was decoded")

    monkeypatch.setattr(base64, "b64decode", decoded)
    large = "A" * (64 * 2**20 * 4 // 3 + 8)
    for given in (large, f"data:image/png;base64,{large}"):
        with pytest.raises(ShapeError, match="more than 67,108,864") as caught:
            jina.read({"input": [{"image": given}]})
        assert caught.value.param == "input[0].image"
