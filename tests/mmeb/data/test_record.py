"""What is noted of unpacked clips: frames alone, of all archives, and nothing where nothing was unpacked."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from vlm2vec.errors import InputError
from vlm2vec.mmeb.data import check
from vlm2vec.mmeb.data.record import Record, count_frames, note_counts, noted_counts


def test_only_frames_count(tmp_path: Path) -> None:
    for name in ("1.png", "2.JPG", "._1.png", "Thumbs.db", "labels.txt"):
        (tmp_path / name).touch()
    (tmp_path / "3.png").mkdir()
    assert count_frames(tmp_path) == 2
    assert count_frames(tmp_path / "1.png") == count_frames(tmp_path / "nowhere") == 0


def test_notes_of_several_archives_add_up(tmp_path: Path) -> None:
    for clip, frames in (("a", 2), ("b/c", 1)):
        (tmp_path / clip).mkdir(parents=True)
        for number in range(frames):
            (tmp_path / clip / f"{number}.png").touch()
        note_counts(tmp_path, [tmp_path / clip])
    (tmp_path / "a" / "2.png").touch()
    assert noted_counts(tmp_path) == {"a": 2, "b/c": 1}
    note_counts(tmp_path, [tmp_path / "a"])
    assert noted_counts(tmp_path) == {"a": 3, "b/c": 1}


@pytest.mark.parametrize(
    "text",
    ["{", "[1]", '{"a": null}', '{"a": "many"}', '{"a": -1}', '{"a": 1.5}', '{"a": Infinity}', "[" * 100_000],
)
def test_a_note_that_is_broken_is_told(tmp_path: Path, text: str) -> None:
    assert noted_counts(tmp_path) == {}
    (tmp_path / "unpacked_frames.json").write_text(text)
    with pytest.raises(InputError, match="cannot be read"):
        noted_counts(tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        check("MSVD", data_dir=tmp_path)


DOWNLOADS: dict[str, Any] = {
    "repositories": {"a/b": {"commit": "0a", "files": {"x.zip": {"bytes": 3, "commit": "0a"}}}},
    "tasks": {"MVBench": {"a/b": "0a"}},
    "archives": {
        "x.zip": {"complete": True, "content": ["a"], "parts": ["x.zip"], "repo": "a/b", "commit": "0a"}
    },
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("repositories", []),
        ("repositories.a/b", "0a"),
        ("repositories.a/b.files", None),
        ("tasks.MVBench", 5),
        ("archives.x.zip", {}),
        ("archives.x.zip.complete", "no"),
        ("archives.x.zip.content", None),
        ("archives.x.zip.parts", ["../x.zip"]),
        ("archives.x.zip.parts", ["/x.zip"]),
    ],
)
def test_a_record_of_downloads_of_another_form_is_told(tmp_path: Path, path: str, value: Any) -> None:
    file = tmp_path / "downloads.json"
    file.write_text(json.dumps(DOWNLOADS), encoding="utf-8")
    assert Record.load(tmp_path).unpacked("x.zip", ["a"])
    place = found = copy.deepcopy(DOWNLOADS)
    *outer, last = path.replace("x.zip", "x zip").split(".")
    for key in outer:
        place = place[key.replace(" ", ".")]
    place[last.replace(" ", ".")] = value
    file.write_text(json.dumps(found), encoding="utf-8")
    with pytest.raises(InputError, match="the record of downloads cannot be read"):
        Record.load(tmp_path)


@pytest.mark.parametrize("name", ["a\x00b\x1b[2J", "long " * 1000])
def test_what_is_said_of_a_broken_record_is_short_and_printable(tmp_path: Path, name: str) -> None:
    (tmp_path / "downloads.json").write_text(json.dumps({**DOWNLOADS, name: 1}), encoding="utf-8")
    with pytest.raises(InputError, match="the record of downloads cannot be read") as caught:
        Record.load(tmp_path)
    assert caught.value.cause.isprintable()
    assert len(caught.value.cause) < 500
