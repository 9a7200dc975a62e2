"""`vlm2vec mmeb`: what it prints, what it writes, and its exit codes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from vlm2vec import mmeb
from vlm2vec.cli import main
from vlm2vec.errors import InputError

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main(["mmeb", *arguments])
        printed = capsys.readouterr()
        return int(end.value.code or 0), printed.out, re.sub(r"[\s│]+", " ", printed.err)

    return run


def test_a_run_prints_scores_and_keeps_them(run: Run) -> None:
    arguments = ["run", "-t", "mini-I-CLS", "-o", "out", "--device", "cpu"]
    code, printed, _ = run(*arguments)
    assert code == 0
    results = mmeb.Results.load("out")
    assert results.model == "embedded"
    assert f"{results.scores['mini-I-CLS']:.2f}" in printed
    before = (Path("out") / "tasks" / "mini-I-CLS.json").stat().st_mtime_ns
    assert run(*arguments)[1] == printed
    assert (Path("out") / "tasks" / "mini-I-CLS.json").stat().st_mtime_ns == before
    code, _, told = run(*arguments, "--submission", "sent.json")
    assert code == 1
    assert "no tasks of the leaderboard" in told
    code, printed, _ = run("compare", "out", "out")
    assert code == 0
    assert re.search(
        r"embedded against embedded: 1 of 9 tasks(?s:.*)overall +1/9 +[\d.]+ +[\d.]+ +\+0\.00", printed
    )
    for sides in (("out", "GME-2B"), ("GME-2B", "out")):
        code, _, told = run("compare", *sides)
        assert code == 1
        assert "published scores are of the 78 tasks, these are of the mini suite" in told


@pytest.mark.parametrize(
    ("given", "first", "others"),
    [("cpu,meta", "cpu", ["cpu", "meta"]), ("cpu,", "cpu", ()), (",", None, ()), (None, None, ())],
)
def test_several_devices_share_the_work(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    given: str | None,
    first: str | None,
    others: Sequence[str],
) -> None:
    asked: list[Any] = []

    def evaluate(model: str | None, tasks: Any, *, devices: Sequence[str], **_: Any) -> None:
        asked.append((model, devices))
        raise InputError("that is enough")

    monkeypatch.setattr("vlm2vec.cli.mmeb.load", lambda model, profile, device: device)
    monkeypatch.setattr("vlm2vec.mmeb.evaluation.evaluate", evaluate)
    assert run("run", "-t", "mini", *(["--device", given] if given else []))[0] == 1
    assert asked == [(first, others)]


def test_a_wrong_task_is_told_with_the_closest(run: Run) -> None:
    code, _, told = run("run", "-t", "MSRVTT")
    assert code == 1
    assert "MSR-VTT" in told


def test_missing_data_are_told_with_the_folder(run: Run) -> None:
    Path("data").mkdir()
    code, _, told = run("run", "-t", "MSVD", "--data", "data", "--offline", "--device", "cpu")
    assert code == 1
    assert "video-tasks/frames/video_ret" in told


def test_the_list_has_all_tasks(run: Run) -> None:
    lines = run("list")[1].splitlines()
    assert [line.split()[0] for line in lines] == [task.name for task in mmeb.list_tasks()]
    assert len(run("list", "-t", "I-VG", "-t", "mini-VD")[1].splitlines()) == 5


def test_published_scores_are_compared(run: Run) -> None:
    code, printed, _ = run("compare", "VLM2Vec-V2.0", "GME-2B", "--version", "table6")
    assert code == 0
    assert re.search(r"overall +78 +58\.06 +54\.12 +\+3\.94", printed)
    disagreements = run("compare", "--published")[1]
    assert "VLM2Vec-V2.0, ScienceQA: 38.5 in Table 6, 38.20 in v2.0.0" in disagreements
    assert all(name in disagreements for name in mmeb.published_names())
    assert run("compare", "GME-2B")[0] == 1
