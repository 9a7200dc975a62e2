from __future__ import annotations

import base64
import json

import numpy as np
import pytest

from vlm2vec.serve.asked import Asked
from vlm2vec.serve.shapes import ShapeError, openai

read, write = openai.read, openai.write


def test_a_string_is_one_text_and_a_list_is_a_batch_of_them():
    assert read({"model": "m", "input": "a cat"}) == Asked(["a cat"])
    assert read({"model": "m", "input": ["a cat", "a dog"]}).inputs == ["a cat", "a dog"]


def test_what_the_client_of_openai_sends_is_read_and_what_is_answered_it_decodes(computed):
    httpx, client_of = pytest.importorskip("httpx"), pytest.importorskip("openai")
    sent, embedded = [], computed(2)

    def answer(request):
        sent.append(json.loads(request.content))
        return httpx.Response(200, json=write(sent[-1], embedded, "small"))

    client = client_of.OpenAI(
        api_key="k",
        base_url="http://server/v1",
        http_client=httpx.Client(transport=httpx.MockTransport(answer)),
        max_retries=0,
    )
    default = client.embeddings.create(model="m", input=["a cat", "a dog"], dimensions=16, user="me")
    floats = client.embeddings.create(
        model="m", input="a cat", encoding_format="float", extra_body={"instruction": "Find it."}
    )
    assert sent[0]["encoding_format"] == "base64"
    assert read(sent[0]) == Asked(["a cat", "a dog"], dimensions=16)
    assert read(sent[1]) == Asked(["a cat"], instruction="Find it.")
    for answered in (default, floats):
        got = np.array([one.embedding for one in answered.data], dtype=np.float32)
        np.testing.assert_array_equal(got, embedded.vectors)
        assert [one.index for one in answered.data] == [0, 1]
    assert (default.model, default.object, default.usage.prompt_tokens) == ("small", "list", 7)
    assert default.usage.total_tokens == 7


def test_base64_is_of_little_endian_float32(computed):
    embedded = computed(1)
    answered = write({"input": "a", "encoding_format": "base64"}, embedded, "m")
    data = base64.b64decode(answered["data"][0]["embedding"])
    np.testing.assert_array_equal(np.frombuffer(data, "<f4"), embedded.vectors[0])


def test_vectors_of_another_byte_order_or_stride_are_written_the_same(computed):
    from vlm2vec.serve.asked import Embedded

    embedded = computed(3)
    body = {"input": ["a", "b", "c"], "encoding_format": "base64"}
    for vectors in (embedded.vectors.astype(">f4"), np.asfortranarray(embedded.vectors)):
        assert write(body, Embedded(vectors, embedded.tokens), "m") == write(body, embedded, "m")


def test_content_parts_are_one_input_each_list(media, held):
    asked = read(
        {
            "input": [
                "a cat",
                [
                    {"type": "text", "text": "what is it?"},
                    {"type": "image_url", "image_url": {"url": media.png_uri, "detail": "auto"}},
                ],
                [{"type": "input_image", "image_url": media.png_uri, "detail": "auto"}],
                [{"type": "video_url", "video_url": {"url": media.mp4_uri}}],
                [{"type": "image_url", "image_url": {"url": media.url}}],
                {"content": [{"type": "file", "file": {"file_data": media.pdf_uri, "filename": "a.pdf"}}]},
                {"content": "a dog"},
            ]
        }
    )
    assert held(asked) == [
        [("text", "a cat")],
        [("text", "what is it?"), ("image", media.png)],
        [("image", media.png)],
        [("clip", media.mp4)],
        [("image", media.url)],
        [("document", media.pdf)],
        [("text", "a dog")],
    ]


def test_options_stand_beside_the_type_of_a_part(media):
    part = {"type": "image_url", "image_url": {"url": media.png_uri}, "max_pixels": 50176, "uuid": "1"}
    assert read({"input": [[part]]}).inputs == [[{"image": media.png, "max_pixels": 50176}]]


def test_a_single_part_is_one_input_and_several_bare_ones_are_not_guessed(media):
    part = {"type": "image_url", "image_url": {"url": media.png_uri}}
    assert read({"input": [part]}).inputs == read({"input": part}).inputs == [[{"image": media.png}]]
    with pytest.raises(ShapeError, match="one input or several") as caught:
        read({"input": [part, part]})
    assert caught.value.param == "input"


@pytest.mark.parametrize("ids", [[1, 2, 3], [[1, 2], [3]], 7, ["a cat", [1]], [1.5]])
def test_token_ids_are_refused_with_what_to_do(ids):
    with pytest.raises(ShapeError, match=r"token ids .*check_embedding_ctx_length"):
        read({"input": ids})


@pytest.mark.parametrize(
    ("body", "param", "index", "says"),
    [
        ({}, "input", None, "missing"),
        ({"input": None}, "input", None, "missing"),
        ({"input": []}, "input", None, "no inputs"),
        ({"input": [[]]}, "input[0]", 0, "empty"),
        ({"input": ["a", None]}, "input[1]", 1, "not an input"),
        ({"input": ["a", True]}, "input[1]", 1, "not an input"),
        ({"input": ["a", "\ud800"]}, "input[1]", 1, "surrogate"),
        ({"input": ["a", {}]}, "input[1]", 1, "no text and no media"),
        ({"input": ["a", {"content": 3}]}, "input[1].content", 1, "the content is"),
        ({"input": ["a", {"role": "system", "content": "b"}]}, "input", None, "messages"),
        ({"input": {"role": "system", "content": "b"}}, "input", 0, "no user's"),
        ({"input": ["a", [{"type": "image_url"}]]}, "input[1][0]", 1, 'no "image_url"'),
        ({"input": [[{"type": "image_url", "image_url": {}}]]}, "input[0][0].image_url", 0, 'no "url"'),
        ({"input": [[{"type": "text", "text": 3}]]}, "input[0][0].text", 0, "not a string"),
        ({"input": [[{"type": "input_audio", "input_audio": {}}]]}, "input[0][0]", 0, "the type"),
        ({"input": [[{"type": "file", "file": {"file_id": "f"}}]]}, "input[0][0].file", 0, "file_id"),
        ({"input": [[{"type": "file", "file": {"filename": "f"}}]]}, "input[0][0].file", 0, "file_data"),
        (
            {"input": [[{"type": "text", "text": "a", "path": "/etc/passwd"}]]},
            "input[0][0]",
            0,
            "unknown key",
        ),
        ({"input": "a", "dimensions": 0}, "dimensions", None, "at least 1"),
        ({"input": "a", "dimensions": True}, "dimensions", None, "at least 1"),
        ({"input": "a", "encoding_format": "int8"}, "encoding_format", None, '"float" or "base64"'),
        ({"input": "a", "encoding_format": ["float"]}, "encoding_format", None, "list of 1"),
        ({"input": "a", "instruction": 3}, "instruction", None, "not a string"),
        ({"input": "a", "model": 3}, "model", None, "not a string"),
        ({"input": "a", "dimension": 3}, "dimension", None, 'Did you mean "dimensions"'),
        ([], None, None, "the body is list"),
    ],
)
def test_what_is_at_fault_is_named(body, param, index, says):
    with pytest.raises(ShapeError, match=says) as caught:
        read(body)
    assert (caught.value.param, caught.value.index) == (param, index)


def test_a_level_of_detail_is_refused(media):
    image = {"url": media.png_uri, "detail": "high"}
    with pytest.raises(ShapeError, match="max_pixels"):
        read({"input": [[{"type": "image_url", "image_url": image}]]})
    with pytest.raises(ShapeError, match="max_pixels"):
        read({"input": [[{"type": "input_image", "image_url": media.png_uri, "detail": "low"}]]})


def test_a_data_uri_among_the_texts_is_not_embedded_as_text(media):
    with pytest.raises(ShapeError, match="data-URI stands where a text") as caught:
        read({"input": ["a cat", media.png_uri]})
    assert caught.value.param == "input[1]"
    talk = "data: the new oil"
    assert read({"input": talk}).inputs == [talk]


def test_null_is_absent_and_what_changes_no_vector_is_ignored():
    body = {"input": "a", "dimensions": None, "encoding_format": None, "user": "me", "request_id": "7"}
    assert read(body) == Asked(["a"])


def test_an_error_keeps_its_place_over_a_pickle():
    import pickle

    with pytest.raises(ShapeError) as caught:
        read({"input": ["a", None]})
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301
    assert (again.param, again.index, str(again)) == ("input[1]", 1, str(caught.value))
