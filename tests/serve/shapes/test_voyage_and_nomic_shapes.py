from __future__ import annotations

import base64

import numpy as np
import pytest

from vlm2vec.serve.shapes import ShapeError, nomic, voyage


def test_what_the_client_of_voyage_sends(media, held):
    body = {
        "inputs": [
            {
                "content": [
                    {"type": "text", "text": "a banana"},
                    {"type": "image_base64", "image_base64": media.png_uri},
                ]
            },
            {"content": [{"type": "image_url", "image_url": media.url}]},
            {"content": [{"type": "video_base64", "video_base64": media.mp4_uri}]},
        ],
        "model": "voyage-multimodal-3.5",
        "input_type": "document",
        "truncation": True,
        "encoding_format": "base64",
        "output_dimension": 256,
    }
    asked = voyage.read(body)
    assert held(asked) == [
        [("text", "a banana"), ("image", media.png)],
        [("image", media.url)],
        [("clip", media.mp4)],
    ]
    assert (asked.role, asked.truncate, asked.dimensions) == ("document", True, 256)


def test_the_client_of_voyage_finds_its_vectors_and_its_counts(computed, media):
    embedded = computed(2)
    body = {
        "inputs": [
            {"content": [{"type": "text", "text": "a"}]},
            {"content": [{"type": "image_base64", "image_base64": media.png_uri}]},
        ],
        "model": "m",
        "encoding_format": "base64",
    }
    answered = voyage.write(body, embedded, "m")
    for one, vector in zip(answered["data"], embedded.vectors, strict=True):
        np.testing.assert_array_equal(np.frombuffer(base64.b64decode(one["embedding"]), "float32"), vector)
    usage = answered["usage"]
    assert (usage["text_tokens"], usage["image_pixels"], usage["total_tokens"]) == (3, 0, 7)
    floats = voyage.write({**body, "encoding_format": None, "output_encoding": None}, embedded, "m")
    assert floats["data"][0]["embedding"] == embedded.vectors[0].tolist()


@pytest.mark.parametrize(
    ("body", "param", "says"),
    [
        ({}, "inputs", "missing"),
        ({"inputs": []}, "inputs", "at least one"),
        ({"inputs": {"content": []}}, "inputs", "list"),
        ({"inputs": [["a"]]}, "inputs[0]", "content"),
        ({"inputs": [{"content": "a"}]}, "inputs[0]", "content"),
        ({"inputs": [{"content": [{"type": "image_base64"}]}]}, "inputs[0].content[0]", "image_base64"),
        (
            {"inputs": [{"content": [{"type": "image_base64", "image_base64": "a.png"}]}]},
            "inputs[0].content[0].image_base64",
            "neither",
        ),
        ({"inputs": [{"content": ["a"]}], "input_type": "passage"}, "input_type", "query"),
        ({"inputs": [{"content": ["a"]}], "output_dtype": "int8"}, "output_dtype", "output_dtype"),
        ({"inputs": [{"content": ["a"]}], "output_encoding": "hex"}, "output_encoding", "base64"),
    ],
)
def test_what_is_at_fault_is_named(body, param, says):
    with pytest.raises(ShapeError, match=says) as caught:
        voyage.read(body)
    assert caught.value.param == param


def test_files_of_a_form_are_images_and_so_is_what_urls_lead_to(media, held):
    files = {"model": ["nomic-embed-vision-v1.5"], "images": [media.png, media.png]}
    urls = {"model": ["nomic-embed-vision-v1.5"], "urls": [media.url]}
    assert held(nomic.read(files)) == [[("image", media.png)], [("image", media.png)]]
    assert held(nomic.read(urls)) == [[("image", media.url)]]


def test_nomics_client_gets_the_models_name_back_as_it_sent_it(computed, media):
    embedded = computed(1)
    answered = nomic.write({"model": ["nomic-embed-vision-v1.5"], "images": [media.png]}, embedded, "small")
    assert answered == {
        "embeddings": [embedded.vectors[0].tolist()],
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
        "model": "nomic-embed-vision-v1.5",
    }
    assert nomic.write({"images": [media.png]}, embedded, "small")["model"] == "small"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model": ["m"]}, "images"),
        ({"images": [b"a"], "urls": ["http://a/b"]}, "images"),
        ({"images": ["/etc/passwd"]}, "images[0]"),
        ({"images": [b"a", b""]}, "images[1]"),
        ({"urls": ["/etc/passwd"]}, "urls[0]"),
        ({"urls": [b"a"]}, "urls[0]"),
        ({"urls": ["http://a/b"], "model": ["a", "b"]}, "model"),
        ({"urls": ["http://a/b"], "size": ["8"]}, "size"),
    ],
)
def test_a_form_that_is_none_is_refused(body, param):
    with pytest.raises(ShapeError) as caught:
        nomic.read(body)
    assert caught.value.param == param
