"""Clips and labels (`vlm2vec.mmeb.loaders.video_classification`), on copies of the public layouts."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from video_layout import Rows, draw_frames, names

from vlm2vec.errors import InputError, VLM2VecWarning
from vlm2vec.mmeb.loaders.video_classification import load
from vlm2vec.mmeb.samples import Content
from vlm2vec.mmeb.tasks import get_task

# Task, labels of the three rows, the data set's labels in part, and the pool that follows from them.
GLOBAL = [
    (
        "K700",
        "<|video_pad|> Recognize the category of the video content.",
        ["waiting_in_line", "tasting_beer", "waiting_in_line"],
        ["fly_tying", "tasting_beer", "hugging_(not_baby)"],
        ["waiting_in_line", "tasting_beer", "fly_tying", "hugging_(not_baby)"],
    ),
    (
        "HMDB51",
        "<|video_pad|> What actions or objects interactions are the person in the video doing?",
        ["ride_bike", "ride_bike", "chew"],
        ["brush_hair", "chew", "ride_bike"],
        ["ride_bike", "chew", "brush_hair"],
    ),
    (
        "UCF101",
        "<|video_pad|> What activities or sports are being performed by the person in the video?",
        ["Kayaking", "YoYo", "Kayaking"],
        ["ApplyEyeMakeup", "YoYo"],
        ["Kayaking", "YoYo", "ApplyEyeMakeup"],
    ),
    (
        "Breakfast",
        "<|video_pad|> Recognize the breakfast type that the person is cooking in the video. ",
        ["scrambledegg", "pancake", "tea"],
        ["pancake", "cereal", "scrambledegg", "tea"],
        ["scrambledegg", "pancake", "tea", "cereal"],
    ),
]


def folder_of(tmp_path: Path, task: str, saved: tuple[int, ...], labels: list[str] | None = None) -> Path:
    """The layout of the archive: a folder of frames for each of the clips clip_0, clip_1, ..."""
    folder = {"SmthSmthV2": "SSv2"}.get(task, task)
    root = tmp_path / "video-tasks" / "frames" / "video_cls" / folder
    for i, count in enumerate(saved):
        draw_frames(root / f"clip_{i}", count)
    if labels is not None:
        (root / "labels.txt").write_text("\n".join(labels) + "\n")
    return root


@pytest.mark.parametrize(("task", "prompt", "labels", "all_labels", "pool"), GLOBAL)
def test_a_global_task_pools_labels_of_rows_then_the_others(
    tmp_path: Path, task: str, prompt: str, labels: list[str], all_labels: list[str], pool: list[str]
) -> None:
    root = folder_of(tmp_path, task, (3, 8, 17), all_labels)
    rows = [{"video_id": f"clip_{i}", "pos_text": label} for i, label in enumerate(labels)]
    data = load(get_task(task), Rows(tmp_path, rows))
    assert list(data.candidates.items()) == [(label, Content(label, text=label)) for label in pool]
    assert [query.labels for query in data.queries] == [(label,) for label in labels]
    assert [query.candidates for query in data.queries] == [None, None, None]
    assert [query.content.prompt for query in data.queries] == [prompt] * 3
    assert {query.content.instruction for query in data.queries} == {prompt.removeprefix("<|video_pad|> ")}
    assert {query.content.text for query in data.queries} == {""}
    short, whole, long = (query.content.frames for query in data.queries)
    assert names(short) == ["frame_1.png", "frame_2.png", "frame_3.png"]
    assert names(whole) == [f"frame_{i}.png" for i in range(1, 9)]
    assert names(long) == [f"frame_{i}.png" for i in (1, 3, 5, 7, 10, 12, 14, 17)]
    assert {frame.parent for frame in long} == {root / "clip_2"}


SSV2_ROWS = [
    {
        "video_id": "clip_0",
        "pos_text": "holding pen",
        "neg_text": ["closing box", "holding pen", "tearing box"],
    },
    {
        "video_id": "clip_1",
        "pos_text": "tearing box",
        "neg_text": ["tearing box", "holding cup", "closing box"],
    },
]


def test_a_local_task_ranks_what_its_row_lists(tmp_path: Path) -> None:
    folder_of(tmp_path, "SmthSmthV2", (2, 2))
    data = load(get_task("SmthSmthV2"), Rows(tmp_path, SSV2_ROWS))
    assert list(data.candidates) == ["closing box", "holding pen", "tearing box", "holding cup"]
    assert [query.candidates for query in data.queries] == [
        ("closing box", "holding pen", "tearing box"),
        ("tearing box", "holding cup", "closing box"),
    ]
    assert [query.labels for query in data.queries] == [("holding pen",), ("tearing box",)]
    assert data.queries[0].content.prompt == (
        "<|video_pad|> What actions or object interactions are being performed by the person in the video?"
    )


def test_a_label_that_its_row_does_not_list_is_an_error_or_a_miss(tmp_path: Path) -> None:
    folder_of(tmp_path, "SmthSmthV2", (2, 2))
    rows = Rows(tmp_path, [SSV2_ROWS[0], {**SSV2_ROWS[1], "pos_text": "lifting box"}])
    with pytest.raises(InputError, match=r'^SmthSmthV2, row 1: its label "lifting box" is not among the 3 '):
        load(get_task("SmthSmthV2"), rows)
    data = load(get_task("SmthSmthV2"), rows, compat="v2.0")
    assert data.queries[1].labels == ("lifting box",)
    assert "lifting box" not in data.candidates


def test_labels_may_stand_in_the_task(tmp_path: Path) -> None:
    folder_of(tmp_path, "Breakfast", (1,))
    task = dataclasses.replace(
        get_task("Breakfast"), options={**get_task("Breakfast").options, "labels": ["tea"]}
    )
    data = load(task, Rows(tmp_path, [{"video_id": "clip_0", "pos_text": "milk"}]))
    assert list(data.candidates) == ["milk", "tea"]


def test_a_missing_list_of_labels_is_told_where_it_matters(tmp_path: Path) -> None:
    root = folder_of(tmp_path, "UCF101", (1,))
    rows = Rows(tmp_path, [{"video_id": "clip_0", "pos_text": "YoYo"}])
    with pytest.warns(
        VLM2VecWarning,
        match=rf"UCF101: there is no file {root / 'labels.txt'}, .* of its 101 labels only the 1 of",
    ):
        data = load(get_task("UCF101"), rows)
    assert list(data.candidates) == ["YoYo"]
    # Nothing is lost where the rows have all labels: no warning, which would be an error here.
    data = load(dataclasses.replace(get_task("UCF101"), candidates=1), rows)
    assert list(data.candidates) == ["YoYo"]


def test_the_labels_of_kinetics_are_in_the_package(tmp_path: Path) -> None:
    folder_of(tmp_path, "K700", (1,))
    data = load(get_task("K700"), Rows(tmp_path, [{"video_id": "clip_0", "pos_text": "tasting_beer"}]))
    assert len(data.candidates) == 700
    assert list(data.candidates)[:2] == ["tasting_beer", "abseiling"]


def test_of_a_missing_clip_the_folder_is_named_that_should_be_there(tmp_path: Path) -> None:
    root = folder_of(tmp_path, "K700", (1,), ["yoga"])
    rows = [{"video_id": f"clip_{i}", "pos_text": "yoga"} for i in range(2)]
    data = load(get_task("K700"), Rows(tmp_path, rows))
    assert data.queries[1].content.frames == (root / "clip_1",)
