from __future__ import annotations

import base64

import PIL.Image
import pytest

from vlm2vec.errors import InputError
from vlm2vec.inputs import Clip, Document, Image, Text, parse_batch, parse_input

PHOTO = PIL.Image.new("RGB", (6, 4))


def user(*parts):
    return {"role": "user", "content": list(parts)}


def test_a_bare_list_of_messages_is_one_conversation():
    (parsed,) = parse_batch([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])
    assert parsed.parts == (Text("a"), Text("b"))


def test_a_list_of_conversations_is_a_batch():
    first, second = parse_batch([[{"role": "user", "content": "a"}], ({"role": "user", "content": "b"},)])
    assert (first.parts, second.parts) == ((Text("a"),), (Text("b"),))


def test_one_message_is_a_conversation():
    assert parse_input({"role": "user", "content": "a"}).parts == (Text("a"),)


@pytest.mark.parametrize("role", ["system", "developer"])
def test_the_system_message_is_the_instruction(role):
    system = {"role": role, "content": [{"type": "text", "text": "Find "}, {"type": "text", "text": "it."}]}
    parsed = parse_input([system, {"role": "user", "content": "a"}], instruction="call")
    assert parsed.instruction == "Find it."
    assert parsed.parts == (Text("a"),)


def test_content_parts_keep_their_order(files, data):
    uri = "data:image/png;base64," + base64.b64encode(data.png).decode()
    parsed = parse_input(
        [
            user(
                {"type": "text", "text": "see"},
                {"type": "image", "image": PHOTO},
                {"type": "image_url", "image_url": {"url": uri, "detail": "auto"}},
                {"type": "image_url", "image_url": uri},
                {"type": "input_image", "image_url": uri},
                {"type": "image", "path": str(files.png)},
                {"type": "input_text", "text": "then"},
            ),
            user(
                {"type": "video", "video": str(files.mp4), "num_frames": 3},
                {"type": "video_url", "video_url": {"url": str(files.mp4)}},
                {"type": "pdf", "pdf": files.pdf, "page": 2},
            ),
        ]
    )
    kinds = [type(part) for part in parsed.parts]
    assert kinds == [Text, Image, Image, Image, Image, Image, Text, Clip, Clip, Document]
    assert parsed.parts[7].num_frames == 3
    assert parsed.parts[9].pages == 2


def test_content_parts_may_stand_in_an_interleaved_list():
    parsed = parse_input(["see", {"type": "image", "image": PHOTO}])
    assert [type(part) for part in parsed.parts] == [Text, Image]


BAD = {
    "no content": ([{"role": "system", "content": "i"}], "no content to embed"),
    "empty content": ({"role": "user", "content": ""}, "the text is empty"),
    "content none": ({"role": "assistant", "content": None}, "content is None"),
    "content number": ({"role": "user", "content": 3}, "content is int 3"),
    "unknown role": ({"role": "sytem", "content": "a"}, "unknown role.*The roles are system"),
    "role none": ({"role": None, "content": "a"}, "unknown role None"),
    "extra key": ({"role": "user", "content": "a", "fps": 1}, 'unknown key text "fps"'),
    "two systems": ([{"role": "system", "content": "i"}] * 2, "two system messages"),
    "media in system": ({"role": "system", "content": [{"type": "image", "image": PHOTO}]}, "holds media"),
    "mixed with text": ([{"role": "user", "content": "a"}, "b"], "stands among messages"),
    "unknown type": (user({"type": "audio", "audio": "x"}), "unknown type audio.*The types are text"),
    "type of int": (user({"type": 3}), "unknown type int 3"),
    "no type": (user({"text": "a"}), "stands among content parts"),
    "nothing in the part": (user({"type": "image"}), 'of type image has no "image"'),
    "none in the part": (user({"type": "image", "image": None}), '"image" is None'),
    "text none": (user({"type": "text", "text": None}), '"text" is None'),
    "url none": (user({"type": "image_url", "image_url": {}}), '"image" is None'),
    "detail": (user({"type": "image_url", "image_url": {"url": "a.png", "detail": "low"}}), "max_pixels"),
    "unknown key in url": (user({"type": "image_url", "image_url": {"uri": "a"}}), 'unknown key text "uri"'),
    "url": (user({"type": "image_url", "image_url": {"url": "https://example.org"}}), "URLs are not fetched"),
    "instruction in a part": (user({"type": "text", "text": "a", "instruction": "i"}), "whole input"),
    "other media in a part": (user({"type": "image", "image": PHOTO, "text": "a"}), 'unknown key "text"'),
    "wrong option": (user({"type": "image", "image": PHOTO, "fps": 1}), "beside no video"),
}


@pytest.mark.parametrize(("item", "match"), BAD.values(), ids=BAD.keys())
def test_malformed_messages_are_rejected(item, match):
    with pytest.raises(InputError, match=f"(?s){match}") as caught:
        parse_input(item, index=2)
    assert caught.value.index == 2
    assert caught.value.fix
    assert caught.value.source
