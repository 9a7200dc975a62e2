"""Bad training rows are found before training, and named by source and row."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from vlm2vec import Video
from vlm2vec.errors import InputError, MediaError
from vlm2vec.inputs import parse_input
from vlm2vec.training.data.row_inputs import check_input, identity
from vlm2vec.training.data.rows import check_row, check_rows

GOOD = {"query": "a cat", "document": "a photo of a cat"}


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "cat.png"
    PIL.Image.new("RGB", (32, 32), "red").save(path)
    return path


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    folder = tmp_path / "clip"
    folder.mkdir()
    for i in range(3):
        PIL.Image.new("RGB", (32, 32), "red").save(folder / f"{i}.png")
    return folder


BAD: list[tuple[Any, type[Exception], str, str]] = [
    ("a cat", InputError, "not a dict", "of another form"),
    ({"document": "b"}, InputError, 'has no query. Give "query"', "without a query"),
    ({"query": "a"}, InputError, "has no document", "without a document"),
    ({**GOOD, "query": None}, InputError, "has no query", "without a query"),
    ({**GOOD, "query": float("nan")}, InputError, "has no query", "without a query"),
    ({**GOOD, "query": ""}, InputError, "the query is empty", "with an empty query"),
    ({**GOOD, "query": " \n"}, InputError, "the query is empty", "with an empty query"),
    ({**GOOD, "document": {"text": ""}}, InputError, "the document is empty", "with an empty document"),
    ({**GOOD, "document": []}, InputError, "the document is empty", "with an empty document"),
    ({**GOOD, "positive": "c"}, InputError, 'Did you mean "document"?', "with an unknown key"),
    ({**GOOD, "queyr": "c"}, InputError, 'Did you mean "query"?', "with an unknown key"),
    ({**GOOD, "negatives": "c"}, InputError, "not a list", "whose negatives are no list"),
    ({**GOOD, "negatives": ["c", ""]}, InputError, "negative 1 is empty", "with an empty negative"),
    (
        {**GOOD, "negatives": ["c", {"text": GOOD["document"]}]},
        InputError,
        "negative 1 is the document itself",
        "whose negative is the document",
    ),
    (
        {**GOOD, "document": {"image": "gone.png"}},
        MediaError,
        r"document \(gone.png\): the file does not exist",
        "with a missing or broken file",
    ),
    ({**GOOD, "query": Path("gone.mp4")}, MediaError, "gone.mp4", "with a missing or broken file"),
    ({**GOOD, "query": ["a", Path("gone.png")]}, MediaError, "gone.png", "with a missing or broken file"),
    ({**GOOD, "query": Video("gone.mp4")}, MediaError, "gone.mp4", "with a missing or broken file"),
    ({**GOOD, "query": {"imagee": "a.png"}}, InputError, 'Did you mean "image"', "with an unusable query"),
    (
        {**GOOD, "query": {"prompt": "<|image_pad|> what?"}},
        InputError,
        "more <|image_pad|>",
        "with an unusable query",
    ),
    (
        {**GOOD, "query": {"prompt": "what?"}, "query_instruction": "Answer."},
        InputError,
        "an instruction is given for a prompt",
        "with an unusable query",
    ),
    ({**GOOD, "query": {"image": "http://a.b/c.png"}}, InputError, "URL", "with an unusable query"),
]


@pytest.mark.parametrize(("row", "error", "message", "reason"), BAD)
def test_a_bad_row_is_named_with_its_source_and_number(
    row: Any, error: type[Exception], message: str, reason: str
) -> None:
    with pytest.raises(error, match=message.replace("|", r"\|")) as raised:
        check_rows([GOOD, GOOD, row, GOOD], source="pets")
    assert str(raised.value).startswith("pets, row 2: ")
    report = check_rows([GOOD, row, GOOD], source="pets", on_error="skip")
    assert list(report.kept) == [0, 2]
    assert report.skipped == {reason: 1}


def test_good_rows_in_every_form_pass(picture: Path, frames: Path) -> None:
    array = np.zeros((30, 30, 3), np.uint8)
    forms: list[Any] = [
        "text",
        picture,
        frames,
        PIL.Image.new("RGB", (30, 30)),
        array,
        picture.read_bytes(),
        {"text": "what?", "image": str(picture)},
        {"video": str(frames), "num_frames": 2},
        {"video": [str(path) for path in sorted(frames.iterdir())]},
        Video(frames, num_frames=2),
        Video(sorted(frames.iterdir())),
        ["one", picture, "two", array],
        {"prompt": "<|image_pad|>\nwhat?", "images": [picture]},
        {"prompt": "<|video_pad|> what?", "video": frames, "num_frames": 8},
        [{"role": "user", "content": "a cat"}],
    ]
    for form in forms:
        parse_input(form)  # what passes here must also be an input
        row = check_row({"query": form, "document": "a", "negatives": [form]})
        assert row.query.describe() == parse_input(form).describe() or isinstance(form, Path)
        assert identity(row.query) == identity(form)
        check_row({"query": form, "document": "a"}, open_files=True)


def test_whatever_encode_refuses_at_sight_is_refused(picture: Path) -> None:
    for form in (
        {"text": "a", "fps": 2},
        {"audio": "a.wav"},
        {"video": b"%PDF-1.7"},
        {1: "a"},
        {"a"},
        object(),
    ):
        with pytest.raises(InputError):
            parse_input(form)
        with pytest.raises(InputError):
            check_input(form)


def test_files_are_opened_only_when_asked(tmp_path: Path) -> None:
    wrong = tmp_path / "page.png"
    wrong.write_bytes(b"%PDF-1.7")
    row = {"query": {"image": str(wrong)}, "document": "a"}
    check_row(row)
    with pytest.raises(InputError, match="a PDF stands under"):
        check_row(row, open_files=True)


def test_an_empty_folder_of_frames_is_found(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(MediaError, match="folder of frames is empty"):
        check_row({"query": {"video": str(tmp_path / "empty")}, "document": "a"})


def test_urls_pass_where_they_are_allowed_and_are_not_fetched() -> None:
    row = {"query": {"image": "http://host.invalid/cat.png"}, "document": "a"}
    check_row(row, allow_urls=True)


def test_null_negatives_and_instructions_mean_none() -> None:
    row = check_row({**GOOD, "negatives": None, "query_instruction": None, "document_instruction": None})
    assert row.negatives == ()
    assert row.query_instruction is None


def test_same_inputs_have_one_identity_and_others_do_not(picture: Path) -> None:
    array = np.zeros((4, 4, 3), np.uint8)
    same = [
        ("a", {"text": "a"}, ["a"]),
        (picture, {"image": str(picture)}, {"images": [picture]}),
        (array, array.copy(), [array]),
        (picture.read_bytes(), {"image": picture.read_bytes()}),
    ]
    for group in same:
        assert len({identity(value) for value in group}) == 1
    firsts = [identity(group[0]) for group in same]
    others = [identity(str(picture)), identity({"text": "a", "image": picture}), identity(array[:2])]
    assert len({*firsts, *others}) == len(firsts) + len(others)


def test_decoding_a_picture_does_not_make_it_another(picture: Path) -> None:
    for opened in (PIL.Image.open(picture), PIL.Image.open(io.BytesIO(picture.read_bytes()))):
        attributes = set(vars(opened))
        before = identity(opened)
        assert set(vars(opened)) == attributes
        opened.load()
        assert identity(opened) == before
    # By their bytes, and not by the address, where another picture may have been before.
    data = picture.read_bytes()
    passing = {identity(PIL.Image.open(io.BytesIO(data + bytes(i)))) for i in (0, 0, 1, 2)}
    assert len(passing) == 3


def test_skipping_logs_one_line_with_reasons(caplog: pytest.LogCaptureFixture) -> None:
    rows = [GOOD, {"document": "b"}, {"document": "b"}, {"query": "", "document": "b"}]
    with caplog.at_level(logging.WARNING):
        report = check_rows(rows, source="pets", on_error="skip")
    (record,) = caplog.records
    assert "pets: skipped 3 of 4 rows (2 without a query, 1 with an empty query)" in record.message
    assert "pets, row 1: the row has no query" in record.message
    assert report.total == 4


def test_no_row_left_is_an_error_even_when_skipping() -> None:
    with pytest.raises(InputError, match="no row is usable"):
        check_rows([{"document": "b"}], on_error="skip")
    with pytest.raises(InputError, match="there are no rows"):
        check_rows([], on_error="skip")


def test_a_wrong_policy_is_refused() -> None:
    with pytest.raises(InputError, match="on_error"):
        check_rows([GOOD], on_error="nan")  # type: ignore[arg-type]
