"""Everything that is no input: the error names the index, what was given, the cause and the fix."""

from __future__ import annotations

import decimal
import io

import numpy as np
import PIL.Image
import pytest
import torch

from vlm2vec.errors import InputError, MediaError, VLM2VecError
from vlm2vec.inputs import Video, parse_input
from vlm2vec.inputs.parts import Text

PHOTO = PIL.Image.new("RGB", (6, 4))
ARRAY = np.zeros((4, 6, 3), np.uint8)
FRAMES = np.zeros((5, 4, 6, 3), np.uint8)
SECRET = b"SECRETSECRET"

BAD = {
    "none": (None, "None is not an input"),
    "nan": (float("nan"), "NaN is a missing value"),
    "numpy nan": (np.float32("nan"), "NaN is a missing value"),
    "int": (3, "int 3 is not an input"),
    "huge int": (10**6000, "int of about 6001 digits is not an input"),
    "float": (2.5, "float 2.5 is not an input"),
    "bool": (True, "True is not an input"),
    "complex": (1j, "complex 1j is not an input"),
    "decimal": (decimal.Decimal(1), "Decimal is not an input"),
    "object": (object(), "object is not an input"),
    "set": ({"a"}, "a set has no order"),
    "generator": ((x for x in "ab"), "a generator is not an input"),
    "iterator": (iter(["a"]), "a list_iterator is not an input"),
    "open file": (io.BytesIO(SECRET), "an open file is not an input"),
    "empty text": ("", "the text is empty"),
    "blank text": ("  ", "the text is empty or blank"),
    "blank line": ("\n\t", "the text is empty or blank"),
    "lone surrogate": ("ab\ud800c", "lone surrogate, U\\+D800, at position 2"),
    "empty dict": ({}, "the dict holds no text"),
    "only an instruction": ({"instruction": "i"}, "the dict holds no text"),
    "only options": ({"num_frames": 3}, "stands beside no video"),
    "role of arrays": ({"role": ARRAY, "content": "a"}, "the unknown role array"),
    "part of no type": (
        {"role": "user", "content": [{"type": "a\0b", "text": "c"}]},
        "the unknown type a b",
    ),
    "detail of arrays": (
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": "a.png", "detail": ARRAY}}],
        },
        "a level of detail",
    ),
    "more pixels than there are numbers": (
        {"image": PHOTO, "max_pixels": 10**6000},
        "max_pixels is more than",
    ),
    "empty list": ([], "the list of parts is empty"),
    "empty texts": (["", ""], "the text is empty"),
    "blank texts": (["", " "], "the text is empty or blank"),
    "list in list": (["a", ["b"]], "a list stands inside"),
    "none in list": (["a", None], "None is not an input"),
    "instruction in a part": (["a", {"text": "b", "instruction": "c"}], "whole input"),
    "prompt in a part": (["a", {"prompt": "b"}], 'unknown key "prompt"'),
    "text none": ({"text": None}, '"text" is None'),
    "text number": ({"text": 3}, '"text" is int 3'),
    "text nan": ({"text": float("nan")}, '"text" is float nan'),
    "text bytes": ({"text": SECRET}, '"text" is 12 bytes.*Decode'),
    "text empty": ({"text": ""}, "the text is empty"),
    "text blank": ({"text": " "}, "the text is empty or blank"),
    "blank message": ({"role": "user", "content": " "}, "the text is empty or blank"),
    "text empty list": ({"text": []}, '"text" is list of 0'),
    "text surrogate": ({"text": "\udfff"}, "position 0"),
    "instruction number": ({"text": "t", "instruction": 3}, '"instruction" is int 3'),
    "image none": ({"image": None, "text": "t"}, '"image" is None.*Leave "image" out'),
    "image nan": ({"image": float("nan")}, '"image" is float nan'),
    "image empty list": ({"image": []}, 'list under "image" is empty'),
    "images empty tuple": ({"images": (), "text": "t"}, 'list under "images" is empty'),
    "video empty list": ({"video": []}, 'list under "video" is empty'),
    "pdf empty list": ({"pdf": []}, 'list under "pdf" is empty'),
    "none among images": ({"images": [PHOTO, None]}, '"images" is None'),
    "image generator": ({"images": (x for x in [PHOTO])}, '"images" is generator'),
    "empty path": ({"image": ""}, "the path is empty"),
    "null in path": ({"image": "a\0b"}, "null character"),
    "surrogate in path": ({"image": "\ud800.png"}, "cannot be reached"),
    "url": ({"image": "https://example.org/a.png?token=SECRETSECRET"}, "URLs are not fetched.*allow_urls"),
    "ftp url": ({"video": "ftp://example.org/a.mp4"}, "URLs are not fetched"),
    "file url": ({"pdf": "file:///etc/hostname"}, "file://"),
    "data uri without comma": ({"image": "data:image/png;base64"}, "no comma"),
    "data uri bad base64": ({"image": "data:image/png;base64,SECRETSECRET!"}, "base64"),
    "data uri of text": ({"image": "data:text/plain;base64,SECRETSECRET"}, "type"),
    "base64 as path": ({"image": "SECRETSECRET" * 500}, "6,000 characters is too long for a path.*data-URI"),
    "base64 as name": ({"image": "SECRETSECRET" * 30}, "360 characters is too long for a path"),
    "typo": ({"imgae": PHOTO}, 'unknown key "imgae".*Did you mean "image".*keys are text, image'),
    "plural": ({"videos": []}, 'Did you mean "video"'),
    "audio": ({"audio": "a.wav"}, "Audio is not supported"),
    "audio dict": ({"array": ARRAY, "sampling_rate": 3}, "Audio is not supported"),
    "video dict": ({"array": FRAMES, "video_metadata": {}}, "Use Video"),
    "video dict under key": (
        {"video": {"array": FRAMES, "video_metadata": {}}},
        '"video" is dict with array',
    ),
    "document": ({"document": "a.pdf"}, 'Did you mean "pdf"'),
    "key of int": ({3: "a"}, "unknown key int 3"),
    "role alone": ({"role": "user"}, 'both "role" and "content"'),
    "long key": ({"k" * 5000: 1}, 'unknown key "kkk'),
    "content part": ({"type": "text", "text": "a"}, "content part is not an input by itself"),
    "prompt and text": ({"prompt": "p", "text": "t"}, '"prompt" stands beside "text"'),
    "prompt and instruction": ({"prompt": "p", "instruction": "i"}, '"prompt" stands beside "instruction"'),
    "prompt empty": ({"prompt": "", "image": PHOTO}, "the prompt is empty"),
    "prompt none": ({"prompt": None}, '"prompt" is None'),
    "1-d array": (np.zeros(3), "array of 1 dimensions"),
    "5-d array": (np.zeros((1, 1, 1, 1, 3)), "array of 5 dimensions"),
    "0-d array": (np.array(3), "array of 0 dimensions"),
    "object array": (np.array([None]), "None is not an input"),
    "complex array": (np.zeros((4, 6, 3), complex), "dtype complex128"),
    "empty array": (np.zeros((0, 6, 3)), "empty"),
    "no frames": (np.zeros((0, 4, 6, 3)), "empty"),
    "clip under image": ({"image": FRAMES}, "4 dimensions, not 2 or 3"),
    "clip under images": ({"images": FRAMES}, "several as a list"),
    "image under video": ({"video": ARRAY}, "3 dimensions, not 4"),
    "pil under video": ({"video": PHOTO}, "a single picture"),
    "complex tensor": (torch.zeros(4, 6, 3, dtype=torch.complex64), "dtype complex64"),
    "sparse tensor": (torch.zeros(4, 6).to_sparse(), "cannot become an array"),
    "meta tensor": (torch.zeros(4, 6, device="meta"), "cannot become an array"),
    "video under image": ({"image": Video([PHOTO])}, 'a Video stands under "image"'),
    "frames and clips": ({"video": [PHOTO, Video([PHOTO])]}, "mixes frames and clips"),
    "no frames in video": (Video([]), "no frames"),
    "generator of frames": (Video(x for x in [PHOTO]), '"video" is generator'),
    "bytes of text": (SECRET, "bytes are text.*Decode"),
    "no bytes": (b"", "no bytes"),
    "unknown bytes": (b"\x80\x81\x82\x83", "not a known format"),
    "page without pdf": ({"image": PHOTO, "page": 1}, '"pages" stands beside no PDF'),
    "password without pdf": ({"text": "t", "password": "SECRETSECRET"}, "stands beside no PDF"),
    "fps without video": ({"image": PHOTO, "fps": 1}, '"fps" stands beside no video'),
    "max_pixels without media": ({"text": "t", "max_pixels": 1000}, "stands beside no media"),
    "start after end": ({"video": FRAMES, "start": 2, "end": 2}, "is not before end"),
    "fps of frames": ({"video": [PHOTO], "fps": 2}, "fps needs the times"),
    "rate without video": ({"image": PHOTO, "frame_rate": 2}, '"frame_rate" stands beside no video'),
    "option twice": ({"video": Video([PHOTO], num_frames=2), "num_frames": 2}, '"num_frames" is given twice'),
}


def rejected(item, match, **settings):
    with pytest.raises(VLM2VecError, match=f"(?s){match}") as caught:
        parse_input(item, index=7, **settings)
    return caught.value


@pytest.mark.parametrize(("item", "match"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_rejected_with_index_source_cause_and_fix(item, match):
    error = rejected(item, match)
    assert isinstance(error, (InputError, MediaError))
    assert error.index == 7
    assert error.source
    assert len(error.source) <= 60
    assert str(error).startswith("input 7 (")
    assert error.fix or "cannot be reached" in error.cause
    assert len(str(error)) < 500
    assert "SECRETSECRET" not in str(error).replace("SECRETSECRET" * 4, "")
    assert error.source.isprintable()


OPTIONS = {
    "num_frames": [0, -1, 2.0, "4", True, np.True_, float("nan"), [4]],
    "max_pixels": [0, 1.5, "big", True],
    "fps": [0, -1, float("nan"), float("inf"), "2", True, 1j, 10**400, np.complex64(1)],
    "start": [-0.1, float("nan"), "0", True, [1]],
    "frame_rate": [0, -1, float("inf"), "25", True],
    "end": [0, -1, float("inf"), None.__class__],
    "page": [0, -1, "3", 1.0, True, [1]],
    "pages": [0, "", " ", [], (), [0], [1.5], ["1"], 1.5, True, {1}],
    "password": [3, b"SECRETSECRET", ["a"], "SECRETSECRET\ud800"],
}


def test_a_blank_text_beside_media_or_an_instruction_of_its_own_is_meant():
    assert parse_input({"image": PHOTO, "text": " "}).parts[1] == Text(" ")
    assert parse_input({"text": "  ", "instruction": ""}).parts == (Text("  "),)
    assert parse_input({"prompt": "  "}).prompt == "  "
    rejected("  ", "the text is empty or blank", instruction="of the call")


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in OPTIONS for value in OPTIONS[name]])
def test_options_of_a_wrong_type_or_range_are_rejected(name, value, files):
    media = {"pdf": files.pdf} if name in ("page", "pages", "password") else {"video": files.mp4}
    error = rejected({**media, name: value}, name)
    assert error.fix
    assert "SECRET" not in str(error)


@pytest.mark.parametrize(
    ("name", "value"), [("num_frames", 0), ("fps", -1), ("start", "a"), ("max_pixels", 0)]
)
def test_video_checks_its_options_when_it_is_made(name, value):
    with pytest.raises(InputError, match=name):
        Video([PHOTO], **{name: value})


def test_numpy_numbers_are_numbers(files):
    parsed = parse_input({"video": files.mp4, "num_frames": np.int64(4), "end": np.float32(2)})
    assert type(parsed.parts[0].num_frames) is int
    assert type(parsed.parts[0].end) is float


def test_page_and_pages_together_are_rejected(files):
    rejected({"pdf": files.pdf, "page": 1, "pages": "2"}, 'both "page" and "pages"')


@pytest.mark.parametrize(
    ("key", "name", "match"),
    [
        ("image", "mp4", 'a video stands under "image".*Use the key "video"'),
        ("images", "pdf", 'a PDF stands under "images".*Use the key "pdf"'),
        ("image", "txt", 'a text file stands under "image"'),
        ("image", "frames", 'a video stands under "image"'),
        ("video", "png", 'an image stands under "video".*Use the key "image"'),
        ("video", "pdf", 'a PDF stands under "video"'),
        ("pdf", "png", 'an image stands under "pdf"'),
    ],
)
def test_media_under_the_key_of_another_kind_is_rejected(files, key, name, match):
    path = getattr(files, name)
    error = rejected({key: path}, match)
    assert error.source.endswith(path.name)


def test_a_list_of_clip_files_asks_for_video_objects(files):
    rejected({"video": [files.mp4, files.mp4]}, "a video stands among the frames.*list of Video objects")


@pytest.mark.parametrize(
    "form", [lambda path: path, lambda path: {"image": str(path)}, lambda path: ["a", path]]
)
def test_a_missing_file_is_an_error_that_names_it(files, form):
    error = rejected(form(files.missing), "does not exist")
    assert isinstance(error, MediaError)
    assert error.source.endswith("missing.png")


def test_an_empty_file_is_an_error(tmp_path):
    path = tmp_path / "empty.jpg"
    path.touch()
    rejected(path, "empty")
    rejected({"image": path}, "empty")


def test_files_that_are_no_media_are_errors(tmp_path):
    for name, data, match in [("a.bin", SECRET, "not a known format"), ("a.jpg", b"<html>" + SECRET, "HTML")]:
        (tmp_path / name).write_bytes(data)
        assert "SECRET" not in str(rejected(tmp_path / name, match))


def test_text_files_must_be_utf8_and_not_empty(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("café".encode("latin-1"))
    rejected(path, "not UTF-8: byte 0xe9 at position 3")
    path.write_bytes(b"")
    rejected(path, "the text file is empty")


def test_a_call_instruction_for_a_raw_prompt_is_rejected():
    rejected({"prompt": "p"}, "an instruction is given for a prompt", instruction="i")


def test_a_call_instruction_must_be_text():
    rejected("t", "the instruction is int 3", instruction=3)
