"""What is noted of unpacked clips: frames alone, of all archives, and nothing where nothing was unpacked."""

from __future__ import annotations

from pathlib import Path

import pytest

from vlm2vec.errors import InputError
from vlm2vec.mmeb.data import check
from vlm2vec.mmeb.data.record import count_frames, note_counts, noted_counts


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


@pytest.mark.parametrize("text", ["{", "[1]", '{"a": null}', '{"a": "many"}'])
def test_a_note_that_is_broken_is_told(tmp_path: Path, text: str) -> None:
    assert noted_counts(tmp_path) == {}
    (tmp_path / "unpacked_frames.json").write_text(text)
    with pytest.raises(InputError, match="cannot be read"):
        noted_counts(tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        check("MSVD", data_dir=tmp_path)
