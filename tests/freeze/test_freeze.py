"""No move of code changes what it computes: vectors, losses, batches, scores, error texts are as frozen.

What changes on purpose is frozen anew, with its line in CHANGELOG.md: `python tests/freeze/frozen_cases.py`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import frozen_cases as cases
import numpy as np
import PIL.Image
import pytest

from vlm2vec import VLM2Vec, mmeb
from vlm2vec.training import LoRA


def frozen(name: str) -> Any:
    return json.loads((cases.FROZEN / f"{name}.json").read_text(encoding="utf-8"))


def assert_as_frozen(found: dict[str, np.ndarray], kind: Callable[[str], bool]) -> None:
    with np.load(cases.FROZEN / "vectors.npz") as expected:
        assert list(found) == list(filter(kind, expected))
        far = {name: np.abs(found[name] - expected[name]).max() for name in found}
    # Processors round differently, and a random network amplifies that.
    assert {name: by for name, by in far.items() if not by < 2e-5} == {}


def test_vectors_are_as_frozen() -> None:
    assert_as_frozen(cases.vectors(), lambda name: not name.startswith("profile/"))


LARGE_PICTURES = {"lamra-ret", "vlm2vec-v1-qwen2vl"}


@pytest.mark.parametrize(
    "family",
    [pytest.param(name, marks=pytest.mark.slow if name in LARGE_PICTURES else ()) for name in cases.FAMILIES],
)
def test_vectors_of_a_family_are_as_frozen(family: str) -> None:
    name = f"profile/{family}"
    assert_as_frozen({name: cases.vectors_of_family(family)}, name.__eq__)


def test_losses_of_twenty_steps_are_as_frozen() -> None:
    found, expected = cases.losses(), frozen("losses")
    assert found.keys() == expected.keys()
    for name in expected:
        assert len(expected[name]) == 20
        # AdamW turns the rounding of a gradient near 0 into a step of any sign.
        assert found[name] == pytest.approx(expected[name], rel=2e-3, abs=2e-3), name
        assert found[name][:2] == pytest.approx(expected[name][:2], rel=1e-4), name


def test_batches_are_as_frozen() -> None:
    assert cases.batches() == frozen("batches")


@pytest.mark.slow
def test_scores_of_the_mini_suite_are_as_frozen() -> None:
    assert cases.mini_scores() == pytest.approx(frozen("mini_scores"))


def test_error_texts_are_as_frozen() -> None:
    found, expected = cases.error_texts(), frozen("error_texts")
    assert {name: found[name] for name in expected if found.get(name) != expected[name]} == {}
    assert found.keys() == expected.keys()
    assert "no error" not in found.values()


SAVED = Path(__file__).parent / "saved"
"""Written by commit bc1a770: a model, a run of `fit` with an adapter that starts from it, results of MMEB."""

INPUTS = ["a red ring", PIL.Image.fromarray(cases.PICTURE)]
ROWS = [{"query": f"word {index}", "document": f"thing {index}"} for index in range(8)]


def assert_vectors_of(model: VLM2Vec, name: str) -> None:
    with np.load(SAVED / "vectors.npz") as expected:
        np.testing.assert_allclose(model.encode(INPUTS), expected[name], atol=5e-6)


def test_saved_models_open() -> None:
    assert_vectors_of(VLM2Vec(SAVED / "model", device="cpu"), "model")
    assert_vectors_of(VLM2Vec(SAVED / "run", base_model=SAVED / "model", device="cpu"), "run")


def test_a_run_goes_on_from_its_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(SAVED, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    model = VLM2Vec("model", device="cpu")
    result = model.fit(
        ROWS,
        max_steps=4,
        batch_size=4,
        lora=LoRA(r=2),
        output_dir="run",
        resume=True,
        show_progress_bar=False,
    )
    assert result.steps == 4
    assert_vectors_of(model, "run")


def test_stored_results_are_read_and_not_computed_again(tmp_path: Path) -> None:
    shutil.copytree(SAVED / "results", tmp_path, dirs_exist_ok=True)

    def never(*_: Any) -> np.ndarray:
        raise AssertionError("it is computed again")

    tasks = ["mini-I-CLS", "mini-VD"]
    results = mmeb.evaluate(never, tasks, name="words", output_dir=tmp_path, show_progress_bar=False)
    assert results.scores == json.loads((SAVED / "scores.json").read_text(encoding="utf-8"))
