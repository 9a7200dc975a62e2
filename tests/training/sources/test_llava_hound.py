"""LLaVA-Hound: JSON lines and folders of frames, in three tasks, through to prompts."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import layout_making as making
import pytest

from vlm2vec.errors import InputError
from vlm2vec.inputs import Clip, parse_input
from vlm2vec.training.data.mixture import Mixture
from vlm2vec.training.data.rows import check_rows
from vlm2vec.training.sources import get

CAPTIONS = [
    ("v_--0edUL8zmA-Scene-001", "<video>\nWrite an in-depth depiction of the video.", "A court with lines."),
    ("v_2", "Describe this:\n<video>", "Braces {like these} stay."),
]
QUESTIONS = [("v_3", "<video>\nHow many balls?", "Four.")]
FILES = {"caption": "video_caption_300k.jsonl", "qa": "video_240k_caption_15k.jsonl"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    making.llava_hound(tmp_path, FILES["caption"], CAPTIONS)
    # As it is published: questions, and captions behind them.
    making.llava_hound(tmp_path, FILES["qa"], [*QUESTIONS, *CAPTIONS])
    return tmp_path


def rows_of(root: Path, task: str, limit: int | None = None, **options: str) -> Any:
    loader = get(f"llava-hound-{task}")
    defaults = {name: value for name, value in loader.options.items() if value is not None}
    return loader.open(root, {**defaults, **options}, limit)


def test_video_to_caption(root: Path) -> None:
    rows = rows_of(root, "video-to-caption")
    assert list(rows) == [
        {
            "query": {
                "prompt": "<|video_pad|>\nWrite an in-depth depiction of the video.",
                "video": root / "train_300k" / "v_--0edUL8zmA-Scene-001",
            },
            "document": {"prompt": "A court with lines."},
        },
        {
            "query": {"prompt": "Describe this:\n<|video_pad|>", "video": root / "train_300k" / "v_2"},
            "document": {"prompt": "Braces {like these} stay."},
        },
    ]


def test_caption_to_video(root: Path) -> None:
    row = rows_of(root, "caption-to-video")[0]
    assert row == {
        "query": {"prompt": "Find a video that contains the following visual content: A court with lines."},
        "document": {
            "prompt": "Understand the content of the provided video: <|video_pad|>",
            "video": root / "train_300k" / "v_--0edUL8zmA-Scene-001",
        },
    }


def test_questions_and_the_captions_that_the_released_training_took_for_questions(root: Path) -> None:
    everything = rows_of(root, "qa")
    assert [row["query"]["prompt"] for row in everything] == [
        "Answer a question based on the content of a video. <|video_pad|>\nHow many balls?",
        "Answer a question based on the content of a video. "
        "<|video_pad|>\nWrite an in-depth depiction of the video.",
        "Answer a question based on the content of a video. Describe this:\n<|video_pad|>",
    ]
    assert everything[0]["document"] == {"prompt": "Four."}
    assert len(rows_of(root, "qa", limit=1)) == 1


def test_rows_parse_to_clips_with_the_number_of_frames_of_the_source(root: Path) -> None:
    (root / "mix.yaml").write_text(
        "sources: {clips: {loader: llava-hound-video-to-caption, num_frames: 8, cap: 1}}", encoding="utf-8"
    )
    mixture = pickle.loads(pickle.dumps(Mixture.from_yaml(root / "mix.yaml").checked(open_files=True)))  # noqa: S301
    item = parse_input(mixture[0, 0]["query"])
    (clip,) = item.parts
    assert isinstance(clip, Clip)
    assert clip.num_frames == 8
    assert mixture.sizes == [1]


def test_a_missing_folder_of_frames_is_a_bad_row(root: Path) -> None:
    folder = root / "train_300k" / "v_2"
    for frame in folder.iterdir():
        frame.unlink()
    report = check_rows(rows_of(root, "caption-to-video"), on_error="skip")  # empty, then gone
    assert (list(report.kept), report.skipped) == ([0], {"with a missing or broken file": 1})
    folder.rmdir()
    report = check_rows(rows_of(root, "caption-to-video"), on_error="skip")
    assert (list(report.kept), report.skipped) == ([0], {"with a missing or broken file": 1})


def test_a_question_that_does_not_show_its_clip_is_a_bad_row(tmp_path: Path) -> None:
    making.llava_hound(tmp_path, FILES["qa"], [("v_1", "<video>\nWhy?", "So."), ("v_1", "Why?", "So.")])
    with pytest.raises(InputError, match=r"train, row 1: query.*no placeholder"):
        check_rows(rows_of(tmp_path, "qa"))


def test_records_of_another_form_are_named(root: Path) -> None:
    path = root / "other.jsonl"
    path.write_text('{"id": "x1", "video": "v_2", "conversations": [{"value": "a"}]}\n{"id": "x2"}\n')
    rows = rows_of(root, "qa", file="other.jsonl")
    for i, name in enumerate(("x1", "x2")):
        with pytest.raises(InputError, match=f"record '{name}' has no video and conversation"):
            rows[i]


def test_missing_frames_and_annotations_are_found_at_once(root: Path) -> None:
    with pytest.raises(InputError, match=r"folder of frames .*elsewhere does not exist"):
        rows_of(root, "qa", media="elsewhere")
    with pytest.raises(InputError, match=r"gone.jsonl does not exist"):
        rows_of(root, "qa", file="gone.jsonl")
