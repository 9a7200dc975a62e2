"""`evaluate`: scores, resume, refusal of what is stale, and samples that fail."""

from __future__ import annotations

import hashlib
import itertools
import json
import multiprocessing
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image
from torch import distributed
from torch.multiprocessing import start_processes

from vlm2vec import VLM2Vec, mmeb
from vlm2vec.errors import InputError, MediaError, NonFiniteError
from vlm2vec.mmeb import store
from vlm2vec.mmeb.encoders import encoder_of
from vlm2vec.mmeb.evaluation import evaluate
from vlm2vec.mmeb.loaders import DataFolder, MissingDataError, load
from vlm2vec.mmeb.loaders.contents import text_candidate
from vlm2vec.mmeb.mini import write_mini
from vlm2vec.mmeb.processes import spread
from vlm2vec.mmeb.samples import Content
from vlm2vec.mmeb.store import EmbeddingStore
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


def tie_order(key: Any) -> str:
    """The first of equal candidates has the smallest."""
    return hashlib.blake2b(str(key).encode(), digest_size=16).hexdigest()


def same(contents: Sequence[Content], role: str) -> np.ndarray:
    """One vector for all."""
    return np.ones((len(contents), 4))


@pytest.mark.slow
def test_the_mini_suite_runs_and_says_what_came_of_it() -> None:
    results = evaluate(VLM2Vec(device="cpu"), "mini")
    assert [result.task for result in results.tasks] == [task.name for task in mmeb.list_tasks("mini")]
    assert set(results.scores) == {result.task for result in results.tasks}
    summary = results.summary()
    assert summary["overall"] == pytest.approx(np.mean(list(results.scores.values())))
    assert summary["overall"] > 70  # by chance about 20
    table = str(results)
    assert all(f"{score:.2f}" in table for score in results.scores.values())
    frame = results.to_pandas()
    assert frame.loc["mini-VD", "ndcg_linear@5"] * 100 == pytest.approx(results.scores["mini-VD"])


@pytest.mark.slow
def test_a_random_model_scores_near_chance(tmp_path: Path) -> None:
    """Of each task, within four deviations of what its queries and their candidates make likely."""
    write_mini(tmp_path)
    results = evaluate(by_chance, "mini", name="chance")
    for result in results.tasks:
        task = mmeb.get_task(result.task)
        data = load(task, DataFolder(tmp_path))
        if task.scope == "global":
            assert len(data.candidates) == task.candidates, task.name
        counts = [len(query.candidates or data.candidates) for query in data.queries]
        places = range(2, 7) if result.metric.startswith("ndcg") else range(2, 3)
        gains = [sum(1 / np.log2(place) for place in places) / count for count in counts]
        # One right candidate gives at most 1, so the variance of a query is at most its mean.
        spread_of_mean = np.sqrt(np.sum(gains)) / len(gains)
        assert abs(results.scores[result.task] / 100 - np.mean(gains)) < 4 * spread_of_mean, result.task


def test_a_model_to_which_all_is_the_same_scores_near_chance() -> None:
    """The right candidate stands first in its row's list; that must not win ties (`test_ties` has more)."""
    results = evaluate(same, ["mini-I-CLS", "mini-I-QA", "mini-I-RET", "mini-V-RET"], name="same")
    assert results.scores["mini-I-RET"] == results.scores["mini-V-RET"] == pytest.approx(100 / 80)
    assert results.scores["mini-I-CLS"] < 50
    assert results.scores["mini-I-QA"] < 25


def test_a_result_by_an_older_rule_is_scored_again_from_kept_vectors(tmp_path: Path) -> None:
    model = Counting(same)
    first = evaluate(model, ["mini-I-QA"], name="same", output_dir=tmp_path)
    path = tmp_path / "tasks" / "mini-I-QA.json"
    kept = json.loads(path.read_text(encoding="utf-8"))
    kept["made_of"]["protocol"] = 1
    kept["scores"] = dict.fromkeys(kept["scores"], 1.0)
    path.write_text(json.dumps(kept), encoding="utf-8")
    before = model.calls
    assert evaluate(model, ["mini-I-QA"], name="same", output_dir=tmp_path).scores == first.scores
    assert model.calls == before


def test_scores_are_those_of_a_loop_over_queries() -> None:
    """Hit@1 of a task with candidates of its own, by cosine, counted by hand."""
    results = evaluate(told, ["mini-I-QA"], name="words")
    with tempfile.TemporaryDirectory() as folder:
        write_mini(Path(folder), ["mini-I-QA"])
        data = load(mmeb.get_task("mini-I-QA"), DataFolder(Path(folder)))
        vectors = {key: told([content], "document")[0] for key, content in data.candidates.items()}
        hits = []
        for query in data.queries:
            vector = told([query.content], "query")[0]
            best, found = -np.inf, None
            for key in sorted(query.candidates or (), key=tie_order):
                other = vectors[key]
                score = float(vector @ other) / max(1e-9, float(np.linalg.norm(other)))
                if score > best + 1e-7:
                    best, found = score, key
            hits.append(found in query.labels)
    assert results.scores["mini-I-QA"] == pytest.approx(100 * np.mean(hits))


class Counting:
    """A function that counts what it is given."""

    def __init__(self, function: Any = told) -> None:
        self.function = function
        self.calls = 0

    def __call__(self, contents: Sequence[Content], role: str) -> np.ndarray:
        self.calls += len(contents)
        vectors: np.ndarray = self.function(contents, role)
        return vectors


@pytest.mark.slow
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


def test_each_task_is_logged_when_it_begins_and_when_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    tasks = ["mini-I-CLS", "mini-I-QA", "mini-VD"]
    caplog.set_level("INFO", logger="vlm2vec.mmeb")
    results = evaluate(told, tasks, name="words")
    said = [record.message for record in caplog.records if record.name.startswith("vlm2vec.mmeb")]
    assert len(said) == 2 * len(tasks)
    for place, result in enumerate(results.tasks):
        where = f"{place + 1} of 3, {result.task}: "
        begin, end = said[2 * place : 2 * place + 2]
        assert begin == f"{where}80 queries, {result.candidates} candidates"
        assert re.fullmatch(rf"{where}{re.escape(result.metric)} {result.percentage:.2f}, \d+ s", end)
    caplog.clear()
    (broken,) = evaluate(Picky("Where"), ["mini-I-QA"], on_error="score").tasks
    assert caplog.records[-1].message.endswith(f" s, {len(broken.failures)} samples failed")


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

    with pytest.raises(NonFiniteError, match="mini-I-CLS, query 0: its vector is not finite"):
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


class Pictures:
    """Small tasks in the public layout: of each query the picture with its number is right."""

    def __init__(self, folder: Path, tasks: Sequence[str] = ("NIGHTS",), count: int = 20) -> None:
        self.folder = folder
        for name in tasks:
            task = mmeb.get_task(name)
            root = folder / "image-tasks"
            (root / name).mkdir(parents=True)
            for number, side in itertools.product(range(count), "qt"):
                pixel = (sum(map(ord, name)) % 256, number, ord(side))
                Image.new("RGB", (1, 1), pixel).save(root / name / f"{side}{number}.png")
            paths = [f"{name}/t{number}.png" for number in range(count)]
            rows = [
                {
                    "qry_inst": "<|image_1|>\nFind it.",
                    "qry_text": "",
                    "qry_img_path": f"{name}/q{number}.png",
                    "tgt_inst": "<|image_1|>\nLook.",
                    "tgt_text": [""] * count,
                    "tgt_img_path": [path, *(other for other in paths if other != path)],
                }
                for number, path in enumerate(paths)
            ]
            table = folder / "annotations" / task.repo / str(task.subset) / "test.jsonl"
            table.parent.mkdir(parents=True)
            table.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    def __getitem__(self, name: str) -> Path:
        """A file, such as "q3"."""
        return self.folder / "image-tasks" / "NIGHTS" / f"{name}.png"


def by_number(contents: Sequence[Content], role: str) -> np.ndarray:
    """Vectors that tell the numbers of pictures: what belongs together is equal."""
    return np.eye(64)[[int(Path(str(content.image)).stem[1:]) for content in contents]]


@pytest.mark.parametrize("kept", ["digests.json", "tasks/*.json", "embeddings/*/*.json"])
def test_kept_files_that_are_damaged_are_made_again(tmp_path: Path, kept: str) -> None:
    Pictures(tmp_path / "data")

    def run() -> dict[str, float]:
        places = {"data_dir": tmp_path / "data", "output_dir": tmp_path / "out"}
        return evaluate(by_number, ["NIGHTS"], **places, name="n", offline=True).scores

    assert run() == {"NIGHTS": 100}
    for file in list((tmp_path / "out").glob(kept)):
        whole = json.loads(file.read_text())
        parts = [
            {**whole, name: value} for name in list(whole)[:20] for value in (None, 3, "x", [], {}, {"a": 1})
        ]
        for damaged in ("{", "[]", "null", '{"a": {}}', *map(json.dumps, parts)):
            if file.name != "NIGHTS.json":
                (tmp_path / "out" / "tasks" / "NIGHTS.json").unlink()
            file.write_text(damaged)
            try:
                assert run() == {"NIGHTS": 100}, damaged
            except StaleResultError:
                assert '"made_of"' in damaged  # that says of what run it is
            file.write_text(json.dumps(whole))


def test_a_missing_file_ends_the_run_and_is_named_with_its_sample(tmp_path: Path) -> None:
    files = Pictures(tmp_path)
    files["q3"].unlink()
    with pytest.raises(
        MediaError, match=rf"^NIGHTS, query 3: there is no {files['q3']}\. .*mmeb check DATA -t NIGHTS"
    ):
        evaluate(by_number, ["NIGHTS"], data_dir=tmp_path, name="numbers", offline=True)


def test_samples_whose_files_are_missing_score_nothing_and_are_scored_once_they_are_there(
    tmp_path: Path,
) -> None:
    files = Pictures(tmp_path / "data")
    model = Counting(by_number)

    def run() -> TaskResult:
        places = {"data_dir": tmp_path / "data", "output_dir": tmp_path / "out"}
        (result,) = evaluate(model, ["NIGHTS"], **places, name="n", offline=True, on_error="score").tasks
        return result

    kept = {name: files[name].read_bytes() for name in ("q3", "t5")}
    for name in kept:
        files[name].unlink()
    broken = run()
    assert [(one.role, one.which) for one in broken.failures] == [
        ("query", "3"),
        ("document", "NIGHTS/t5.png:"),
    ]
    assert [one.error for one in broken.failures] == [f"there is no {files[name]}" for name in kept]
    assert [place for place, score in enumerate(broken.per_query) if score == 0] == [3, 5]
    assert broken.top[3] == ()
    assert not any("NIGHTS/t5.png:" in top for top in broken.top)

    for name, data in kept.items():
        files[name].write_bytes(data)
    before = model.calls
    whole = run()
    assert whole.percentage == 100
    assert not whole.failures
    assert model.calls == before + len(kept)
    assert run() == whole


@pytest.mark.parametrize("side", ["q", "t"])
def test_where_more_than_a_tenth_of_the_files_is_missing_the_data_are_incomplete(
    tmp_path: Path, side: str
) -> None:
    files = Pictures(tmp_path)
    settings = {"data_dir": tmp_path, "name": "numbers", "offline": True, "on_error": "score"}
    for number in (1, 2):
        files[f"{side}{number}"].unlink()
    assert len(evaluate(by_number, ["NIGHTS"], **settings).tasks[0].failures) == 2
    files[f"{side}7"].unlink()
    what = "queries" if side == "q" else "candidates"
    told = rf"^NIGHTS: the data are incomplete: files of 3 of its 20 {what} .*{side}1\.png.*mmeb check DATA"
    with pytest.raises(MissingDataError, match=told):
        evaluate(by_number, ["NIGHTS"], **settings)


def test_without_the_folder_of_its_media_a_task_is_an_error_in_any_case(tmp_path: Path) -> None:
    Pictures(tmp_path)
    shutil.rmtree(tmp_path / "image-tasks")
    for on_error in ("raise", "score"):
        with pytest.raises(MissingDataError, match="NIGHTS: its media are not there"):
            evaluate(by_number, ["NIGHTS"], data_dir=tmp_path, name="n", offline=True, on_error=on_error)


def test_of_a_missing_video_the_query_and_its_clip_fail(tmp_path: Path) -> None:
    task = mmeb.get_task("Charades-STA")
    root = tmp_path / task.roots[0]
    for video, folder in itertools.product(range(12), ("query", "positive", "negative")):
        (root / str(video) / folder).mkdir(parents=True)
        Image.new("RGB", (1, 1), (video, ord(folder[0]), 0)).save(root / str(video) / folder / "frame_1.png")
    table = tmp_path / "annotations" / task.repo / f"{task.split}.jsonl"
    table.parent.mkdir(parents=True)
    rows = [{"query": f"scene {video}", "video_path": f"{video}.mp4"} for video in range(12)]
    table.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    shutil.rmtree(root / "4")

    def by_folder(contents: Sequence[Content], role: str) -> np.ndarray:
        return np.eye(2)[[int(content.frames[0].parent.name == "negative") for content in contents]]

    (result,) = evaluate(
        by_folder, [task.name], data_dir=tmp_path, name="f", offline=True, on_error="score"
    ).tasks
    assert [(one.role, one.which) for one in result.failures] == [("query", "4"), ("document", "4/positive")]
    assert result.failures[0].error == f"there is no {root / '4' / 'query'}"
    assert result.per_query == tuple(float(video != 4) for video in range(12))


def forks() -> Any:
    """Processes that are forks of one, which imports once what takes long."""
    context = multiprocessing.get_context("forkserver")
    encoders = [f"vlm2vec.mmeb.encoders.{name}" for name in ("function", "multi_vector", "vlm2vec_model")]
    context.set_forkserver_preload(["vlm2vec.mmeb.evaluation", *encoders, "pytest"])
    return context


KILL_TASKS = ["NIGHTS", "CIRR", "FashionIQ"]


def run_and_die(folder: Path, die_at: int) -> None:
    """Evaluate, and die just before something is written for the `die_at`-th time, or never with 0."""
    seen = 0

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        writes = event == "os.rename" or (event == "open" and set(str(arguments[1])) & set("wa"))
        if writes and str(arguments[0]).startswith(str(folder / "out")):
            seen += 1
            if seen == die_at:
                os.kill(os.getpid(), signal.SIGKILL)

    def counted(contents: Sequence[Content], role: str) -> np.ndarray:
        with (folder / "out" / "calls").open("a") as file:
            file.write("x" * len(contents))
        return by_number(contents, role)

    tempfile.tempdir = str(folder)
    store._BLOCK = 4
    (folder / "out").mkdir(exist_ok=True)
    sys.addaudithook(watch)
    evaluate(counted, KILL_TASKS, data_dir=folder / "data", output_dir=folder / "out", name="n", offline=True)
    (folder / "moments").write_text(str(seen))


def test_killed_at_ten_moments_it_goes_on_to_the_same_results(tmp_path: Path) -> None:
    """Moments are counted in what is written, so that they are the same on any machine."""
    Pictures(tmp_path / "data", KILL_TASKS)
    context = forks()

    def run(folder: Path, die_at: int = 0) -> int | None:
        folder.mkdir(exist_ok=True)
        if not (folder / "data").exists():
            (folder / "data").symlink_to(tmp_path / "data")
        process = context.Process(target=run_and_die, args=(folder, die_at))
        process.start()
        process.join(600)
        return process.exitcode

    assert run(tmp_path / "straight") == 0
    expected = {result.task: result for result in mmeb.Results.load(tmp_path / "straight" / "out").tasks}
    moments = int((tmp_path / "straight" / "moments").read_text())
    embedded = sum(result.queries + result.candidates for result in expected.values())
    assert (tmp_path / "straight" / "out" / "calls").stat().st_size == embedded

    rng = np.random.default_rng(0)
    killed = tmp_path / "killed"
    finished: dict[Path, bytes] = {}
    for die_at in rng.integers(1, 2 * moments // 11, size=10):
        assert run(killed, int(die_at)) == -signal.SIGKILL
        finished.update({path: path.read_bytes() for path in (killed / "out" / "tasks").glob("*.json")})
    assert 0 < len(finished) < len(KILL_TASKS)  # some were finished when it was killed, and some were not
    assert run(killed) == 0
    # What took how long is written down: a task that is run again has another file.
    assert all(path.read_bytes() == content for path, content in finished.items())
    results = {result.task: result for result in mmeb.Results.load(killed / "out").tasks}
    assert {name: replace(one, seconds=0) for name, one in results.items()} == {
        name: replace(one, seconds=0) for name, one in expected.items()
    }
    # Of a block that was being embedded when the process died all is embedded again, and nothing else.
    assert (killed / "out" / "calls").stat().st_size <= embedded + 10 * 4


def run_on_a_rank(rank: int, folder: Path) -> None:
    """Evaluate as one of two processes, and write down how much it embedded and what came of each run."""
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "OMP_NUM_THREADS": 1}
    os.environ.update({name: str(number) for name, number in numbers.items()}, CUDA_VISIBLE_DEVICES="")
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    data = folder / f"data of {rank}"
    files = Pictures(data)
    model = Counting(by_number)
    told: dict[str, Any] = {}

    def run(name: str, model: Any = by_number, **settings: Any) -> None:
        places = {"data_dir": data, "output_dir": folder / name}
        try:
            results = evaluate(model, ["NIGHTS"], name="n", offline=True, **places, **settings)
            told[name] = [results.scores, [one.which for one in results.tasks[0].failures]]
        except ValueError as error:
            told[name] = f"{type(error).__name__}: {error}"

    def broken(contents: Sequence[Content], role: str) -> np.ndarray:
        if rank:
            raise ValueError("out of order")
        return by_number(contents, role)

    run("whole", model)
    calls = model.calls
    run("encoder", broken)
    if rank:
        files["q3"].unlink()
    run("file")
    run("tolerant", on_error="score")
    if rank:
        shutil.rmtree(data / "annotations")
    run("loader")
    data = folder / f"more of {rank}"
    Pictures(data, count=20 + rank)
    run("other data")
    (folder / str(rank)).write_text(json.dumps([calls, told]))
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def of_two(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[int], list[dict[str, Any]]]:
    """How much each of two processes embedded, and what came of each run in it."""
    folder = tmp_path_factory.mktemp("two")
    forks()
    start_processes(run_on_a_rank, (folder,), nprocs=2, start_method="forkserver")
    calls, told = zip(*(json.loads((folder / rank).read_text()) for rank in "01"), strict=True)
    return list(calls), list(told)


def test_two_processes_share_the_work_and_agree(of_two: Any) -> None:
    calls, told = of_two
    assert [one["whole"] for one in told] == [[{"NIGHTS": 100.0}, []]] * 2
    assert calls == [20, 20]


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("file", r"MediaError: .*NIGHTS, query 3: there is no .*q3\.png"),
        ("loader", r"MissingDataError: .*NIGHTS: there are no annotations"),
        ("encoder", "ValueError: out of order"),
    ],
)
def test_what_goes_wrong_in_one_process_ends_all_of_them(of_two: Any, name: str, what: str) -> None:
    others, its_own = (one[name] for one in of_two[1])
    assert re.match(what, its_own)
    assert re.match(rf"VLM2VecError: process 1 of 2 could not go on: {what}", others)


def test_a_file_that_one_process_misses_is_a_failure_for_all(of_two: Any) -> None:
    assert [one["tolerant"] for one in of_two[1]] == [[{"NIGHTS": 95.0}, ["3"]]] * 2


def test_processes_that_have_other_data_are_told(of_two: Any) -> None:
    assert [one["other data"] for one in of_two[1]] == [
        "VLM2VecError: process 1 of 2 has other data of NIGHTS than the first. Give all processes the same "
        "arguments, and folders that hold the same."
    ] * 2


@pytest.mark.slow
def test_workers_of_several_devices_start_once_and_end_with_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Pictures(tmp_path / "data")
    model = VLM2Vec(device="cpu")
    started: list[list[str]] = []
    start = VLM2Vec.start_multi_process_pool

    def counted(self: VLM2Vec, devices: list[str]) -> Any:
        started.append(devices)
        return start(self, devices)

    monkeypatch.setattr(VLM2Vec, "start_multi_process_pool", counted)
    monkeypatch.setattr(store, "_BLOCK", 4)  # three blocks of queries, and three of candidates

    def run(name: str, **settings: Any) -> TaskResult:
        output = {"data_dir": tmp_path / "data", "output_dir": tmp_path / name, "offline": True}
        return evaluate(model, ["NIGHTS"], **output, **settings).tasks[0]

    spread, alone = run("spread", devices=["cpu", "cpu"]), run("alone")
    assert started == [["cpu", "cpu"]]
    assert multiprocessing.active_children() == []
    assert spread.made_of == alone.made_of
    stores = [
        EmbeddingStore(next((tmp_path / name / "embeddings").iterdir())) for name in ("spread", "alone")
    ]
    names = [sorted(store._entries) for store in stores]
    assert names[0] == names[1]
    assert len(names[0]) == 40
    one, other = (store.vectors(names[0]) for store in stores)
    for name in names[0]:
        np.testing.assert_allclose(one[name], other[name], atol=1e-6)


@dataclass
class Pooled:
    """An encoder that notes what becomes of its model's workers."""

    model: Any
    settings: dict[str, Any]
    name: str = "pooled"
    late_interaction: bool = False


@pytest.mark.parametrize("error", [MediaError("it is broken"), KeyboardInterrupt()])
def test_workers_end_however_the_run_ends(error: BaseException) -> None:
    model = Mock(device="its own")
    with pytest.raises(type(error)), spread(Pooled(model, {"batch_size": 2}), ["cpu", 0]) as working:
        pool = model.start_multi_process_pool.return_value
        assert working.settings == {"batch_size": 2, "pool": pool}
        model.stop_multi_process_pool.assert_not_called()
        raise error
    model.start_multi_process_pool.assert_called_once_with(["cpu", "0"])
    model.stop_multi_process_pool.assert_called_once_with(pool)
    model.to.assert_called_once_with("its own")


def test_what_cannot_be_spread_over_devices_is_told() -> None:
    with pytest.raises(InputError, match=r"words cannot be spread over devices\. .*accelerate launch"):
        evaluate(told, TASKS, name="words", devices=["cpu", "cpu"])
    with pytest.raises(InputError, match="Pass it as devices"):
        evaluate(VLM2Vec(device="cpu"), TASKS, device=["cpu", "cpu"])


def test_an_empty_text_has_a_vector() -> None:
    model = VLM2Vec(device="cpu")
    (row,) = encoder_of(model).encode([text_candidate("")], role="document")
    assert np.linalg.norm(row) == pytest.approx(1)
    assert np.linalg.norm(model.encode({"prompt": text_candidate("").prompt})) == pytest.approx(1)
