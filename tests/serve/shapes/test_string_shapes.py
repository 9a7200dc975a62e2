"""infinity's and NVIDIA NIM's: strings that may stand for images."""

from __future__ import annotations

import time

import pytest

from vlm2vec.serve.shapes import ShapeError, infinity, nim


def test_infinitys_modality_says_what_the_strings_are(media, held):
    images = {"model": "clip", "input": [media.png_uri, media.url], "modality": "image", "user": "me"}
    assert held(infinity.read(images)) == [[("image", media.png)], [("image", media.url)]]
    texts = {"model": "clip", "input": [media.url, "a cat"], "modality": "text", "dimensions": 8}
    assert held(infinity.read(texts)) == [[("text", media.url)], [("text", "a cat")]]
    assert infinity.read(texts).dimensions == 8


@pytest.mark.parametrize("modality", ["audio", "video", ["image"]])
def test_infinitys_other_modalities_are_refused(modality):
    with pytest.raises(ShapeError, match="modality") as caught:
        infinity.read({"input": "a", "modality": modality})
    assert caught.value.param == "modality"


def test_infinitys_image_that_is_none_is_named():
    with pytest.raises(ShapeError, match="neither") as caught:
        infinity.read({"input": ["http://a/b.jpg", "/etc/passwd"], "modality": "image"})
    assert (caught.value.param, caught.value.index) == ("input[1]", 1)


def test_a_data_uri_of_nim_is_an_image_and_a_tag_stands_for_one_in_a_text(media, held):
    body = {
        "model": "nvidia/llama-nemotron-embed-vl-1b-v2",
        "input": [
            "a cat",
            media.png_uri,
            f'what is it? <img src="{media.png_uri}" />',
            f"<img src='{media.png_uri}'> and <img src=\"{media.png_uri}\"/>",
        ],
        "input_type": "passage",
        "truncate": "END",
        "encoding_format": "float",
        "modality": ["text", "image", "text_image", "text_image"],
    }
    asked = nim.read(body)
    assert held(asked) == [
        [("text", "a cat")],
        [("image", media.png)],
        [("text", "what is it? "), ("image", media.png)],
        [("image", media.png), ("text", " and "), ("image", media.png)],
    ]
    assert (asked.role, asked.truncate) == ("document", True)


def test_a_tag_of_a_web_page_is_text(held):
    page = 'see <img src="https://example.org/cat.jpg"> there'
    assert held(nim.read({"input": page, "input_type": "query"})) == [[("text", page)]]


def test_query_and_passage_are_the_sides_of_the_search():
    assert nim.read({"input": "a", "input_type": "query"}).role == "query"
    assert nim.read({"input": "a", "truncate": "NONE"}).role is None


@pytest.mark.parametrize(
    ("name", "value", "param"),
    [
        ("truncate", "START", "truncate"),
        ("truncate", "end", "truncate"),
        ("input_type", "document", "input_type"),
        ("embedding_type", "int8", "embedding_type"),
        ("modality", "audio", "modality"),
        ("modality", ["text", "text"], "modality"),
        ("modality", [{}], "modality"),
        ("modality", "image", "input[0]"),
        ("modality", ["text_image"], "input[0]"),
        ("truncation", True, "truncation"),
    ],
)
def test_what_would_change_the_vectors_is_refused(name, value, param):
    with pytest.raises(ShapeError) as caught:
        nim.read({"input": ["a"], name: value})
    assert caught.value.param == param


def test_a_broken_image_in_a_text_is_named():
    with pytest.raises(ShapeError, match="not valid base64") as caught:
        nim.read({"input": ["a", 'b <img src="data:image/png;base64,???">']})
    assert caught.value.param == "input[1]"


def test_tags_without_an_end_are_read_in_one_pass():
    text = '<img src="data:image/png;base64,' * 30_000  # a million characters
    start = time.perf_counter()
    assert nim.read({"input": [text]}).inputs == [text]
    assert time.perf_counter() - start < 2
