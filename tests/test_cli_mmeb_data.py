"""`vlm2vec mmeb download` and `check`: what they print, and their exit codes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from vlm2vec.cli import main
from vlm2vec.mmeb import data
from vlm2vec.mmeb.data import Completeness, TaskCompleteness
from vlm2vec.mmeb.mini import write_mini


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main(["mmeb", *arguments])
    printed = capsys.readouterr()
    return int(end.value.code or 0), printed.out, re.sub(r"[\s│]+", " ", printed.err)


def test_check_ends_with_1_when_a_file_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_mini(tmp_path, ["mini-I-CLS"], queries=80)
    code, printed, _ = run(capsys, "check", str(tmp_path), "-t", "mini-I-CLS")
    assert (code, "1 of 1 tasks are complete" in printed) == (0, True)
    picture = sorted((tmp_path / "image-tasks").rglob("*.png"))[0]
    picture.unlink()
    code, printed, _ = run(capsys, "check", str(tmp_path), "-t", "mini-I-CLS")
    assert code == 1
    assert str(picture) in printed


def test_check_of_no_folder_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, told = run(capsys, "check", str(tmp_path / "none"))
    assert code == 1
    assert "no such folder" in told


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ([], None),
        (["--revision", "main"], "main"),
        (["--revision", "a/b=c", "--revision", "d/e=f"], {"a/b": "c", "d/e": "f"}),
    ],
)
def test_download_passes_on_what_it_is_given_and_tells_the_plan(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    given: list[str],
    meant: object,
) -> None:
    asked: dict[str, Any] = {}

    def download(tasks: list[str], **settings: Any) -> Completeness:
        asked.update(settings, tasks=tasks)
        settings["report"]("to fetch: 12.0 GB")
        missing = (Path("a.png"),) if given else ()
        return Completeness(tmp_path, (TaskCompleteness("MSVD", 670, 670, 9, missing),))

    monkeypatch.setattr(data, "download", download)
    code, printed, told = run(capsys, "download", str(tmp_path), "-t", "MSVD", "--delete-archives", *given)
    assert code == (1 if given else 0)
    assert "MSVD: 670 queries, 9 files" in printed
    assert "to fetch: 12.0 GB" in told
    assert asked["revision"] == meant
    assert asked["tasks"] == ["MSVD"]
    assert (asked["delete_archives"], asked["media"], asked["force"]) == (True, True, False)
    assert run(capsys, "download", str(tmp_path), "--no-media", *given)[0] == 0
    assert asked["media"] is False


@pytest.mark.parametrize(
    ("arguments", "words", "ends"),
    [
        (["--revision", "main", "--revision", "a/b=c"], "several revisions", 1),
        (["-t", "mini"], "nothing to fetch", 1),
        (["--compat", "v1"], "--compat", 2),
    ],
)
def test_what_makes_no_sense_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str, ends: int
) -> None:
    code, _, told = run(capsys, "download", str(tmp_path / "data"), *arguments)
    assert code == ends
    assert words in told
    assert not (tmp_path / "data").exists()
