"""What all shapes have in common: how they are told apart, their schemas, and that none opens a file."""

from __future__ import annotations

import builtins
import io
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm2vec.errors import VLM2VecError
from vlm2vec.inputs import Text, parse_batch
from vlm2vec.serve.shapes import SHAPES, ShapeError, cohere, infinity, jina, nim, nomic, openai, vllm, voyage
from vlm2vec.serve.shapes.embeddings import SHAPE, SHARED, shape_of

ALL = {shape.name: shape for shape in (*SHARED, *SHAPES[1:])}
DOCS = Path(__file__).parents[3] / "docs" / "serve_shapes.md"


def body_of(shape):
    """Its example; of a form, each field is a list."""
    if shape.media_type == "application/json":
        return shape.example
    return {name: value if isinstance(value, list) else [value] for name, value in shape.example.items()}


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({"input": "a cat", "model": "m"}, "openai"),
        ({"input": ["a", [{"type": "text", "text": "b"}]]}, "openai"),
        ({"input": [{"content": "b"}]}, "openai"),
        ({"input": [[1, 2]]}, "openai"),
        ({}, "openai"),
        ({"input": [{"text": "a"}]}, "sglang"),
        ({"input": {"image": "b"}}, "sglang"),
        ({"input": ["a", {"image": "b", "text": "a"}]}, "sglang"),
        ({"messages": []}, "vllm"),
        ({"input": "a", "truncate_prompt_tokens": -1}, "vllm"),
        ({"input": "a", "add_special_tokens": True, "task": "embed"}, "vllm"),
        ({"input": "a", "messages": None}, "openai"),
        ({"input": "a", "task": "text-matching"}, "jina"),
        ({"input": [{"image": "b"}], "embedding_type": "float"}, "jina"),
        ({"input": "a", "truncate": True}, "jina"),
        ({"input": "a", "truncate": "NONE"}, "nim"),
        ({"input": "a", "input_type": "query"}, "nim"),
        ({"input": "a", "input_type": "query", "modality": "image"}, "nim"),
        ({"input": "a", "modality": ["text"]}, "nim"),
        ({"input": "a", "modality": "text_image"}, "nim"),
        ({"input": "a", "modality": "image"}, "infinity"),
        ({"input": "a", "modality": "audio"}, "infinity"),
    ],
)
def test_the_body_says_whose_shape_it_is(body, name):
    assert shape_of(body).name == name


@pytest.mark.parametrize("body", [None, [], "a", 3])
def test_a_body_that_is_no_object_is_refused(body):
    for shape in SHAPES[:-1]:
        with pytest.raises(ShapeError, match="the body is"):
            shape.read(body)


def test_fields_of_two_shapes_are_an_error_that_says_which_was_taken():
    with pytest.raises(ShapeError, match='"task" in a request of the shape NVIDIA NIM'):
        SHAPE.read({"input": "a", "task": "retrieval.query", "input_type": "query"})


@pytest.mark.parametrize("name", ALL)
def test_its_example_is_read_and_answered(name, computed, held):
    shape = ALL[name]
    asked = shape.read(body_of(shape))
    assert len(held(asked)) == len(asked.inputs) >= 1
    answered = shape.write(body_of(shape), computed(len(asked.inputs)), "m")
    assert {"data", "embeddings"} & answered.keys()


def test_the_examples_of_one_route_are_told_apart(computed):
    for shape in SHARED:
        assert shape_of(shape.example) is shape
        assert SHAPE.read(shape.example) == shape.read(shape.example)


def test_each_route_has_one_shape():
    assert [shape.route for shape in SHAPES] == [
        "/v1/embeddings",
        "/v2/embed",
        "/v1/multimodalembeddings",
        "/v1/embedding/image",
    ]
    assert {shape.route for shape in SHARED} == {"/v1/embeddings"}


@pytest.mark.parametrize("name", ALL)
def test_its_schema_takes_its_example(name):
    validator = pytest.importorskip("jsonschema_rs")
    schema = ALL[name].schema
    assert validator.is_valid(schema, ALL[name].example)
    assert not validator.is_valid(schema, {**ALL[name].example, "surprise": 1})


@pytest.mark.parametrize("module", [openai, vllm, jina, infinity, nim, cohere, voyage, nomic])
def test_the_documentation_names_every_field(module):
    text = DOCS.read_text(encoding="utf-8")
    fields = module.FIELDS
    missing = [name for name in (*fields.taken, *fields.fixed, *fields.ignored) if f"`{name}`" not in text]
    assert not missing


def test_no_request_opens_a_file_or_looks_for_one(media, tmp_path, monkeypatch):
    there = tmp_path / "cat.png"
    there.write_bytes(media.png)
    strings = [str(there), str(tmp_path / "none.png"), "~/cat.png", f"file://{there}", "\\\\host\\share", "."]
    strings += [
        "\0",
        f" {media.png_uri}",
        "data:image/png;base64,/etc/passwd",
        str(there).removesuffix(".png"),
    ]
    bodies = [body_of(shape) for shape in ALL.values()]
    readers = [shape.read for shape in ALL.values()]
    for string in strings:
        part = {"type": "image_url", "image_url": {"url": string}}
        bodies += [
            {"input": string},
            {"input": [{"image": string}]},
            {"input": [{"pdf": string, "text": "a"}]},
            {"input": [[part]]},
            {"input": [[{"type": "file", "file": {"file_data": string}}]]},
            {"input": [[{"type": "image", "image": string}]]},
            {"messages": [{"role": "user", "content": [part]}]},
            {"input": string, "modality": "image"},
            {"input": string, "input_type": "passage"},
            {"input": f'<img src="{string}">', "input_type": "passage"},
        ]
        readers += [SHAPE.read] * 10
        bodies += [
            {"input_type": "image", "images": [string]},
            {"inputs": [{"content": [{"type": "video_base64", "video_base64": string}]}]},
            {"urls": [string]},
            {"images": [string]},
        ]
        readers += [cohere.read, voyage.read, nomic.read, nomic.read]

    touched: list[object] = []

    def touch(path, *_, **__):
        touched.append(path)
        raise OSError(path)

    with monkeypatch.context() as patched:
        for owner, name in (
            (builtins, "open"),
            (io, "open"),
            (os, "open"),
            (os, "stat"),
            (os, "lstat"),
            (os, "scandir"),
            (os, "listdir"),
            (os, "readlink"),
            (Path, "open"),
            (Path, "stat"),
            (Path, "exists"),
        ):
            patched.setattr(owner, name, touch)
        refused = 0
        for read, body in zip(readers, bodies, strict=True):
            try:
                asked = read(body)
            except ShapeError:
                refused += 1
                continue
            for one in asked.inputs:
                for piece in one if isinstance(one, list) else [one]:
                    if isinstance(piece, dict):
                        media_strings = [v for k, v in piece.items() if k != "text" and isinstance(v, str)]
                        assert all(v.startswith(("http://", "https://")) for v in media_strings)
    assert touched == []
    assert refused > len(strings) * 8


KEYS = sorted(
    {
        name
        for shape in ALL.values()
        for one in shape.schema.get("anyOf", [shape.schema])
        for name in one.get("properties", {})
    }
    | {
        "type",
        "text",
        "image",
        "video",
        "pdf",
        "content",
        "role",
        "image_url",
        "url",
        "file",
        "file_data",
        "detail",
    }
    | {"max_pixels", "pages", "path", "bytes", "prompt"}
)
WORDS = [
    *(
        "text",
        "image_url",
        "file",
        "user",
        "system",
        "assistant",
        "query",
        "passage",
        "search_query",
        "image",
    ),
    *(
        "float",
        "base64",
        "END",
        "/etc/passwd",
        "data:image/png;base64,AAAA",
        "http://a/b",
        "AAAA",
        "\ud800",
        "",
    ),
    '<img src="data:image/png;base64,AAAA">',
]
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(WORDS) | st.text(max_size=5)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=8,
)
BODIES = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4)


@given(st.sampled_from(sorted(ALL)), BODIES, st.sampled_from([*KEYS, None]))
@settings(max_examples=100, derandomize=True)
def test_any_body_is_read_or_refused_and_what_is_read_holds_no_path(name, body, dropped):
    shape = ALL[name]
    body = {**body_of(shape), **body}
    body.pop(dropped, None)
    try:
        asked = shape.read(body)
    except ShapeError as error:
        assert len(str(error)) < 1000
        return
    assert asked.inputs
    for parsed in parse_batch(asked.inputs, asked.instruction, allow_urls=True, on_error="nan"):
        assert isinstance(parsed, VLM2VecError) or all(
            isinstance(part, Text) or part.content.path is None for part in parsed.parts
        )
