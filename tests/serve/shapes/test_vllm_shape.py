from __future__ import annotations

import pytest

from vlm2vec.serve.asked import Asked
from vlm2vec.serve.shapes import ShapeError, vllm

read = vllm.read


def user(*parts):
    return {"role": "user", "content": list(parts)}


def test_the_first_example_of_its_documentation_is_one_input(media, held):
    body = {
        "model": "TIGER-Lab/VLM2Vec-Full",
        "messages": [
            user(
                {"type": "image_url", "image_url": {"url": media.url}},
                {"type": "text", "text": "Represent the given image."},
            )
        ],
        "encoding_format": "float",
    }
    asked = read(body)
    assert held(asked) == [[("image", media.url), ("text", "Represent the given image.")]]
    assert asked.instruction is None


def test_the_conversation_of_qwen3_vl_embedding_is_its_input_and_its_instruction(media, held):
    body = {
        "model": "Qwen/Qwen3-VL-Embedding-2B",
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "Represent the user's input."}]},
            user(
                {"type": "image_url", "image_url": {"url": media.png_uri}},
                {"type": "text", "text": "a cat"},
            ),
            {"role": "assistant", "content": [{"type": "text", "text": ""}]},
        ],
        "encoding_format": "float",
        "continue_final_message": True,
        "add_special_tokens": True,
    }
    asked = read(body)
    assert held(asked) == [[("image", media.png), ("text", "a cat")]]
    assert asked.instruction == "Represent the user's input."


def test_a_conversation_is_understood_as_encode_does(media):
    from vlm2vec.inputs import parse_input

    messages = [
        {"role": "system", "content": "Find it."},
        user({"type": "text", "text": "a"}),
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    asked = read({"messages": messages})
    direct = parse_input(messages)
    again = parse_input(asked.inputs[0], instruction=asked.instruction)
    assert (again.parts, again.instruction) == (direct.parts, direct.instruction)


def test_a_video_as_frames_looks_at_all_of_them(media):
    """vllm/multimodal/media/video.py, `load_base64`: frames of any picture format, a comma between them."""
    frames = [media.png_base64] * 9
    for kind in ("video/jpeg", "video/JPEG"):
        part = {"type": "video_url", "video_url": {"url": f"data:{kind};base64,{','.join(frames)}"}}
        asked = read({"messages": [user(part)]})
        assert asked.inputs == [[{"video": [media.png] * 9, "num_frames": 9}]]
    assert read({"messages": [user({**part, "num_frames": 2})]}).inputs[0][0]["num_frames"] == 2


def test_a_list_of_frames_is_a_clip(media):
    part = {"type": "video", "video": [media.png_uri, media.url], "num_frames": 2}
    assert read({"messages": [user(part)]}).inputs == [[{"video": [media.png, media.url], "num_frames": 2}]]


@pytest.mark.parametrize(
    ("video", "param", "said"),
    [
        ([], "messages[0].content[0].video", "no frames"),
        (["/etc/passwd"], "messages[0].content[0].video[0]", "neither a data-URI"),
        ([["x"]], "messages[0].content[0].video[0]", "stands for media"),
        (["data:image/png;base64,AAAA"] * 1025, "messages[0].content[0].video", "over 1,024 frames"),
        ("data:video/jpeg;base64," + "," * 5000, "messages[0].content[0].video", "over 1,024 frames"),
        ("data:video/jpeg;base64,AAAA,?", "messages[0].content[0].video[1]", "nor base64"),
    ],
)
def test_frames_that_are_none_are_refused(video, param, said):
    with pytest.raises(ShapeError, match=said) as refusal:
        read({"messages": [user({"type": "video", "video": video})]})
    assert refusal.value.param == param


def test_a_video_and_its_options(media):
    part = {"type": "video_url", "video_url": {"url": media.mp4_uri}, "num_frames": 4}
    assert read({"messages": [user(part)]}).inputs == [[{"video": media.mp4, "num_frames": 4}]]


def test_extras_at_their_defaults_are_taken():
    body = {
        "messages": [{"role": "user", "content": "a"}],
        "add_generation_prompt": False,
        "add_special_tokens": False,
        "continue_final_message": False,
        "chat_template": None,
        "chat_template_kwargs": {},
        "mm_processor_kwargs": {},
        "media_io_kwargs": None,
        "truncate_prompt_tokens": None,
        "truncation_side": None,
        "padding": False,
        "use_activation": True,
        "embed_dtype": "float32",
        "endianness": "native",
        "priority": 0,
        "cache_salt": "salt",
        "request_id": "1",
        "user": "me",
        "dimensions": 8,
    }
    assert read(body) == Asked([[{"text": "a"}]], dimensions=8)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("add_generation_prompt", True),
        ("chat_template", "{{ messages }}"),
        ("chat_template_kwargs", {"a": 1}),
        ("mm_processor_kwargs", {"max_pixels": 1}),
        ("media_io_kwargs", {"video": {}}),
        ("truncate_prompt_tokens", 512),
        ("truncate_prompt_tokens", True),
        ("truncation_side", "left"),
        ("padding", "max_length"),
        ("normalize", False),
        ("use_activation", False),
        ("use_activation", 1),
        ("embed_dtype", "float16"),
        ("endianness", "big"),
        ("continue_final_message", True),
        ("continue_final_message", "yes"),
        ("task", "embed"),
    ],
)
def test_extras_that_would_change_the_vector_are_refused_by_name(name, value):
    with pytest.raises(ShapeError, match=name) as caught:
        read({"messages": [{"role": "user", "content": "a"}], name: value})
    assert caught.value.param == name


def test_truncation_to_the_context_is_asked_for_by_minus_one():
    asked = read({"input": ["a", "b"], "truncate_prompt_tokens": -1})
    assert asked == Asked(["a", "b"], truncate=True)


@pytest.mark.parametrize(
    ("messages", "param", "says"),
    [
        ([], "messages", "messages"),
        ("a", "messages", "messages"),
        ([[{"role": "user", "content": "a"}]], "messages[0]", "stands among messages"),
        ([{"role": "user"}], "messages[0]", "stands among messages"),
        ([{"role": "user", "content": "a", "name": "b"}], "messages[0]", "no more"),
        ([{"role": "tool", "content": "a"}], "messages[0]", "role"),
        ([{"role": ["user"], "content": "a"}], "messages[0]", "role"),
        ([{"role": "system", "content": "a"}], "messages", "no content"),
        ([{"role": "system", "content": "a"}] * 2, "messages[1]", "two system"),
        ([{"role": "assistant", "content": None}], "messages", "no content"),
        (
            [user({"type": "image_url", "image_url": {"url": "cat.jpg"}})],
            "messages[0].content[0].image_url.url",
            "neither",
        ),
        (
            [{"role": "system", "content": [{"type": "image_url", "image_url": "http://a/b"}]}],
            "messages[0]",
            "media",
        ),
    ],
)
def test_the_message_at_fault_is_named(messages, param, says):
    with pytest.raises(ShapeError, match=says) as caught:
        read({"messages": messages})
    assert (caught.value.param, caught.value.index) == (param, 0)


def test_messages_and_input_or_two_instructions_are_refused():
    message = {"role": "user", "content": "a"}
    with pytest.raises(ShapeError, match="both"):
        read({"messages": [message], "input": "a"})
    with pytest.raises(ShapeError, match='no "messages"'):
        read({"add_special_tokens": True})
    with pytest.raises(ShapeError, match="instruction as well"):
        read({"messages": [{"role": "system", "content": "b"}, message], "instruction": "c"})
    with pytest.raises(ShapeError, match="no messages"):
        read({"input": "a", "continue_final_message": True})
