"""Clips that a sentence means (`vlm2vec.mmeb.loaders.moment_retrieval`), on copies of the public layouts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from video_layout import Rows, draw_frames, names

from vlm2vec.errors import InputError
from vlm2vec.mmeb.loaders import load
from vlm2vec.mmeb.tasks import get_task

MRET = Path("video-tasks", "frames", "video_mret")
FIND = "Find the clip that corresponds to the described scene in the given video:"
SHOWN = "Understand the content of the provided video."


def draw_video(root: Path, video: str, clips: list[str]) -> None:
    draw_frames(root / video / "query", 20)
    for clip in clips:
        draw_frames(root / video / clip, 8)
    (root / video / "meta.json").write_text("{}")


@pytest.mark.parametrize(
    ("task", "folder"),
    [("QVHighlight", "QVHighlight"), ("Charades-STA", "Charades-STA"), ("Charades-STA", "Charades_STA")],
)
def test_a_sentence_ranks_the_clips_of_its_video(tmp_path: Path, task: str, folder: str) -> None:
    root = tmp_path / MRET / folder
    draw_video(root, "AO8RW_60.0", ["positive_clip", "negative_1", "negative_0"])
    draw_video(root, "3MSZA", ["negative_0", "positive"])
    rows = [
        {"query": "a dog sits", "video_path": "videos/AO8RW_60.0.mp4"},
        {"query": "person opens a door.", "video_path": "3MSZA.mp4"},
        {"query": "a dog stands", "video_path": "AO8RW_60.0.mp4"},
    ]
    data = load(get_task(task), Rows(tmp_path, rows))

    assert [query.content.prompt for query in data.queries] == [
        f"<|video_pad|> {FIND} a dog sits",
        f"<|video_pad|> {FIND} person opens a door.",
        f"<|video_pad|> {FIND} a dog stands",
    ]
    first = data.queries[0].content
    assert (first.instruction, first.text) == (FIND, "a dog sits")
    assert names(first.frames) == [f"frame_{i}.png" for i in (1, 3, 6, 9, 11, 14, 17, 20)]
    assert {frame.parent for frame in first.frames} == {root / "AO8RW_60.0" / "query"}

    one = ("AO8RW_60.0/negative_0", "AO8RW_60.0/negative_1", "AO8RW_60.0/positive_clip")
    other = ("3MSZA/negative_0", "3MSZA/positive")
    assert [query.candidates for query in data.queries] == [one, other, one]
    assert [query.labels for query in data.queries] == [one[-1:], other[-1:], one[-1:]]
    assert list(data.candidates) == [*one, *other]
    clip = data.candidates["3MSZA/positive"]
    assert (clip.prompt, clip.instruction, clip.text) == (f"<|video_pad|> {SHOWN}", SHOWN, "")
    assert clip.frames == tuple(root / "3MSZA" / "positive" / f"frame_{i}.png" for i in range(1, 9))


def test_all_right_folders_count_and_with_compat_the_last(tmp_path: Path) -> None:
    draw_video(tmp_path / MRET / "QVHighlight", "v", ["positive_1", "positive_0", "negative"])
    rows = Rows(tmp_path, [{"query": "q", "video_path": "v.mp4"}])
    right = load(get_task("QVHighlight"), rows).queries[0].labels
    assert right == ("v/positive_0", "v/positive_1")
    assert load(get_task("QVHighlight"), rows, compat="v2.0").queries[0].labels == ("v/positive_1",)


def test_a_video_without_a_right_clip_is_an_error_or_has_that_of_the_row_before(tmp_path: Path) -> None:
    root = tmp_path / MRET / "QVHighlight"
    draw_video(root, "v", ["positive", "negative"])
    draw_video(root, "w", ["negative_0", "negative_1"])
    without = {"query": "q", "video_path": "w.mp4"}
    rows = Rows(tmp_path, [{"query": "q", "video_path": "v.mp4"}, without, without])
    with pytest.raises(InputError, match=r"^QVHighlight, row 1: none of its 2 clips is right"):
        load(get_task("QVHighlight"), rows)
    queries = load(get_task("QVHighlight"), rows, compat="v2.0").queries
    assert [query.labels for query in queries] == [("v/positive",)] * 3
    assert queries[2].candidates == ("w/negative_0", "w/negative_1")
    with pytest.raises(InputError, match=r"^QVHighlight, row 0: none of its 2 clips is right"):
        load(get_task("QVHighlight"), Rows(tmp_path, [without]), compat="v2.0")


@pytest.mark.parametrize("compat", [None, "v2.0"])
def test_of_a_missing_video_a_query_and_its_right_clip_are_missing(
    tmp_path: Path, compat: str | None
) -> None:
    root = tmp_path / MRET / "QVHighlight"
    draw_video(root, "v", ["positive"])
    rows = [{"query": "q", "video_path": "v.mp4"}, {"query": "q", "video_path": "w.mp4"}]
    data = load(get_task("QVHighlight"), Rows(tmp_path, rows), compat=compat)
    assert [query.labels for query in data.queries] == [("v/positive",), ("w/positive",)]
    assert data.queries[1].content.frames == (root / "w" / "query",)
    assert data.candidates["w/positive"].frames == (root / "w" / "positive",)


def moments(right: list[str], wrong: list[str], query: str, shown: str | None) -> dict[str, Any]:
    """A row of MomentSeeker."""
    return {
        "query": query,
        "positive_frames": [{"output_path": path} for path in right],
        "negative_frames": [{"output_path": path} for path in wrong],
        "input_frames": shown,
    }


@pytest.fixture
def seeker(tmp_path: Path) -> Path:
    """The folders of MomentSeeker's archive."""
    root = tmp_path / MRET / "MomentSeeker"
    for clip, saved in {"a_1": 8, "a_2": 11, "b_1": 3, "b_2": 8, "movie_7": 12}.items():
        draw_frames(root / "video_frames" / clip, saved)
    Image.new("RGB", (5, 5)).save(root / "query_cat_3.jpg")
    return root


ROWS = [
    moments(["a/1.mp4", "b/1.mp4"], ["a/2.mp4"], "the dog eats", ""),
    moments(["a/2.mp4"], ["b/2.mp4", "a/1.mp4"], "the same cat runs", "cat_3.jpg"),
    moments(["b/2.mp4"], ["b/1.mp4"], "then it rains", "movie/7.mp4"),
    moments(["b/1.mp4"], ["b/2.mp4"], "the dog eats", None),
]


def test_a_row_lists_clips_and_shows_nothing_a_picture_or_a_clip(tmp_path: Path, seeker: Path) -> None:
    data = load(get_task("MomentSeeker"), Rows(tmp_path, ROWS))
    by_text = "Find the clip that corresponds to the given text:"
    assert [query.content.prompt for query in data.queries] == [
        f"{by_text} the dog eats",
        "<|image_pad|> Select the video clip that aligns with the given text and image: the same cat runs",
        "<|video_pad|> Find the clip that corresponds to the given sentence and video segment: then it rains",
        f"{by_text} the dog eats",
    ]
    alone, pictured, filmed, _ = (query.content for query in data.queries)
    assert (alone.instruction, alone.text, alone.image, alone.frames) == (by_text, "the dog eats", None, ())
    assert (pictured.image, pictured.frames) == (seeker / "query_cat_3.jpg", ())
    assert (
        pictured.instruction == "Select the video clip that aligns with the given text and image:"
        and pictured.text == "the same cat runs"
    )
    assert filmed.instruction == "Find the clip that corresponds to the given sentence and video segment:"
    assert filmed.frames == tuple(
        seeker / "video_frames" / "movie_7" / f"frame_{i}.png" for i in range(1, 13)
    )

    a1, a2, b1, b2 = (f"video_frames/{clip}" for clip in ("a_1", "a_2", "b_1", "b_2"))
    assert [query.labels for query in data.queries] == [(a1, b1), (a2,), (b2,), (b1,)]
    assert [query.candidates for query in data.queries] == [(a1, b1, a2), (a2, b2, a1), (b2, b1), (b1, b2)]
    assert list(data.candidates) == [a1, a2, b1, b2]
    shown = "Understand the content of the provided video clip."
    assert {clip.prompt for clip in data.candidates.values()} == {f"<|video_pad|> {shown}"}
    # All saved frames are looked at, also where there are more than eight.
    assert [len(clip.frames) for clip in data.candidates.values()] == [8, 11, 3, 8]


def test_rows_that_say_the_same_twice_count_once_and_with_compat_twice(tmp_path: Path, seeker: Path) -> None:
    rows = Rows(tmp_path, [ROWS[0], ROWS[2], ROWS[0], moments(["a/1.mp4"], ["a/2.mp4"], "the dog eats", "")])
    once = load(get_task("MomentSeeker"), rows)
    assert [query.content.text for query in once.queries] == ["the dog eats", "then it rains", "the dog eats"]
    assert [len(query.labels) for query in once.queries] == [2, 1, 1]
    assert len(load(get_task("MomentSeeker"), rows, compat="v2.0").queries) == 4


def test_compat_reads_the_first_version_of_the_rows(tmp_path: Path, seeker: Path) -> None:
    asked = []

    class Recording(Rows):
        def rows(self, task: Any, table: str | None = None, **kwargs: Any) -> Any:
            asked.append(task.repo)
            return super().rows(task, table, **kwargs)

    for compat in (None, "v2.0"):
        load(get_task("MomentSeeker"), Recording(tmp_path, ROWS), compat=compat)
    assert asked == ["VLM2Vec/MomentSeeker", "VLM2Vec/MomentSeeker_1k8"]


def test_missing_clips_and_pictures_are_named_and_a_row_without_a_right_one_is_an_error(
    tmp_path: Path, seeker: Path
) -> None:
    task = get_task("MomentSeeker")
    data = load(task, Rows(tmp_path, [moments(["a/1.mp4"], ["c/1.mp4"], "q", "x.jpg")]))
    assert data.candidates["video_frames/c_1"].frames == (seeker / "video_frames" / "c_1",)
    assert data.queries[0].content.image == seeker / "query_x.jpg"
    with pytest.raises(InputError, match=r"^MomentSeeker, row 0: none of its 1 clips is right"):
        load(task, Rows(tmp_path, [moments([], ["a/1.mp4"], "q", "")]))
