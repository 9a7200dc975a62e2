"""Questions about clips, with choices (`vlm2vec.mmeb.loaders.multiple_choice`), on the public layouts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from video_layout import Rows, draw_frames, names

from vlm2vec.errors import InputError
from vlm2vec.mmeb.loaders.multiple_choice import load
from vlm2vec.mmeb.samples import Content, TaskData
from vlm2vec.mmeb.tasks import get_task

VIDEO_QA = Path("video-tasks", "frames", "video_qa")
PROMPT = (
    "<|video_pad|> Given a video and a question, select the most accurate answer from the provided "
    "candidates. Return only the exact text of your chosen answer. Question:  "  # two spaces
)


def loaded(
    tmp_path: Path,
    task: str,
    rows: list[dict[str, Any]],
    clips: list[str],
    root: str = "",
    compat: str | None = None,
) -> TaskData:
    for i, clip in enumerate(clips):
        draw_frames(tmp_path / VIDEO_QA / (root or task) / clip, 3 + 7 * i)
    return load(get_task(task), Rows(tmp_path, rows), compat=compat)


def texts(data: TaskData) -> dict[Any, str]:
    """What candidates say; they say nothing else."""
    assert all(content == Content(content.prompt, content.prompt) for content in data.candidates.values())
    return {key: content.text for key, content in data.candidates.items()}


def test_mvbench_letters_choices_in_query_and_candidates(tmp_path: Path) -> None:
    rows = [
        {
            "table": "moving_count",
            "question": "How many balls move?",
            "video": "video_10009.mp4",
            "candidates": ["1", "3", "2 "],
            "answer": "3",
        },
        {
            "table": "episodic_reasoning",
            "question": "Why is Joey sad?",
            "video": "friends_s01/clip_00",
            "candidates": ["Hunger", "1", "Rain", "Work", "Love"],
            "answer": "Love",
        },
    ]
    data = loaded(
        tmp_path, "MVBench", rows, ["moving_count/video_10009.mp4", "episodic_reasoning/friends_s01/clip_00"]
    )
    # Subsets in the order of the task, not of the rows here.
    assert [query.content.prompt for query in data.queries] == [
        PROMPT + "Why is Joey sad?\nOptions:\n(A) Hunger\n(B) 1\n(C) Rain\n(D) Work\n(E) Love",
        PROMPT + "How many balls move?\nOptions:\n(A) 1\n(B) 3\n(C) 2",
    ]
    content = data.queries[0].content
    assert content.text == "Why is Joey sad?\nOptions:\n(A) Hunger\n(B) 1\n(C) Rain\n(D) Work\n(E) Love"
    assert content.instruction == PROMPT.removeprefix("<|video_pad|> ")[:-1]
    assert names(content.frames) == [f"frame_{i}.png" for i in (1, 2, 3, 4, 6, 7, 8, 10)]
    assert content.frames[0].parent == tmp_path / VIDEO_QA / "MVBench/episodic_reasoning/friends_s01/clip_00"
    assert len(data.queries[1].content.frames) == 3
    assert [query.candidates for query in data.queries] == [
        ("(A) Hunger", "(B) 1", "(C) Rain", "(D) Work", "(E) Love"),
        ("(A) 1", "(B) 3", "(C) 2 "),
    ]
    assert [query.labels for query in data.queries] == [("(E) Love",), ("(B) 3",)]
    pool = ["(A) Hunger", "(B) 1", "(C) Rain", "(D) Work", "(E) Love", "(A) 1", "(B) 3", "(C) 2 "]
    assert texts(data) == dict(zip(pool, pool, strict=True))


def test_equal_choices_are_all_right_and_with_compat_the_last(tmp_path: Path) -> None:
    row = {
        "table": "object_shuffle",
        "question": "Where?",
        "video": "v",
        "candidates": ["left", "right", "left"],
        "answer": "left",
    }
    data = loaded(tmp_path, "MVBench", [row], ["object_shuffle/v"])
    assert data.queries[0].labels == ("(A) left", "(C) left")
    data = loaded(tmp_path, "MVBench", [row], ["object_shuffle/v"], compat="v2.0")
    assert data.queries[0].labels == ("(C) left",)


VIDEO_MME = [
    {
        "question": "What does he eat?",
        "videoID": "fFjv93ACGo8",
        "options": ["A. Apples.", "B. A.C. Milan's cake...", "C. 12. 5", "D. Tea. With milk."],
        "answer": "C",
        "question_id": "001-1",
        "domain": "Knowledge",
        "sub_category": "Humanity & History",
    },
    {
        "question": "Who wins?",
        "videoID": "N1cdUjctpG8",
        "options": ["A. Nobody.", "B. Ann.", "C. 12. 5", "D. Bob."],
        "answer": "A",
        "question_id": "002-1",
        "domain": "Knowledge",
        "sub_category": "Humanity & History",
    },
]


def test_video_mme_takes_letter_and_dot_from_candidates(tmp_path: Path) -> None:
    data = loaded(tmp_path, "Video-MME", VIDEO_MME, ["fFjv93ACGo8", "N1cdUjctpG8"])
    assert [query.content.prompt for query in data.queries] == [
        PROMPT + "What does he eat?\nA. Apples.\nB. A.C. Milan's cake...\nC. 12. 5\nD. Tea. With milk.",
        PROMPT + "Who wins?\nA. Nobody.\nB. Ann.\nC. 12. 5\nD. Bob.",
    ]
    assert texts(data) == {
        "A. Apples.": "Apples",
        "B. A.C. Milan's cake...": "A.C. Milan's cake",
        "C. 12. 5": "12. 5",
        "D. Tea. With milk.": "Tea. With milk",
        "A. Nobody.": "Nobody",
        "B. Ann.": "Ann",
        "D. Bob.": "Bob",
    }
    assert [query.labels for query in data.queries] == [("C. 12. 5",), ("A. Nobody.",)]
    assert [query.candidates for query in data.queries] == [tuple(row["options"]) for row in VIDEO_MME]


def test_a_choice_without_letter_stays_whole_and_with_compat_its_last_character_stays(tmp_path: Path) -> None:
    choices = ["A. Red.", "B.Blue sky", "Green", "D. no"]
    rows = [{**VIDEO_MME[0], "options": choices, "answer": "B"}]
    data = loaded(tmp_path, "Video-MME", rows, ["fFjv93ACGo8"])
    assert list(texts(data).values()) == ["Red", "Blue sky", "Green", "no"]
    data = loaded(tmp_path, "Video-MME", rows, ["fFjv93ACGo8"], compat="v2.0")
    assert list(texts(data).values()) == ["Red", "y", "n", "no"]
    assert list(data.candidates) == choices
    assert data.queries[0].labels == ("B.Blue sky",)


def test_nextqa_letters_choices_in_the_query_alone(tmp_path: Path) -> None:
    same = {"qid": 6, "type": "CH"}
    rows = [
        {**same, "video": 4882821564, "question": "why did the boy clap", "answer": 3}
        | {"a0": "happy", "a1": "cold", "a2": "to wave", "a3": "music ends", "a4": "fun"},
        {**same, "video": 13884, "question": "what is red", "answer": 0}
        | {"a0": "cap", "a1": "cold", "a2": "ball", "a3": "cap", "a4": "car"},
    ]
    data = loaded(tmp_path, "NExTQA", rows, ["4882821564", "13884"])
    assert [query.content.prompt for query in data.queries] == [
        PROMPT + "why did the boy clap\nOptions:\n(A) happy\n(B) cold\n(C) to wave\n(D) music ends\n(E) fun",
        PROMPT + "what is red\nOptions:\n(A) cap\n(B) cold\n(C) ball\n(D) cap\n(E) car",
    ]
    assert [query.labels for query in data.queries] == [("music ends",), ("cap",)]
    assert [query.candidates for query in data.queries] == [
        ("happy", "cold", "to wave", "music ends", "fun"),
        ("cap", "cold", "ball", "cap", "car"),
    ]
    pool = ["happy", "cold", "to wave", "music ends", "fun", "cap", "ball", "car"]
    assert list(texts(data).items()) == [(text, text) for text in pool]


@pytest.mark.parametrize("root", ["egoschema", "EgoSchema"])
def test_egoschema_joins_question_and_choices_without_separator(tmp_path: Path, root: str) -> None:
    row = {
        "video_idx": "001934bb-81bd",
        "question": "What is C doing?",
        "answer": "1",
        "question_idx": "0",
        "option": ["A. C cooks.", "B. C is washing dishes.", "C. C sleeps.", "D. C reads.", "E. C plays."],
    }
    data = loaded(tmp_path, "EgoSchema", [row], ["001934bb-81bd"], root)
    assert data.queries[0].content.prompt == (
        PROMPT + "What is C doing?A. C cooks. B. C is washing dishes. C. C sleeps. D. C reads. E. C plays."
    )
    assert data.queries[0].labels == ("B. C is washing dishes.",)
    assert data.queries[0].candidates == tuple(row["option"])
    assert list(texts(data).values()) == ["C cooks", "C is washing dishes", "C sleeps", "C reads", "C plays"]


def test_activitynetqa_asks_for_yes_or_no(tmp_path: Path) -> None:
    rows = [
        {"video_name": "1QIUV7WYKXg", "question": "is the man old", "answer": "no", "question_id": "q_1"},
        {"video_name": "1QIUV7WYKXg", "question": "does it {rain}?", "answer": "yes", "question_id": "q_2"},
    ]
    data = loaded(tmp_path, "ActivityNetQA", rows, ["v_1QIUV7WYKXg"])
    assert [query.content.prompt for query in data.queries] == [
        PROMPT + "is the man old? (A) yes; (B) no.",
        PROMPT + "does it {rain}?? (A) yes; (B) no.",
    ]
    assert texts(data) == {"yes": "yes", "no": "no"}
    assert [query.labels for query in data.queries] == [("no",), ("yes",)]
    assert [query.candidates for query in data.queries] == [("yes", "no")] * 2


@pytest.mark.parametrize("answer", ["E", "c", "", "CD"])
def test_an_answer_that_is_no_choice_is_an_error_or_a_miss(tmp_path: Path, answer: str) -> None:
    rows = [VIDEO_MME[0], {**VIDEO_MME[0], "answer": answer}]
    with pytest.raises(
        InputError, match=rf"^Video-MME, row 1: its answer '{answer}' is none of its 4 choices"
    ):
        loaded(tmp_path, "Video-MME", rows, ["fFjv93ACGo8"])
    data = loaded(tmp_path, "Video-MME", rows, ["fFjv93ACGo8"], compat="v2.0")
    assert [query.labels for query in data.queries] == [("C. 12. 5",), ()]


def test_of_a_missing_clip_the_folder_is_named_that_should_be_there(tmp_path: Path) -> None:
    data = loaded(tmp_path, "Video-MME", VIDEO_MME, ["fFjv93ACGo8"])
    assert data.queries[1].content.frames == (tmp_path / VIDEO_QA / "Video-MME" / "N1cdUjctpG8",)
