from __future__ import annotations

import base64

import numpy as np
import pytest
from sentence_transformers.util.quantization import quantize_embeddings

from vlm2vec.serve.shapes import ShapeError, cohere

read, write = cohere.read, cohere.write


def test_what_its_client_sends_for_texts_images_and_both(media, held):
    texts = {
        "model": "embed-v4.0",
        "input_type": "search_query",
        "texts": ["a cat"],
        "embedding_types": ["float"],
        "output_dimension": 256,
        "truncate": "NONE",
    }
    images = {"model": "embed-v4.0", "input_type": "image", "images": [media.png_uri]}
    inputs = {
        "model": "embed-v4.0",
        "input_type": "search_document",
        "inputs": [
            {
                "content": [
                    {"type": "text", "text": "a page"},
                    {"type": "image_url", "image_url": {"url": media.png_uri}},
                ]
            },
            {"content": [{"type": "image_url", "image_url": media.png_uri}]},  # as on Bedrock
        ],
        "truncate": "RIGHT",
    }
    assert held(read(texts)) == [[("text", "a cat")]]
    assert held(read(images)) == [[("image", media.png)]]
    assert held(read(inputs)) == [[("text", "a page"), ("image", media.png)], [("image", media.png)]]
    assert [read(one).role for one in (texts, images, inputs)] == ["query", None, "document"]
    assert [read(one).truncate for one in (texts, images, inputs)] == [False, False, True]
    assert read(texts).dimensions == 256


def test_each_type_is_answered_under_its_name(computed):
    embedded = computed(2)
    body = {
        "input_type": "search_query",
        "texts": ["a", "b"],
        "embedding_types": ["float", "base64", "binary", "ubinary"],
    }
    answered = write(body, embedded, "m")
    got = answered["embeddings"]
    assert list(got) == body["embedding_types"]
    np.testing.assert_array_equal(np.array(got["float"], np.float32), embedded.vectors)
    decoded = [np.frombuffer(base64.b64decode(one), "<f4") for one in got["base64"]]
    np.testing.assert_array_equal(decoded, embedded.vectors)
    for kind in ("binary", "ubinary"):
        np.testing.assert_array_equal(got[kind], quantize_embeddings(embedded.vectors, kind))
    assert isinstance(answered["id"], str)
    assert answered["texts"] == ["a", "b"]
    assert answered["meta"]["billed_units"] == {"input_tokens": 7}


def test_floats_are_answered_where_no_type_is_asked_for(computed, media):
    body = {"input_type": "image", "images": [media.png_uri]}
    answered = write(body, computed(1), "m")
    assert list(answered["embeddings"]) == ["float"]
    assert answered["texts"] == []


@pytest.mark.parametrize(
    ("body", "param", "index", "says"),
    [
        ({"texts": ["a"]}, "input_type", None, "missing"),
        ({"input_type": "image"}, "inputs", None, "no inputs"),
        ({"input_type": "image", "texts": ["a"], "images": []}, "images", None, "texts and images"),
        ({"input_type": "image", "texts": []}, "texts", None, "at least one"),
        ({"input_type": "image", "texts": "a"}, "texts", None, "list"),
        ({"input_type": "image", "texts": ["a", 3]}, "texts[1]", 1, "not a string"),
        ({"input_type": "image", "images": ["cat.jpg"]}, "images[0]", 0, "neither"),
        ({"input_type": "image", "inputs": ["a"]}, "inputs[0]", 0, "content"),
        ({"input_type": "image", "inputs": [{"content": []}]}, "inputs[0].content", 0, "empty"),
        (
            {"input_type": "image", "inputs": [{"content": [{"type": "image_url", "image_url": "/a"}]}]},
            "inputs[0].content[0].image_url",
            0,
            "neither",
        ),
        ({"input_type": "audio", "texts": ["a"]}, "input_type", None, "search_query"),
        ({"input_type": "image", "texts": ["a"], "truncate": "START"}, "truncate", None, "NONE"),
        ({"input_type": "image", "texts": ["a"], "truncate": "LEFT"}, "truncate", None, "NONE"),
        ({"input_type": "image", "texts": ["a"], "max_tokens": 5}, "max_tokens", None, "max_tokens"),
        ({"input_type": "image", "texts": ["a"], "embedding_types": []}, "embedding_types", None, "list"),
        (
            {"input_type": "image", "texts": ["a"], "embedding_types": ["float", "int8"]},
            "embedding_types[1]",
            None,
            "int8 needs ranges",
        ),
        (
            {"input_type": "image", "texts": ["a"], "embedding_types": ["uint8"]},
            "embedding_types[0]",
            None,
            "uint8 needs",
        ),
        (
            {"input_type": "image", "texts": ["a"], "embedding_types": ["half"]},
            "embedding_types",
            None,
            "half",
        ),
    ],
)
def test_what_is_at_fault_is_named(body, param, index, says):
    with pytest.raises(ShapeError, match=says) as caught:
        read(body)
    assert (caught.value.param, caught.value.index) == (param, index)


def test_a_data_uri_among_the_texts_is_not_embedded_as_text(media):
    with pytest.raises(ShapeError, match="data-URI stands where a text"):
        read({"input_type": "search_document", "texts": [media.png_uri]})
