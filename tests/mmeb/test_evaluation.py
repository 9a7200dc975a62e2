"""`evaluate`: scores, resume, refusal of what is stale, and samples that fail."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest

from vlm2vec import VLM2Vec, mmeb
from vlm2vec.errors import InputError, MediaError
from vlm2vec.mmeb.evaluation import evaluate
from vlm2vec.mmeb.loaders import DataFolder, load
from vlm2vec.mmeb.mini import write_mini
from vlm2vec.mmeb.samples import Content
from vlm2vec.mmeb.task_result import StaleResultError, TaskResult

TASKS = ["mini-I-CLS", "mini-V-MR", "mini-VD"]


def by_chance(contents: Sequence[Content], role: str) -> np.ndarray:
    """Vectors that have nothing to do with the samples."""
    seed = sum(len(content.prompt) for content in contents) + len(role)
    return np.random.default_rng(seed).standard_normal((len(contents), 32))


def told(contents: Sequence[Content], role: str) -> np.ndarray:
    """Vectors of the words of a sample, and of nothing that is in a picture."""
    words = [dict.fromkeys(f"{content.instruction} {content.text}".split()) for content in contents]
    rows = np.zeros((len(contents), 64), np.float32)
    for row, own in zip(rows, words, strict=True):
        for word in own:
            row[sum(map(ord, word)) % 64] += 1
    return rows


def test_the_mini_suite_runs_and_says_what_came_of_it() -> None:
    results = evaluate(VLM2Vec(device="cpu"), "mini")
    assert [result.task for result in results.tasks] == [task.name for task in mmeb.list_tasks("mini")]
    assert set(results.scores) == {result.task for result in results.tasks}
    summary = results.summary()
    assert summary["overall"] == pytest.approx(np.mean(list(results.scores.values())))
    assert summary["overall"] > 40  # by chance about 20
    table = str(results)
    assert all(f"{score:.2f}" in table for score in results.scores.values())
    frame = results.to_pandas()
    assert frame.loc["mini-VD", "ndcg_linear@5"] * 100 == pytest.approx(results.scores["mini-VD"])


def test_a_random_model_scores_near_chance() -> None:
    results = evaluate(by_chance, "mini", name="chance")
    sizes = {result.task: result.candidates for result in results.tasks}
    for name in ("mini-I-RET", "mini-V-RET"):
        assert sizes[name] == 80
        assert results.scores[name] < 8  # 1 in 80, of 80 queries: more than 6 by chance is 1 in 10,000
    for name in ("mini-V-CLS", "mini-VD"):
        assert results.scores[name] < 100 / sizes[name] + 15
    assert results.summary()["overall"] < 35  # chance is high where a question has two answers


def test_a_model_to_which_all_is_the_same_scores_near_chance() -> None:
    """The right candidate stands first in its row's list; that must not win ties."""

    def same(contents: Sequence[Content], role: str) -> np.ndarray:
        return np.ones((len(contents), 4))

    results = evaluate(same, ["mini-I-CLS", "mini-I-QA", "mini-I-RET", "mini-V-RET"], name="same")
    assert results.scores["mini-I-RET"] == results.scores["mini-V-RET"] == pytest.approx(100 / 80)
    assert results.scores["mini-I-CLS"] < 50
    assert results.scores["mini-I-QA"] < 25


def test_scores_are_those_of_a_loop_over_queries() -> None:
    """Hit@1 of a task with candidates of its own, by cosine, counted by hand."""
    results = evaluate(told, ["mini-I-QA"], name="words")
    with TemporaryDirectory() as folder:
        write_mini(Path(folder))
        data = load(mmeb.get_task("mini-I-QA"), DataFolder(Path(folder)))
        places = {key: place for place, key in enumerate(data.candidates)}
        hits = []
        for query in data.queries:
            vector = told([query.content], "query")[0]
            best, found = -np.inf, None
            for key in sorted(query.candidates or (), key=places.__getitem__):  # as ties go
                other = told([data.candidates[key]], "document")[0]
                score = float(vector @ other) / max(1e-9, float(np.linalg.norm(other)))
                if score > best + 1e-7:
                    best, found = score, key
            hits.append(found in query.labels)
    assert results.scores["mini-I-QA"] == pytest.approx(100 * np.mean(hits))


class Counting:
    """A function that counts what it is given."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, contents: Sequence[Content], role: str) -> np.ndarray:
        self.calls += len(contents)
        return told(contents, role)


def test_what_is_finished_is_not_computed_again(tmp_path: Path) -> None:
    model = Counting()
    first = evaluate(model, TASKS, name="words", output_dir=tmp_path)
    before = model.calls
    again = evaluate(model, TASKS, name="words", output_dir=tmp_path)
    assert model.calls == before
    assert again.scores == first.scores
    # Vectors outlive results.
    for file in (tmp_path / "tasks").iterdir():
        file.unlink()
    assert evaluate(model, TASKS, name="words", output_dir=tmp_path).scores == first.scores
    assert model.calls == before


def test_candidates_that_tasks_share_are_embedded_once(tmp_path: Path) -> None:
    model = Counting()
    evaluate(model, ["mini-V-CLS", "mini-V-QA"], name="words", output_dir=tmp_path)
    both = model.calls
    apart = []
    for task in ("mini-V-CLS", "mini-V-QA"):
        model = Counting()
        evaluate(model, [task], name="words")
        apart.append(model.calls)
    assert both < sum(apart)  # motions are answers of both


def test_a_result_of_another_model_is_refused_and_names_the_difference(tmp_path: Path) -> None:
    evaluate(told, TASKS[:1], name="words", output_dir=tmp_path)
    with pytest.raises(StaleResultError, match=r"mini-I-CLS.*model\.function differ"):
        evaluate(by_chance, TASKS[:1], name="chance", output_dir=tmp_path)
    replaced = evaluate(by_chance, TASKS[:1], name="chance", output_dir=tmp_path, on_stale="recompute")
    assert TaskResult.load(tmp_path / "tasks" / "mini-I-CLS.json").percentage == pytest.approx(  # type: ignore[union-attr]
        replaced.scores["mini-I-CLS"]
    )


def test_changed_weights_are_another_model(tmp_path: Path) -> None:
    model = VLM2Vec(device="cpu")
    evaluate(model, TASKS[:1], output_dir=tmp_path)
    weight = next(model.parameters())
    weight.data.reshape(-1)[0] += 1
    with pytest.raises(StaleResultError, match=r"model\.weights differ"):
        evaluate(model, TASKS[:1], output_dir=tmp_path)


class Picky:
    """An encoder that cannot read some samples."""

    name = "picky"
    late_interaction = False

    def __init__(self, *bad: str) -> None:
        self.bad = bad

    def identity(self) -> dict[str, Any]:
        return {"picky": list(self.bad)}

    def encode(self, contents: Sequence[Content], *, role: str) -> list[Any]:
        vectors = told(contents, role)
        vectors[:, 0] += 1e-3
        return [
            MediaError("it is broken") if any(word in content.text for word in self.bad) else vector
            for content, vector in zip(contents, vectors, strict=True)
        ]


def test_a_broken_sample_ends_the_run_or_scores_nothing_as_asked() -> None:
    with pytest.raises(MediaError, match=r"mini-I-QA, query \d+: it is broken"):
        evaluate(Picky("Where"), ["mini-I-QA"])
    broken = evaluate(Picky("Where"), ["mini-I-QA"], on_error="score").tasks[0]
    whole = evaluate(Picky(), ["mini-I-QA"]).tasks[0]
    failed = {int(failure.which) for failure in broken.failures}
    assert failed
    assert all(failure.role == "query" for failure in broken.failures)
    for place, (with_errors, without) in enumerate(zip(broken.per_query, whole.per_query, strict=True)):
        assert with_errors == (0 if place in failed else without)


def test_a_candidate_that_cannot_be_read_is_never_found() -> None:
    whole = evaluate(Picky(), ["mini-I-QA"]).tasks[0]
    broken = evaluate(Picky("in"), ["mini-I-QA"], on_error="score").tasks[0]
    gone = {failure.which for failure in broken.failures if failure.role == "document"}
    assert gone
    assert gone & {str(key) for keys in whole.top for key in keys}
    assert not gone & {str(key) for keys in broken.top for key in keys}


def test_vectors_that_are_not_finite_are_errors() -> None:
    def nothing(contents: Sequence[Content], role: str) -> np.ndarray:
        return np.full((len(contents), 4), np.nan)

    with pytest.raises(MediaError, match="mini-I-CLS, query 0: its vector is not finite"):
        evaluate(nothing, ["mini-I-CLS"], name="nothing")
    results = evaluate(nothing, ["mini-I-CLS"], name="nothing", on_error="score")
    assert results.scores == {"mini-I-CLS": 0}


def test_a_result_with_failures_is_made_again(tmp_path: Path) -> None:
    model = Picky("Where")
    model.identity = lambda: {"picky": []}  # type: ignore[method-assign]
    first = evaluate(model, ["mini-I-QA"], on_error="score", output_dir=tmp_path)
    assert first.tasks[0].failures
    mended = evaluate(Picky(), ["mini-I-QA"], output_dir=tmp_path)
    assert not mended.tasks[0].failures


def test_settings_are_part_of_the_model(tmp_path: Path) -> None:
    model = VLM2Vec(device="cpu")
    whole = evaluate(model, TASKS[:1], output_dir=tmp_path)
    with pytest.raises(StaleResultError, match=r"model\.settings"):
        evaluate(model, TASKS[:1], output_dir=tmp_path, truncate_dim=4)
    short = evaluate(model, TASKS[:1], output_dir=tmp_path, truncate_dim=4, on_stale="recompute")
    assert short.scores != whole.scores


def test_settings_that_there_are_not_are_refused() -> None:
    for wrong in ({"on_error": "skip"}, {"compat": "v1"}, {"on_stale": "ignore"}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            evaluate(told, TASKS, name="words", **wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no name"):
        evaluate(told, TASKS)
    with pytest.raises(InputError, match="the model is int 3"):
        evaluate(3, TASKS)
    with pytest.raises(InputError, match="unknown settings: on_eror"):
        evaluate(told, TASKS, name="words", on_eror="score")
    with pytest.raises(InputError, match="no task is chosen"):
        evaluate(told, [], name="words")


KILLED = """
import sys, time
from pathlib import Path
import tests.mmeb.test_evaluation as here
from vlm2vec.mmeb import embedding, evaluation
embedding._BLOCK = 8
def slow(contents, role):
    time.sleep(0.01)
    Path(sys.argv[2]).open("a").write("x" * len(contents))
    return here.told(contents, role)
evaluation.evaluate(slow, here.TASKS, name="words", output_dir=sys.argv[1])
"""


def test_killed_at_any_moment_it_goes_on_to_the_same_results(tmp_path: Path) -> None:
    expected = evaluate(told, TASKS, name="words")
    counts = tmp_path / "counts"
    counts.touch()
    command = [sys.executable, "-c", KILLED, str(tmp_path / "out"), str(counts)]
    root = Path(__file__).parent.parent.parent
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    rng = np.random.default_rng(0)
    for _ in range(3):
        before = counts.stat().st_size
        process = subprocess.Popen(command, env=environment, cwd=root)
        until = time.monotonic() + 120
        more = int(rng.integers(1, 120))
        while counts.stat().st_size < before + more and process.poll() is None and time.monotonic() < until:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run(command, env=environment, cwd=root, check=True, timeout=300)
    results = mmeb.Results.load(tmp_path / "out")
    assert results.scores == expected.scores
    embedded = sum(result.queries + result.candidates for result in expected.tasks)
    # Of a block that was being embedded when the process died all is embedded again, and nothing else.
    assert counts.stat().st_size <= embedded + 3 * 8


SHARED = """
import os, sys
from pathlib import Path
import tests.mmeb.test_evaluation as here
from vlm2vec.mmeb import evaluation
model = here.Counting()
results = evaluation.evaluate(model, here.TASKS, name="words", output_dir=sys.argv[1])
Path(sys.argv[2], os.environ["RANK"]).write_text(f"{model.calls} {results.scores}")
"""


def test_two_processes_share_the_work_and_agree(tmp_path: Path) -> None:
    alone = Counting()
    expected = evaluate(alone, TASKS, name="words", output_dir=tmp_path / "alone")
    script, root = tmp_path / "script.py", Path(__file__).parent.parent.parent
    script.write_text(SHARED, encoding="utf-8")
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        str(script),
    ]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run(
        [*launch, str(tmp_path / "out"), str(tmp_path)], env=environment, cwd=root, check=True, timeout=300
    )
    told_of = [(tmp_path / rank).read_text(encoding="utf-8").split(" ", 1) for rank in "01"]
    assert [scores for _, scores in told_of] == [str(expected.scores)] * 2
    calls = [int(count) for count, _ in told_of]
    assert sum(calls) == alone.calls
    assert abs(calls[0] - calls[1]) <= 2 * len(TASKS)
    assert mmeb.Results.load(tmp_path / "out").scores == expected.scores
