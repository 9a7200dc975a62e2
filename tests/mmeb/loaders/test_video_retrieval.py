"""Captions and videos (`vlm2vec.mmeb.loaders.video_retrieval`), on copies of the public layouts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from video_layout import Rows, draw_frames, names

from vlm2vec.errors import InputError
from vlm2vec.mmeb.loaders.video_retrieval import load
from vlm2vec.mmeb.tasks import get_task

# Task; its rows, the third about the video of the first; prompts without caption; the right video of each.
TASKS = [
    (
        "DiDeMo",
        [
            {"video": "test/9@N05_3.x.avi", "caption": "a dog. a cat."},
            {"video": "7@N01_4.mp4", "caption": "rain"},
            {"video": "9@N05_3.x.avi", "caption": "the dog sits"},
        ],
        "Find a video that includes the following described scenes:",
        ["9@N05_3.x", "7@N01_4", "9@N05_3.x"],
    ),
    (
        "MSR-VTT",
        [
            {"video_id": "video7020", "video": "video7020.mp4", "caption": "a dog. a cat."},
            {"video_id": "video7021", "video": "video7021.mp4", "caption": "rain"},
            {"video_id": "video7020", "video": "video7020.mp4", "caption": "the dog sits"},
        ],
        "Find a video that contains the following visual content:",
        ["video7020", "video7021", "video7020"],
    ),
    (
        "MSVD",
        [
            {"video_id": "k-9_1_12", "video": "k-9_1_12.avi", "caption": ["a dog. a cat.", "dogs"]},
            {"video_id": "mv8_3_5", "video": "mv8_3_5.avi", "caption": ["rain"]},
            {"video_id": "k-9_1_12", "video": "k-9_1_12.avi", "caption": ["the dog sits", "rain"]},
        ],
        "Find the video snippet that corresponds to the given summary:",
        ["k-9_1_12", "mv8_3_5", "k-9_1_12"],
    ),
    (
        "VATEX",
        [
            {"videoID": "Ptf_2_000053_000063", "enCap": ["a dog. a cat.", "dogs"]},
            {"videoID": "lsQ_000005_000015", "enCap": ["rain", "snow"]},
            {"videoID": "Ptf_2_000053_000063", "enCap": ["the dog sits"]},
        ],
        "Select a video that fits the description provided:",
        ["Ptf_2_000053_000063", "lsQ_000005_000015", "Ptf_2_000053_000063"],
    ),
    (
        "YouCook2",
        [
            {"id": "xHr_0", "video_path": "validation/101/xHr.mp4", "sentence": "a dog. a cat."},
            {"id": "xHr_1", "video_path": "validation/101/xHr.mp4", "sentence": "rain"},
            {"id": "xHr_0", "video_path": "validation/101/xHr.mp4", "sentence": "the dog sits"},
        ],
        "Find a video that demonstrates the following action while making a recipe:",
        ["xHr_0", "xHr_1", "xHr_0"],
    ),
]
ROOTS = {
    "as the archive unpacks": "video-tasks/frames/video_ret/data/ziyan/video_retrieval/{}/frames",
    "as the original expects": "video-tasks/frames/video_ret/{}",
}


@pytest.mark.parametrize("root", ROOTS.values(), ids=ROOTS)
@pytest.mark.parametrize(("task", "rows", "instruction", "videos"), TASKS, ids=[case[0] for case in TASKS])
def test_captions_look_for_the_videos_of_all_rows(
    tmp_path: Path, task: str, rows: list[dict[str, Any]], instruction: str, videos: list[str], root: str
) -> None:
    folder = tmp_path / root.format(task)
    draw_frames(folder / videos[0], 10)
    draw_frames(folder / videos[1], 5)  # fewer than eight, which the original cannot read
    data = load(get_task(task), Rows(tmp_path, rows))

    assert [query.content.prompt for query in data.queries] == [
        f"{instruction} a dog. a cat.",
        f"{instruction} rain",
        f"{instruction} the dog sits",
    ]
    assert [query.content.text for query in data.queries] == ["a dog. a cat.", "rain", "the dog sits"]
    assert {query.content.instruction for query in data.queries} == {instruction}
    assert [query.labels for query in data.queries] == [(video,) for video in videos]
    assert [query.candidates for query in data.queries] == [None] * 3

    assert list(data.candidates) == videos[:2]
    first, second = data.candidates.values()
    assert first.prompt == second.prompt == "<|video_pad|> Understand the content of the provided video."
    assert (first.instruction, first.text) == ("Understand the content of the provided video.", "")
    assert names(first.frames) == [f"frame_{i}.png" for i in (1, 2, 3, 4, 6, 7, 8, 10)]
    assert names(second.frames) == [f"frame_{i}.png" for i in range(1, 6)]
    assert {frame.parent for frame in first.frames} == {folder / videos[0]}


def test_of_a_missing_clip_the_folder_is_named_that_should_be_there(tmp_path: Path) -> None:
    folder = tmp_path / "video-tasks" / "frames" / "video_ret" / "MSR-VTT"
    draw_frames(folder / "video7020", 1)
    data = load(get_task("MSR-VTT"), Rows(tmp_path, TASKS[1][1]))
    assert data.candidates["video7021"].frames == (folder / "video7021",)


def test_a_row_without_captions_is_named(tmp_path: Path) -> None:
    draw_frames(tmp_path / "video-tasks" / "frames" / "video_ret" / "VATEX" / "a", 1)
    rows = [{"videoID": "a", "enCap": ["rain"]}, {"videoID": "a", "enCap": []}]
    with pytest.raises(InputError, match=r'^VATEX, row 1: there is no caption in the column "enCap"'):
        load(get_task("VATEX"), Rows(tmp_path, rows))
