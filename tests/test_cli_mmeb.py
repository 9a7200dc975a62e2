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
    code, printed, told = run(*arguments)
    assert code == 0
    results = mmeb.Results.load("out")
    assert f"1 of 1, mini-I-CLS: hit@1 {results.scores['mini-I-CLS']:.2f}" in told
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
    code, _, told = run(*arguments, "--frames", "middle")
    assert code == 1
    assert "model.frames differ. Pass another output_dir (--output), or" in told
    assert "(--recompute) to replace it" in told
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

    monkeypatch.setattr("vlm2vec.cli.mmeb.load", lambda model, profile, device, limits: device)
    monkeypatch.setattr("vlm2vec.mmeb.evaluation.evaluate", evaluate)
    assert run("run", "-t", "mini", *(["--device", given] if given else []))[0] == 1
    assert asked == [(first, others)]


@pytest.mark.parametrize(
    ("given", "loaded", "settings"),
    [
        ([], "vlm2vec", {}),
        (["--prompts", "profile", "--frames", "all"], "vlm2vec", {"prompts": "profile", "frames": "all"}),
        (["--frames", "16"], "vlm2vec", {"frames": 16}),
        (
            ["a/colpali", "--multi-vector", "--frames", "first"],
            "a/colpali on cpu",
            {"name": "colpali", "frames": "first"},
        ),
    ],
)
def test_settings_of_the_model_are_passed_on(
    run: Run, monkeypatch: pytest.MonkeyPatch, given: list[str], loaded: str, settings: dict[str, str | int]
) -> None:
    asked: list[Any] = []

    def evaluate(model: str, _: Any, **arguments: Any) -> None:
        known = {"name", "prompts", "frames"} & set(arguments)
        asked.append((model, {name: arguments[name] for name in known}))
        raise InputError("that is enough")

    monkeypatch.setattr("vlm2vec.cli.mmeb.load", lambda model, profile, device, limits: "vlm2vec")
    monkeypatch.setattr("vlm2vec.cli.mmeb.load_multi_vector", lambda model, device: f"{model} on {device}")
    monkeypatch.setattr("vlm2vec.mmeb.evaluation.evaluate", evaluate)
    assert run("run", "-t", "mini", "--device", "cpu", *given)[0] == 1
    assert asked == [(loaded, settings)]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--multi-vector"], "It needs MODEL"),
        (["a/colpali", "--multi-vector", "--prompts", "profile"], "neither --profile, --prompts nor"),
        (["a/colpali", "--multi-vector", "--profile", "vlm2vec-v2"], "neither --profile, --prompts nor"),
        (["--frames", "last"], "--frames"),
        (["--frames", "0"], "--frames"),
        (["--frames", "first"], "first is for --multi-vector"),
        (["--prompts", "other"], "--prompts"),
        (["--compat", "v1"], "--compat"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_loaded(run: Run, given: list[str], words: str) -> None:
    code, _, told = run("run", "-t", "mini-I-CLS", *given)
    assert code == 2
    assert words in told


def test_a_profile_that_does_not_fit_is_warned_of(run: Run) -> None:
    Path("data").mkdir()
    arguments = ["-t", "MSVD", "--data", "data", "--offline", "--profile", "gme-qwen2vl", "--device", "cpu"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.filters", [])  # those of the tests make it an error
        told = run("run", *arguments)[2]
    assert "warning: " in told
    assert "follows the profile vlm2vec-embedded, and is loaded with gme-qwen2vl" in told


def test_a_wrong_task_is_told_with_the_closest(run: Run) -> None:
    code, _, told = run("run", "-t", "MSRVTT")
    assert code == 1
    assert "MSR-VTT" in told
    assert "`vlm2vec mmeb list`" in told


def test_a_url_is_a_served_model(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def evaluate(model: Any, *_: Any, **settings: Any) -> None:
        asked.append((model, settings))
        raise InputError("that is enough")

    monkeypatch.setattr("vlm2vec.mmeb.evaluation.evaluate", evaluate)
    monkeypatch.setenv("VLM2VEC_API_KEY", "secret")
    given = ["run", "http://127.0.0.1:1/v1", "--served-name", "some", "--shape", "vllm", "-t", "mini"]
    assert run(*given, "--frames", "middle")[0] == 1
    ((model, settings),) = asked
    assert (model.url, model.model, model.shape, model.frames) == (given[1], "some", "vllm", "middle")
    assert model.api_key == "secret"
    assert "frames" not in settings
    for wrong in (["--device", "cpu"], ["--profile", "vlm2vec-v2"], ["--max-image-pixels", "9"]):
        assert run(*given, *wrong)[0] == 2
    assert run("run", "--shape", "vllm", "-t", "mini")[0] == 2


def test_missing_data_are_told_with_the_folder(run: Run) -> None:
    Path("data").mkdir()
    code, _, told = run("run", "-t", "MSVD", "--data", "data", "--offline", "--device", "cpu")
    assert code == 1
    assert "video-tasks/frames/video_ret" in told
    assert "or check data_dir (--data)" in told
    assert "(--data DATA)" in run("run", "-t", "MSVD", "--offline", "--device", "cpu")[2]


def test_no_results_are_told_with_the_option(run: Run) -> None:
    Path("none").mkdir()
    code, _, told = run("report", "none")
    assert code == 1
    assert "output_dir (--output) of a run" in told


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


def test_what_is_neither_a_folder_nor_published_is_called_both(run: Run) -> None:
    code, _, told = run("compare", "GME-2B", "results/v2")
    assert code == 1
    told = " ".join(told.split())
    assert "there is no folder results/v2, and no scores were published for 'results/v2'." in told
