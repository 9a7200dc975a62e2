"""Frames that are looked at, of those saved of a clip (`vlm2vec.mmeb.loaders.contents`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from video_layout import draw_frames, names

from vlm2vec.mmeb.loaders.contents import clip, saved_frames


@pytest.mark.parametrize("saved", [1, 7, 8, 9, 20, 64])
def test_eight_frames_are_spread_over_the_saved_ones_or_all_are_taken(tmp_path: Path, saved: int) -> None:
    folder = draw_frames(tmp_path / "clip", saved)
    chosen = np.linspace(0, saved - 1, 8, dtype=int) if saved >= 8 else range(saved)
    assert names(saved_frames(folder, 8)) == [f"frame_{i + 1}.png" for i in chosen]


def test_without_a_count_all_saved_frames_are_taken(tmp_path: Path) -> None:
    folder = draw_frames(tmp_path / "clip", 12)
    assert names(saved_frames(folder, None)) == [f"frame_{i}.png" for i in range(1, 13)]


def test_a_folder_that_is_missing_or_holds_no_pictures_stands_for_the_frames(tmp_path: Path) -> None:
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / "notes.txt").write_text("no frame")
    for folder in (tmp_path / "gone", tmp_path / "clip"):
        assert saved_frames(folder, 8) == (folder,)


def test_a_prompt_has_one_space_between_token_instruction_and_text() -> None:
    assert clip((), "Look:").prompt == "<|video_pad|> Look:"
    content = clip((Path("a.png"),), "Look: ", "at this")
    assert content.prompt == "<|video_pad|> Look:  at this"
    assert (content.instruction, content.text, content.frames) == ("Look: ", "at this", (Path("a.png"),))
