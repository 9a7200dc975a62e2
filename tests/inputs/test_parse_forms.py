"""Every row of the table of inputs."""

from __future__ import annotations

import base64
import enum
import pickle
from collections import OrderedDict

import numpy as np
import PIL.Image
import pytest
import torch

from vlm2vec.inputs import Clip, Document, Image, Text, Video, parse_input
from vlm2vec.media.source import Source

PHOTO = PIL.Image.new("RGB", (6, 4))
ARRAY = np.zeros((4, 6, 3), np.uint8)
FRAMES = np.zeros((5, 4, 6, 3), np.uint8)


def kinds(item, **settings):
    return [type(part) for part in parse_input(item, **settings).parts]


def only(item, **settings):
    (part,) = parse_input(item, **settings).parts
    return part


class Color(str, enum.Enum):  # noqa: UP042  # str() of a StrEnum would be its text
    RED = "red"


@pytest.mark.parametrize(
    "text",
    [
        "a cat",
        "  spaces and\nlines\t",
        "photo.jpg",
        "/etc/hostname",
        "https://example.org/a.png",
        "data:image/png;base64,AAAA",
        "<|image_pad|><|im_end|>",
        "日本語 🎈",
        "\0",
    ],
)
def test_a_string_is_text_to_the_letter(text):
    assert parse_input(text).parts == (Text(text),)
    assert parse_input({"text": text}).parts == (Text(text),)


def test_subclasses_of_str_become_plain_strings():
    for item, text in [(np.str_("a cat"), "a cat"), (Color.RED, "red")]:
        assert type(only(item).text) is str
        assert only(item).text == text


def test_a_path_is_what_its_first_bytes_say(files):
    assert kinds(files.png) == [Image]
    assert kinds(files.mp4) == [Clip]
    assert kinds(files.pdf) == [Document]
    assert kinds(files.gif) == [Clip], "a GIF that moves"
    assert kinds(files.frames) == [Clip]
    assert only(files.txt) == Text("two words")


def test_a_text_file_keeps_every_character_but_the_byte_order_mark(tmp_path):
    path = tmp_path / "note.md"
    path.write_bytes(b"\xef\xbb\xbf# one\r\n  two \n")
    assert only(path) == Text("# one\r\n  two \n")


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview])
def test_bytes_are_sniffed(data, make):
    assert kinds(make(data.png)) == [Image]
    assert kinds(make(data.mp4)) == [Clip]
    assert kinds(make(data.pdf)) == [Document]


@pytest.mark.parametrize("array", [ARRAY, ARRAY[:, :, 0], ARRAY.astype(np.float32), ARRAY.transpose(2, 0, 1)])
def test_arrays_of_two_or_three_dimensions_are_images(array):
    assert only(array).content is array
    assert kinds(array) == [Image]


def test_an_array_of_four_dimensions_is_a_clip():
    assert kinds(FRAMES) == [Clip]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16])
def test_tensors_become_arrays(dtype):
    tensor = torch.full((4, 6, 3), 1, dtype=dtype)
    part = only(tensor)
    assert isinstance(part, Image)
    assert isinstance(part.content, np.ndarray)
    assert part.content.shape == (4, 6, 3)
    assert float(part.content.sum()) == 72
    assert kinds(torch.nn.Parameter(torch.zeros(4, 6, 3))) == [Image]
    assert kinds(torch.zeros(5, 4, 6, 3)) == [Clip]


def test_a_pil_image_is_an_image():
    assert only(PHOTO).content is PHOTO


def test_keys_give_the_order_of_the_parts(files):
    forward = {"text": "t", "image": files.png, "video": files.mp4, "pdf": files.pdf}
    backward = dict(reversed(forward.items()))
    assert kinds(forward) == [Text, Image, Clip, Document]
    assert kinds(backward) == [Document, Clip, Image, Text]
    assert kinds(OrderedDict(forward)) == [Text, Image, Clip, Document]


def test_a_string_under_a_media_key_is_a_path_or_a_data_uri(files, data):
    assert only({"image": str(files.png)}).content.path == files.png
    assert only({"pdf": str(files.pdf)}).content.path == files.pdf
    uri = "data:image/png;base64," + base64.b64encode(data.png).decode()
    assert only({"image": uri}).content.data == data.png


def test_lists_under_image_keys_are_several_images(files, data):
    assert kinds({"image": [PHOTO, files.png, str(files.png), data.png, ARRAY]}) == [Image] * 5
    assert kinds({"images": (PHOTO, PHOTO), "text": "t"}) == [Image, Image, Text]
    assert kinds({"images": PHOTO}) == [Image]
    assert kinds({"pdf": [files.pdf, files.pdf]}) == [Document, Document]
    assert parse_input({"text": ["a", "b"]}).parts == (Text("a"), Text("b"))


def test_a_list_of_pictures_under_video_is_one_clip(files):
    clip = only({"video": [PHOTO, files.png, str(files.png), ARRAY]})
    assert isinstance(clip, Clip)
    assert len(clip.content) == 4
    assert isinstance(clip.content[1], Source)
    assert len(only({"video": [PHOTO]}).content) == 1


def test_a_list_of_clips_under_video_is_several_clips(files):
    assert kinds({"video": [Video([PHOTO]), Video(files.mp4)]}) == [Clip, Clip]
    assert kinds({"video": [[PHOTO, PHOTO], FRAMES]}) == [Clip, Clip]


def test_a_moving_gif_is_a_clip_under_video(files):
    assert kinds({"video": files.gif}) == [Clip]
    assert kinds({"video": str(files.frames)}) == [Clip]


def test_options_go_to_the_parts_they_mean(files):
    options = {"num_frames": 4, "start": 1, "end": 2.5, "max_pixels": 10_000, "pages": "2-", "password": "x"}
    image, clip, document = parse_input(
        {"image": PHOTO, "video": files.mp4, "pdf": files.pdf, **options}
    ).parts
    assert image.max_pixels == 10_000
    assert (clip.num_frames, clip.fps, clip.start, clip.end, clip.max_pixels) == (4, None, 1.0, 2.5, 10_000)
    assert (document.pages, document.password, document.max_pixels) == ("2-", "x", 10_000)
    assert only({"pdf": files.pdf, "page": 3}).pages == 3
    assert only({"pdf": files.pdf, "pages": [1, 3]}).pages == (1, 3)
    assert only({"pdf": files.pdf, "pages": None}).pages is None
    assert only({"fps": 2, "video": files.mp4}).fps == 2.0


def test_options_beside_a_video_object_fill_what_it_leaves_open(files):
    clip = only({"video": Video(files.mp4, start=1), "num_frames": 2})
    assert (clip.start, clip.num_frames) == (1.0, 2)


def test_a_nested_list_is_one_interleaved_input(files):
    item = ["see", PHOTO, "and", {"pdf": files.pdf, "page": 2}, Video([PHOTO]), files.mp4, {"text": "end"}]
    assert kinds(item) == [Text, Image, Text, Document, Clip, Clip, Text]
    assert kinds(tuple(item)) == kinds(item)


def test_an_empty_text_beside_media_is_allowed():
    assert kinds({"text": "", "image": PHOTO}) == [Text, Image]
    assert kinds(["", PHOTO]) == [Text, Image]


def test_the_raw_prompt_is_kept_and_its_media_are_in_order(files):
    prompt = "<|image_pad|> x\n<|video_pad|>"
    parsed = parse_input({"prompt": prompt, "images": [PHOTO], "video": files.mp4, "num_frames": 2})
    assert parsed.prompt == prompt
    assert [type(part) for part in parsed.parts] == [Image, Clip]
    assert parsed.parts[1].num_frames == 2
    assert parsed.instruction is None
    assert parse_input({"prompt": "text alone"}).parts == ()


def test_an_inputs_own_instruction_goes_before_the_calls():
    assert parse_input({"text": "t", "instruction": "own"}, instruction="call").instruction == "own"
    assert parse_input({"text": "t", "instruction": None}, instruction="call").instruction == "call"
    assert parse_input({"text": "t", "instruction": ""}, instruction="call").instruction == ""
    assert parse_input("t", instruction="call").instruction == "call"
    assert parse_input("t").instruction is None


def test_urls_are_fetched_only_where_they_are_allowed(monkeypatch, data):
    monkeypatch.setattr("vlm2vec.media.source.fetch", lambda *args, **kwargs: data.png)
    assert kinds({"image": "https://example.org/a"}, allow_urls=True) == [Image]
    assert kinds(["a", {"images": ["https://example.org/a"]}], allow_urls=True) == [Text, Image]
    assert kinds(Video(["https://example.org/a"]), allow_urls=True) == [Clip]
    assert kinds("https://example.org/a", allow_urls=True) == [Text]


def test_a_parsed_input_can_be_pickled(files):
    item = {"text": "t", "images": [PHOTO, ARRAY], "video": [PHOTO], "pdf": files.pdf, "instruction": "i"}
    parsed = pickle.loads(pickle.dumps(parse_input(item, index=3)))  # noqa: S301
    assert [type(part) for part in parsed.parts] == [Text, Image, Image, Clip, Document]
    assert (parsed.instruction, parsed.index) == ("i", 3)


def test_a_bare_file_name_is_text_and_is_told_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vlm2vec.inputs.text._mentioned", set())
    for name in (
        "a/cat.JPG",
        "dog.jpg",
        "clip.mp4",
        "find cat.jpg",
        "cat.jpgs",
        ".pdf",
        "https://a.org/b.png",
    ):
        assert only(name) == Text(name)
    assert [record.getMessage() for record in caplog.records] == [
        f'The text "{name}" is embedded as text. To embed the file, pass it as a pathlib.Path.'
        for name in ("a/cat.JPG", "clip.mp4")
    ]
