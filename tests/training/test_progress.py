"""How far training is, as a bar in a terminal and as lines elsewhere."""

from __future__ import annotations

import io
import logging
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import transformers
from transformers import TrainerControl, TrainerState

from vlm2vec import VLM2Vec
from vlm2vec.training import progress
from vlm2vec.training.progress import TrainingProgress

ROWS = [{"query": word, "document": f"a {word} circle"} for word in ("red", "blue", "green", "black")]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(shown: TrainingProgress, entries: list[dict[str, float]], *, steps: int = 100) -> None:
    """What the trainer tells of a run, an entry a step."""
    state, control = TrainerState(max_steps=steps), TrainerControl()
    state.is_world_process_zero = True
    shown.on_train_begin(None, state, control)  # type: ignore[arg-type]
    for entry in entries:
        state.global_step += 1
        shown.on_step_end(None, state, control)  # type: ignore[arg-type]
        shown.on_log(None, state, control, logs=entry)  # type: ignore[arg-type]
    shown.on_train_end(None, state, control)  # type: ignore[arg-type]


def clock(patch: pytest.MonkeyPatch, seconds: float) -> None:
    """Each look at the clock is so many seconds after the one before."""
    ticks = iter(range(1_000_000))
    patch.setattr(progress.time, "perf_counter", lambda: next(ticks) * seconds)
    patch.setattr(progress.time, "strftime", lambda _: "12:00:00")


def test_without_a_terminal_there_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    clock(monkeypatch, seconds=16)
    run(TrainingProgress(8), [{"loss": 1 / step, "learning_rate": 5e-5} for step in range(1, 6)])
    assert stream.getvalue().splitlines() == [
        "12:00:00 step   1 of 100: loss 1, rate 5e-05, 0.5 rows a second, 26 min 24 s remain",
        "12:00:00 step   3 of 100: loss 0.333, rate 5e-05, 0.5 rows a second, 25 min 52 s remain",
        "12:00:00 step   5 of 100: loss 0.2, rate 5e-05, 0.5 rows a second, 25 min 20 s remain",
    ]


def test_a_log_that_listens_has_the_lines(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with caplog.at_level(logging.INFO, "vlm2vec.training"):
        run(TrainingProgress(8), [{"eval_ndcg": 0.5, "eval_runtime": 3.0}])
    assert caplog.messages == ["step   1 of 100: ndcg 0.5000, best so far"]
    assert stream.getvalue() == ""


def test_lines_that_no_handler_takes_go_to_standard_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stream, log = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    clock(monkeypatch, seconds=0)
    handler = logging.StreamHandler(log)
    handler.setLevel(logging.WARNING)
    monkeypatch.setattr(progress.logger, "handlers", [handler])
    monkeypatch.setattr(progress.logger, "propagate", False)
    caplog.set_level(logging.INFO, progress.logger.name)
    run(TrainingProgress(8), [{"eval_ndcg": 0.5}])
    assert stream.getvalue() == "12:00:00 step   1 of 100: ndcg 0.5000, best so far\n"
    handler.setLevel(logging.INFO)
    run(TrainingProgress(8), [{"eval_ndcg": 0.5}])
    assert log.getvalue() == "step   1 of 100: ndcg 0.5000, best so far\n"
    assert stream.getvalue().count("\n") == 1


def test_a_run_that_goes_on_knows_its_best_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    shown, state = TrainingProgress(8), TrainerState(max_steps=9, global_step=7)
    state.is_world_process_zero = True
    state.log_history = [{"eval_ndcg": 0.75, "step": 4}, {"eval_ndcg": 0.5, "step": 6}]
    for step, score in ((8, 0.625), (9, 0.875)):
        state.global_step = step
        state.log_history.append({"eval_ndcg": score, "step": step})
        shown.on_log(None, state, TrainerControl(), logs={"eval_ndcg": score})  # type: ignore[arg-type]
    eighth, ninth = stream.getvalue().splitlines()
    assert eighth.endswith("step 8 of 9: ndcg 0.6250")
    assert ninth.endswith("step 9 of 9: ndcg 0.8750, best so far")


def test_the_best_evaluation_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    clock(monkeypatch, seconds=0)
    entries = [
        {"eval_cosine_accuracy@1": accuracy, "eval_cosine_ndcg@10": ndcg, "eval_cosine_map@10": 0.1}
        for accuracy, ndcg in ((0.5, 0.5), (0.5, 0.75), (1.0, 0.625))
    ]
    run(TrainingProgress(8, best="cosine_ndcg@10"), entries)
    assert stream.getvalue().splitlines() == [
        "12:00:00 step   1 of 100: ndcg@10 0.5000, accuracy@1 0.5000, best so far",
        "12:00:00 step   2 of 100: ndcg@10 0.7500, accuracy@1 0.5000, best so far",
        "12:00:00 step   3 of 100: ndcg@10 0.6250, accuracy@1 1.0000",
    ]


@pytest.mark.parametrize("columns", [80, 140])
def test_a_terminal_has_one_bar_and_evaluations_above_it(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("LINES", "40")
    losses = [{"loss": 2.5e-05, "learning_rate": 0.000123}] * 3
    run(TrainingProgress(8), [*losses, {"eval_cosine_ndcg@10": 0.5}], steps=12_000)
    lines = [line.rpartition("\r")[2].strip() for line in stream.getvalue().split("\n")]
    assert lines[0] == "step      4 of 12,000: ndcg@10 0.5000, best so far"
    assert lines[1].startswith("4 of 12000 steps |")
    assert lines[1].endswith("remain, loss 2.5e-05, rate 0.00012")
    assert 50 < len(lines[1]) <= columns


def test_quiet_is_quiet_and_evaluations_of_a_fit_are_told(capfd: pytest.CaptureFixture[str]) -> None:
    model = VLM2Vec()
    settings: dict[str, Any] = {"eval": ROWS, "max_steps": 2, "lora": False}
    model.fit(ROWS, show_progress_bar=False, **settings)
    assert capfd.readouterr() == ("", "")
    model.fit(ROWS, **settings)
    out, err = capfd.readouterr()
    start, first, second = (line for line in err.splitlines() if "ndcg@10" in line)  # others may come
    assert out == ""
    assert "step 0 of 2: ndcg@10 " in start
    assert start.endswith("best so far")
    assert "step 1 of 2: ndcg@10 " in first
    assert "step 2 of 2: ndcg@10 " in second


@pytest.mark.parametrize("lora", [False, True])
def test_a_run_that_is_resumed_has_no_news_of_other_packages(
    lora: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    transformers_logger = logging.getLogger("transformers")
    transformers_logger.addHandler(handler)
    transformers.utils.logging.warning_once.cache_clear()  # what it says once may have been said
    settings: dict[str, Any] = {"lora": lora, "output_dir": tmp_path, "gradient_checkpointing": True}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            # So few steps that checkpoints are written within a second; more of them save less often.
            VLM2Vec().fit(ROWS, max_steps=6, save_total_limit=2, show_progress_bar=False, **settings)
            VLM2Vec().fit(
                ROWS, max_steps=30, save_total_limit=2, resume=True, show_progress_bar=False, **settings
            )
    finally:
        transformers_logger.removeHandler(handler)
    assert said == []
    assert capfd.readouterr() == ("", "")
