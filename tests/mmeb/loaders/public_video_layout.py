"""Small copies of the video tasks in their public layouts, for the test that runs all tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from public_layout import SHARD, mirror, write_parquet
from video_layout import draw_frames

ROWS = 3


def write_video_task(folder: Path, task: Any) -> None:
    """Annotations as the hub's repository has them, and folders of frames as the archive unpacks."""
    root = folder / task.roots[0]
    rows = {
        "video_classification": _classified,
        "video_retrieval": _retrieved,
        "moment_retrieval": _moments,
        "multiple_choice": _questions,
    }[task.layout](root, task)
    for subset in task.options.get("subsets", [task.subset]):
        path = mirror(folder, task) / (subset or "data") / f"{task.split}-{SHARD}.parquet"
        own = [row for row in rows if row.get("subset", subset) == subset]
        write_parquet(path, [{name: value for name, value in row.items() if name != "subset"} for row in own])


def _classified(root: Path, task: Any) -> list[dict[str, Any]]:
    labels = [f"label_{number}" for number in range(ROWS)]
    if "candidates" not in task.options:
        root.mkdir(parents=True)
        (root / "labels.txt").write_text("\n".join([*labels, "a_fourth_label"]), encoding="utf-8")
    for number in range(ROWS):
        draw_frames(root / f"v{number}", 9, start=number)
    own = {"neg_text": labels[::-1]} if "candidates" in task.options else {}
    return [{"video_id": f"v{number}", "pos_text": label, **own} for number, label in enumerate(labels)]


def _retrieved(root: Path, task: Any) -> list[dict[str, Any]]:
    options = task.options
    rows = []
    for number in range(ROWS):
        draw_frames(root / f"v{number}", 3 + number, start=number)
        caption = f"caption {number}"
        name = f"clips/v{number}.mp4" if options.get("stem") else f"v{number}"
        rows.append(
            {
                options["video"]: name,
                options["caption"]: [caption, "another"] if options.get("caption_list") else caption,
            }
        )
    return rows


def _moments(root: Path, task: Any) -> list[dict[str, Any]]:
    if task.options["kind"] == "folders":
        for number in range(ROWS):
            for place, name in enumerate(("query", "negative_0", "positive_1", "negative_2")):
                draw_frames(root / f"v{number}" / name, 8, start=10 * number + place)
        return [{"query": f"scene {number}", "video_path": f"videos/v{number}.mp4"} for number in range(ROWS)]
    rows = []
    for number, shown in enumerate(("", "shown.jpg", "film.mp4")):
        for place, name in enumerate(("right", "wrong")):
            draw_frames(root / "video_frames" / f"{name}_{number}", 8, start=10 * number + place)
        rows.append(
            {
                "query": f"scene {number}",
                "input_frames": shown,
                "positive_frames": [{"output_path": f"right/{number}.mp4"}],
                "negative_frames": [{"output_path": f"wrong/{number}.mp4"}],
            }
        )
    draw_frames(root / "video_frames" / "film", 8, start=99)
    draw_frames(root, 1).joinpath("frame_1.png").rename(root / "query_shown.jpg")
    return rows


def _questions(root: Path, task: Any) -> list[dict[str, Any]]:
    options = task.options
    rows = []
    for number in range(20 if "subsets" in options else ROWS):
        texts = [f"{letter}. choice {letter} of {number}" for letter in "ABCDE"]
        if options["candidate"] != "{bare}":
            texts = [text[3:] for text in texts]
        right = number % 5 if options["answer_form"] != "text" else texts[number % 5]
        row: dict[str, Any] = {"question": f"question {number}"}
        if isinstance(options["choices"], str):
            row[options["choices"]] = texts
        elif isinstance(options["choices"], list):
            row.update(zip(options["choices"], texts, strict=True))
        else:
            right = options["choices"]["fixed"][number % 2]
        row[options["answer"]] = "ABCDE"[right] if options["answer_form"] == "letter" else right
        name = f"v{number}"
        for column in ("videoID", "video", "video_idx", "video_name"):
            if f"{{{column}}}" in options["folder"]:
                row[column] = name
        if "subsets" in options:
            row["subset"] = options["subsets"][number]
        draw_frames(root / options["folder"].format_map(row), 9, start=number)
        rows.append(row)
    return rows
