"""`Results`: means, intervals, comparison, the leaderboard's file and pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vlm2vec import mmeb
from vlm2vec.errors import InputError
from vlm2vec.mmeb.results import Results
from vlm2vec.mmeb.task_result import Failure, StaleResultError, TaskResult


def result(
    task: mmeb.Task, percentage: float, *, queries: int = 200, compat: str | None = None, model: str = "a"
) -> TaskResult:
    hits = round(queries * percentage / 100)
    return TaskResult(
        task=task.name,
        model="a model",
        metric=task.metric,
        scores={task.metric: hits / queries, "mrr@10": 0.5},
        per_query=(1.0,) * hits + (0.0,) * (queries - hits),
        top=((),) * queries,
        candidates=10,
        expected_queries=task.queries,
        seconds=1.0,
        made_of={"compat": compat, "model": model},
    )


@pytest.fixture(scope="module")
def results() -> Results:
    return Results(
        "a model", tuple(result(task, 50 if task.modality == "image" else 20) for task in mmeb.list_tasks())
    )


def test_means_are_over_tasks(results: Results) -> None:
    summary = results.summary()
    assert (summary["image"], summary["video"], summary["visdoc"]) == (50, 20, 20)
    assert summary["overall"] == pytest.approx((36 * 50 + 42 * 20) / 78)
    assert "mean of 36 tasks" in str(results)


def test_a_part_of_the_tasks_says_so() -> None:
    some = Results("a model", (result(mmeb.get_task("MSVD"), 40),))
    assert "mean of 1 of 18 tasks" in str(some)
    assert some.summary()["overall"] == 40


def test_the_columns_of_the_table_stand_below_each_other() -> None:
    some = Results("a model", (result(mmeb.get_task("mini-VD"), 40),))
    lines = [line for line in str(some).splitlines()[1:] if line]
    assert len({line.index(" 40.00  ") for line in lines}) == 1


def test_intervals_hold_the_means_and_shrink_with_more_tasks(results: Results) -> None:
    intervals = results.intervals()
    one, mean = intervals["MSVD"], intervals["video"]
    assert one.low < one.mean == 20 < one.high
    assert one.high - one.low == pytest.approx(2 * 1.96 * np.sqrt(20 * 80 / 200), rel=0.15)
    assert mean.high - mean.low == pytest.approx((one.high - one.low) / np.sqrt(18), rel=0.15)


def test_they_are_compared_on_the_data_they_were_measured_on(results: Results) -> None:
    assert not results.compare("VLM2Vec-V2.0").left_out
    old = Results("a model", tuple(result(task, 50, compat="v2.0") for task in mmeb.list_tasks()))
    assert "ViDoSeek-page" in old.compare("VLM2Vec-V2.0").left_out


def test_two_runs_of_the_mini_suite_are_compared_with_each_other() -> None:
    tasks = mmeb.list_tasks("mini")
    better, worse = (
        Results(name, tuple(result(task, score + place % 3) for place, task in enumerate(tasks)))
        for name, score in (("better", 60), ("worse", 50))
    )
    found = better.compare(worse)
    assert found.means["overall"].difference == pytest.approx(10) and not found.left_out
    assert "better" in str(found) and "worse" in str(found)
    with pytest.raises(InputError, match="mini suite"):
        better.compare("VLM2Vec-V2.0")
    with pytest.raises(InputError, match="with compat"):
        better.compare(Results("other", tuple(result(task, 50, compat="v2.0") for task in tasks)))


def named(name: str, *tasks: str, compat: str | None = None) -> Results:
    chosen = mmeb.list_tasks(list(tasks) or "all")
    return Results(name, tuple(result(task, 50, compat=compat) for task in chosen))


def test_published_scores_of_the_model_itself_stand_beside() -> None:
    some = named("gme-Qwen2-VL-2B-Instruct", "K700", "MSVD")
    table = str(some)
    expected = mmeb.published("GME-2B").scores
    assert f"K700      50.00  hit@1, 200 of 1,000 queries, published {expected['K700']:.2f}" in table
    mean = (expected["K700"] + expected["MSVD"]) / 2
    assert f"mean of 2 of 18 tasks, published {mean:.2f}" in table
    assert "published: GME-2B (newest), " in table
    assert some.compare().second == "GME-2B (newest)"
    old = named("GME-2B", "ViDoSeek-page", compat="v2.0")
    assert old.own is not None
    assert old.own.tasks["ViDoSeek-page"] == mmeb.published("GME-2B", "v2.0.0").scores["ViDoSeek-page"]


def test_published_averages_stand_beside_where_all_their_tasks_were_scored() -> None:
    whole = str(named("Qwen3-VL-Embedding-2B"))
    assert "mean of 36 tasks, published 75.00" in whole
    assert "mean of 78 tasks, published 73.20" in whole
    some = str(named("Qwen3-VL-Embedding-2B", "V-MR", "K700"))
    assert "mean of 3 tasks, published 53.30" in some
    assert some.count("published ") == 1
    assert named("Qwen3-VL-Embedding-2B", compat="v2.0").own is None  # they are on fixed labels
    with pytest.raises(InputError, match="no scores of single tasks"):
        named("Qwen3-VL-Embedding-2B").compare()


def test_nothing_stands_beside_a_model_that_was_not_published() -> None:
    assert named("mine").own is None
    assert named("GME-2B", "mini").own is None
    assert "published" not in str(named("mine"))
    with pytest.raises(InputError, match="no scores were published for 'mine'"):
        named("mine").compare()


def test_a_picture_of_another_kind_or_beside_what_was_never_scored_is_refused(tmp_path: Path) -> None:
    mini = Results("a model", tuple(result(task, 50) for task in mmeb.list_tasks("mini")))
    with pytest.raises(InputError, match="no kind of picture 'bars'"):
        mini.plot(tmp_path / "bars.png", kind="bars")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"VLM2Vec-V2\.0: nothing was published"):
        mini.plot(tmp_path / "bars.png", against=["VLM2Vec-V2.0"])


def test_a_file_for_the_leaderboard_has_all_tasks(results: Results, tmp_path: Path) -> None:
    results.save(tmp_path / "sent.json", model_size="2B")
    sent = json.loads((tmp_path / "sent.json").read_text(encoding="utf-8"))
    assert sent["metadata"]["model_size"] == "2B"
    assert sent["metrics"]["image"]["ImageNet-1K"] == {
        "hit@1": 0.5,
        "mrr@10": 0.5,
        "num_pred": 200,
        "num_data": 200,
    }
    assert "MMLongBench-page-fixed" in sent["metrics"]["visdoc"]
    assert "MMLongBench-page" not in sent["metrics"]["visdoc"]
    with pytest.raises(InputError, match="colour"):
        results.save(tmp_path / "sent.json", colour="red")


def test_a_result_comes_back_from_its_file(tmp_path: Path) -> None:
    kept = result(mmeb.get_task("MSVD"), 40)
    failed = TaskResult(**{**vars(kept), "failures": (Failure("query", "3", "it is broken"),)})
    failed.save(tmp_path / "tasks" / "MSVD.json")
    assert TaskResult.load(tmp_path / "tasks" / "MSVD.json") == failed
    (tmp_path / "tasks" / "MSVD.json").write_text("{", encoding="utf-8")
    assert TaskResult.load(tmp_path / "tasks" / "MSVD.json") is None
    with pytest.raises(InputError, match="there are no results"):
        Results.load(tmp_path)


def test_results_of_two_models_are_not_taken_for_one(tmp_path: Path) -> None:
    for name, model in (("MSVD", "a"), ("VATEX", "a"), ("DiDeMo", "b")):
        result(mmeb.get_task(name), 40, model=model).save(tmp_path / "tasks" / f"{name}.json")
    with pytest.raises(StaleResultError, match="different models"):
        Results.load(tmp_path)
    (tmp_path / "tasks" / "DiDeMo.json").unlink()
    loaded = Results.load(tmp_path)
    assert [one.task for one in loaded.tasks] == ["MSVD", "VATEX"]
    assert loaded.model == "a model"


def test_the_original_s_mistakes_are_told_and_not_submitted(tmp_path: Path) -> None:
    old = Results("a model", (result(mmeb.get_task("MSVD"), 40, compat="v2.0"),))
    assert "compat=v2.0" in str(old)
    with pytest.raises(InputError, match="Evaluate without compat"):
        old.save(tmp_path / "sent.json")
    with pytest.raises(InputError, match="no tasks of the leaderboard"):
        Results("a model", (result(mmeb.get_task("mini-VD"), 40),)).save(tmp_path / "sent.json")


@pytest.mark.parametrize("kind", ["averages", "tasks"])
def test_they_are_drawn_beside_published_ones(results: Results, tmp_path: Path, kind: str) -> None:
    pytest.importorskip("matplotlib", exc_type=ImportError)
    import matplotlib as mpl

    with mpl.rc_context({"svg.fonttype": "none"}):
        results.plot(tmp_path / "drawn.svg", against=["GME-2B"], kind=kind)  # type: ignore[arg-type]
    drawn = (tmp_path / "drawn.svg").read_text(encoding="utf-8")
    assert "GME-2B (newest)" in drawn
    assert ("V-RET" if kind == "averages" else "MSR-VTT") in drawn


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("scores", {"hit@1": "0.5"}),
        ("scores", {"hit@1": float("nan")}),
        ("scores", {"hit@1": 7.5}),
        ("scores", {"mrr@10": 0.5}),
        ("per_query", ["1", 0]),
        ("per_query", [None, 1]),
        ("top", [[{}], []]),
        ("candidates", -1),
        ("expected_queries", "many"),
        ("seconds", None),
        ("made_of", []),
        ("made_of", {"model": "a", "compat": []}),
        ("settings", {"batch": 5}),
        ("settings", "none"),
        ("model", None),
        ("model", "\ud800"),
        ("seconds", 10**400),
        ("per_query", [10**400]),
        ("metric", ["hit@1"]),
        ("failures", [{"role": 1, "which": "3", "error": "it is broken"}]),
    ],
)
def test_a_result_of_another_form_is_none(tmp_path: Path, name: str, value: object) -> None:
    file = tmp_path / "tasks" / "MSVD.json"
    result(mmeb.get_task("MSVD"), 40).save(file)
    content = json.loads(file.read_text(encoding="utf-8"))
    assert TaskResult.load(file) is not None
    file.write_text(json.dumps({**content, name: value}), encoding="utf-8")
    assert TaskResult.load(file) is None
