"""`allow_files`: which paths are read, in whatever form an input names them."""

from __future__ import annotations

import builtins
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from vlm2vec import Video, VLM2Vec
from vlm2vec.errors import InputError, VLM2VecError
from vlm2vec.inputs import parse_batch, parse_input
from vlm2vec.training.data.rows import check_row

PICTURE = PIL.Image.new("RGB", (56, 56), "red")
PROMPT = "<|image_pad|> What is this?"
FORMS: dict[str, Callable[[str], Any]] = {
    "image": lambda path: {"image": path},
    "among images": lambda path: {"images": [PICTURE, path]},
    "pdf": lambda path: {"pdf": path},
    "video": lambda path: {"video": path},
    "frames": lambda path: {"video": [PICTURE, path]},
    "frame of a Video": lambda path: Video([PICTURE, path]),
    "Video": Video,
    "path": Path,
    "path under a key": lambda path: {"image": Path(path)},
    "part": lambda path: ["what?", Path(path)],
    "part under a key": lambda path: ["what?", {"image": path}],
    "arrow": lambda path: {"bytes": None, "path": path},
    "arrow under a key": lambda path: {"image": {"bytes": None, "path": path}},
    "message": lambda path: [{"role": "user", "content": [{"type": "image", "image": path}]}],
    "image_url": lambda path: [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": path}}]}
    ],
    "prompt": lambda path: {"prompt": PROMPT, "image": path},
    "parsed": lambda path: parse_input({"image": path}, open_files=False),
}


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A picture below `inside`, and another beside it."""
    for name in ("inside", "outside"):
        (tmp_path / name).mkdir()
        PICTURE.save(tmp_path / name / "a.png")
    return tmp_path / "inside" / "a.png"


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of what is opened or looked up from here on."""
    names: list[str] = []

    def recorded(module: Any, name: str) -> None:
        original = getattr(module, name)

        def record(path: Any, *args: Any, **kwargs: Any) -> Any:
            names.append(str(path))
            return original(path, *args, **kwargs)

        monkeypatch.setattr(module, name, record)

    for module, name in (
        *((os, name) for name in ("stat", "lstat", "open", "scandir", "listdir", "readlink")),
        (io, "open"),
        (builtins, "open"),
    ):
        recorded(module, name)
    return names


def refusal(item: Any, **allowed: Any) -> str:
    with pytest.raises(InputError, match="files are not read") as error:
        parse_input(item, **allowed)
    return str(error.value)


@pytest.mark.parametrize("form", FORMS)
def test_a_path_is_refused_in_every_form_and_not_looked_up(
    form: str, picture: Path, looked_up: list[str]
) -> None:
    there, missing = str(picture), str(picture).replace("a.png", "b.png")
    said = refusal(FORMS[form](there), allow_files=False)
    assert said.replace("a.png", "b.png") == refusal(FORMS[form](missing), allow_files=False)
    assert not [name for name in looked_up if "inside" in name]


@pytest.mark.parametrize("form", FORMS)
def test_a_path_outside_the_folders_is_refused_in_every_form_and_not_looked_up(
    form: str, picture: Path, looked_up: list[str]
) -> None:
    there = str(picture.parent.parent / "outside" / "a.png")
    roots = [picture.parent]
    said = refusal(FORMS[form](there), allow_files=roots)
    missing = there.replace("a.png", "b.png")
    assert said.replace("a.png", "b.png") == refusal(FORMS[form](missing), allow_files=roots)
    assert not [name for name in looked_up if name.endswith(("outside/a.png", "outside/b.png"))]


def test_a_path_below_a_folder_is_read(picture: Path) -> None:
    for root in (picture.parent, str(picture.parent.parent)):
        item = parse_input({"image": str(picture)}, allow_files=[root])
        assert item.parts[0].content.read() == picture.read_bytes()
    assert parse_input(item, allow_files=[picture.parent]).parts[0].content.path == picture.resolve()


def test_dots_and_links_that_lead_out_are_refused(picture: Path) -> None:
    inside, outside = picture.parent, picture.parent.parent / "outside"
    (inside / "linked.png").symlink_to(outside / "a.png")
    (inside / "linked").symlink_to(outside)
    (inside / "gone.png").symlink_to(outside / "nothing.png")
    (inside / "round").symlink_to(inside / "round")
    (inside / "sub").mkdir()
    for name in ("../outside/a.png", "linked.png", "linked/a.png", "linked/../outside/a.png", "gone.png"):
        refusal({"image": str(inside / name)}, allow_files=[inside])
    refusal({"image": "\ud800.png"}, allow_files=[inside])
    refusal(Path("a\0b"), allow_files=[inside])
    with pytest.raises(VLM2VecError):
        parse_input({"image": str(inside / "round")}, allow_files=[inside])
    assert parse_input({"image": str(inside / "sub" / ".." / "a.png")}, allow_files=[inside]).parts


def test_a_folder_is_no_root_of_its_neighbour_of_a_longer_name(picture: Path) -> None:
    refusal({"image": str(picture)}, allow_files=[picture.parent.parent / "in"])


def test_what_is_read_is_what_a_link_led_to_when_it_was_checked(picture: Path) -> None:
    inside, outside = picture.parent, picture.parent.parent / "outside"
    PIL.Image.new("RGB", (28, 28), "blue").save(outside / "a.png")
    link = inside / "link.png"
    link.symlink_to(picture)
    item = parse_input({"image": str(link)}, allow_files=[inside])
    link.unlink()
    link.symlink_to(outside / "a.png")
    assert item.parts[0].content.read() == picture.read_bytes()


def test_a_link_among_the_frames_of_a_folder_is_refused(picture: Path) -> None:
    clip = picture.parent / "clip"
    clip.mkdir()
    PICTURE.save(clip / "1.png")
    assert parse_input({"video": str(clip)}, allow_files=[picture.parent]).parts
    (clip / "2.png").symlink_to(picture)
    assert parse_input({"video": str(clip)}, allow_files=[picture.parent]).parts
    (clip / "3.png").symlink_to(picture.parent.parent / "outside" / "a.png")
    refusal({"video": str(clip)}, allow_files=[picture.parent])


def test_errors_say_no_more_of_a_path_than_was_given(
    picture: Path, monkeypatch: pytest.MonkeyPatch, embedded: VLM2Vec
) -> None:
    inside = picture.parent
    monkeypatch.chdir(inside)
    (inside / "clip").mkdir()
    for name in ("broken.png", "broken.pdf", "broken.mp4", "clip/1.png"):
        head = {"png": b"\x89PNG\r\n\x1a\n", "pdf": b"%PDF-1.7", "mp4": b"\0\0\0 ftypisom"}[name[-3:]]
        (inside / name).write_bytes(head + bytes(50))
    inputs = [
        *({"image": name} for name in ("nothing.png", "broken.png", "broken.pdf", "../outside/a.png")),
        *({"video": name} for name in ("broken.mp4", "clip")),
        {"pdf": "broken.pdf"},
    ]
    model = VLM2Vec(modules=list(embedded), device="cpu")
    monkeypatch.setattr(model[0], "allow_files", [inside])
    errors: list[VLM2VecError] = []
    model.encode(inputs, on_error=lambda _, error: errors.append(error))
    assert [error.index for error in errors] == list(range(len(inputs)))
    assert not [str(error) for error in errors if "inside" in str(error)]


def test_media_in_memory_are_read_where_no_file_is(picture: Path) -> None:
    data = picture.read_bytes()
    name = {"bytes": data, "path": str(picture)}  # beside bytes a name alone
    for item in ("a text", PICTURE, data, name, {"image": data}, np.zeros((56, 56, 3), np.uint8)):
        assert parse_input(item, allow_files=False).parts


def test_a_batch_goes_on_behind_a_path_that_is_refused(picture: Path) -> None:
    found = list(parse_batch(["a", picture, "b"], allow_files=False, on_error="nan"))
    assert [type(item).__name__ for item in found] == ["Input", "InputError", "Input"]


@pytest.mark.parametrize("value", [None, "data", 1, {"data"}, [3]])
def test_another_value_is_an_error(value: Any) -> None:
    with pytest.raises(InputError, match="allow_files"):
        list(parse_batch(["a"], allow_files=value))
    with pytest.raises(InputError, match="allow_files"):
        VLM2Vec(device="cpu", allow_files=value)


def test_a_model_reads_what_it_was_told(picture: Path) -> None:
    model = VLM2Vec(device="cpu", allow_files=[picture.parent])
    outside = picture.parent.parent / "outside" / "a.png"
    assert model.encode(picture).shape == model.encode({"image": str(picture)}).shape
    for encode in (model.encode, model.preprocess, lambda items: list(model.encode_stream(items))):
        with pytest.raises(InputError, match=r"input 1.*files are not read"):
            encode([picture, outside])


def test_training_reads_what_the_model_was_told(picture: Path) -> None:
    row = {"query": "a square", "document": picture}
    with pytest.raises(InputError, match=r"train, row 0.*files are not read"):
        check_row(row, allow_files=False)
    assert check_row(row, allow_files=[picture.parent]).document.parts
    model = VLM2Vec(device="cpu", allow_files=False)
    with pytest.raises(InputError, match="files are not read"):
        model.fit([row, row], max_steps=1, show_progress_bar=False)
