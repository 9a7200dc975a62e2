"""What a result says, and its picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from vlm2vec.errors import InputError
from vlm2vec.training import TrainingResult

RESULT = TrainingResult(
    steps=1000,
    rows=64_000,
    seconds=4000.0,
    losses=((500, 2.0), (1000, 0.5)),
    scores=((500, {"ndcg": 0.25}), (1000, {"ndcg": 0.75})),
    skipped={"pets": 1200},
    output_dir="pets-model",
)


def test_the_summary_has_a_line_for_each_fact() -> None:
    assert str(RESULT).splitlines() == [
        "1,000 steps, 64,000 rows in 67 min",
        "loss 2 at step 500, 0.5 at the end",
        "ndcg: 0.25 (step 500), 0.75 (step 1000)",
        "bad rows left out: 1,200 of pets",
        "saved in pets-model",
    ]


def test_the_best_score_is_told_where_it_is_neither_the_first_nor_the_last() -> None:
    scores = tuple((step, {"ndcg": score}) for step, score in ((100, 0.5), (200, 0.75), (300, 0.625)))
    assert "ndcg: 0.5 (step 100), 0.625 (step 300), best 0.75 (step 200)" in str(
        replace(RESULT, scores=scores)
    )
    assert "ndcg: 0.5 (step 100)\n" in str(replace(RESULT, scores=scores[:1]))


def test_scores_that_are_the_same_are_one_line_of_the_curve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = pytest.importorskip("matplotlib.figure")
    figures: list[Any] = []
    save = figure.Figure.savefig
    monkeypatch.setattr(figure.Figure, "savefig", lambda self, path: (figures.append(self), save(self, path)))
    hit = {"accuracy@1": 0.5, "recall@1": 0.5, "ndcg": 0.625}
    replace(RESULT, scores=((500, hit), (1000, {**hit, "ndcg": 0.5}))).plot(tmp_path / "curve.png")
    panel = figures[0].axes[1]
    labels = [text.get_text() for text in panel.get_legend().get_texts()]
    assert labels == ["accuracy@1\nrecall@1", "ndcg"]
    best = [line.get_xydata().tolist() for line in panel.lines if line.get_marker() == "o"]
    assert best == [[[500, 0.5]], [[500, 0.625]]]


def test_what_did_not_happen_is_not_in_the_summary() -> None:
    result = TrainingResult(steps=1, rows=8, seconds=0.5, losses=())
    assert str(result) == "1 step, 8 rows in 0.5 s"


def test_after_a_resume_the_steps_of_this_call_are_told() -> None:
    assert str(replace(RESULT, resumed_at=600)).startswith(
        "1,000 steps, 64,000 rows altogether, 400 of the steps in 67 min\n"
    )


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_training_curve_is_drawn(suffix: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / f"curve.{suffix}"
    RESULT.plot(picture)
    if suffix == "png":
        assert PIL.Image.open(picture).size[0] > 300
    else:
        assert "<svg" in picture.read_text(encoding="utf-8")


def test_without_losses_there_is_nothing_to_draw(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(InputError, match="no loss was logged"):
        TrainingResult(steps=1, rows=8, seconds=0.5, losses=()).plot(tmp_path / "curve.png")


def test_without_matplotlib_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(InputError, match=r"\[plots\]"):
        RESULT.plot(tmp_path / "curve.png")
