"""A step that runs out of memory goes on in smaller chunks, and teaches what it would have taught."""

from __future__ import annotations

import gc
import logging
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from little_memory import LittleMemory, Where
from transformers import TrainerCallback

from vlm2vec import VLM2Vec
from vlm2vec.errors import OutOfMemoryError
from vlm2vec.training import LoRA

NEAR = 1e-5  # lengths of a difference, in lengths of what is expected
LONG = " ".join(["word"] * 150)
RANDOM = np.random.default_rng(3)
ROWS: list[dict[str, Any]] = [
    {
        "query": f"a picture of {number} " + "and more " * number,
        "document": PIL.Image.fromarray(RANDOM.integers(0, 256, (56, 84, 3), dtype=np.uint8)),
    }
    for number in range(6)
]


class Gradients(TrainerCallback):  # type: ignore[misc]
    """Those of each step."""

    def __init__(self) -> None:
        self.steps: list[dict[str, torch.Tensor]] = []

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any, **_: Any) -> None:
        named = model.named_parameters()
        self.steps.append({name: one.grad.clone() for name, one in named if one.grad is not None})


def learned(
    memory: LittleMemory | None = None, rows: Any = ROWS, *, seed: int = 0, **settings: Any
) -> tuple[list[float], list[dict[str, torch.Tensor]]]:
    """Losses and gradients of two steps."""
    model, gradients = VLM2Vec(device="cpu"), Gradients()
    given = {"max_steps": 2, "logging_steps": 1, "show_progress_bar": False, **settings}
    with (memory or LittleMemory(10**6, "first pass")).of(model):
        result = model.fit(rows, callbacks=[gradients], seed=seed, **given)
    return [loss for _, loss in result.losses], gradients.steps


def distance(ours: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> float:
    assert ours.keys() == expected.keys()
    squares = sum(float((ours[name] - expected[name]).double().square().sum()) for name in expected)
    return (squares / sum(float(one.double().square().sum()) for one in expected.values())) ** 0.5


@pytest.fixture(scope="module")
def expected() -> tuple[list[float], list[dict[str, torch.Tensor]]]:
    return learned()


@pytest.fixture(autouse=True)
def nothing_is_left_to_the_garbage_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


CASES: dict[Where, dict[str, Any]] = {
    "first pass": {"kept_tokens": 0},
    "kept graph": {},
    "kept graphs": {"chunk_size": 1, "kept_tokens": 10**6},
    "kept backward": {},
    "second pass": {"kept_tokens": 0},
    "backward": {"kept_tokens": 0},
}


@pytest.mark.parametrize("where", CASES)
def test_a_step_without_room_is_made_in_smaller_chunks_and_teaches_the_same(
    where: Where, expected: Any, caplog: pytest.LogCaptureFixture
) -> None:
    memory = LittleMemory(100, where)
    with caplog.at_level(logging.WARNING):
        losses, gradients = learned(memory, **CASES[where])
    assert losses == pytest.approx(expected[0], rel=1e-5)
    assert distance(gradients[0], expected[1][0]) <= NEAR
    said = [record.getMessage() for record in caplog.records if "Out of memory" in record.getMessage()]
    # Once for each attempt that failed; the second step knows from the first.
    assert 1 <= len(said) == memory.failures <= 3
    setting = "kept_tokens" if where == "kept graphs" else "max_tokens_per_chunk"
    advice = re.search(rf"{setting}=(\d+) avoids", said[-1])
    assert advice is not None
    assert memory.left_over == 0
    # What is advised is enough.
    advised = LittleMemory(100, where)
    learned(advised, **{**CASES[where], setting: int(advice[1]), "max_steps": 1})
    assert advised.failures == 0


@pytest.mark.parametrize("where", ["first pass", "backward"])
def test_with_dropout_it_is_the_run_that_had_smaller_chunks_from_the_start(
    where: Where, caplog: pytest.LogCaptureFixture
) -> None:
    settings: dict[str, Any] = {"lora": LoRA(r=4, dropout=0.5, use_dora=False), "kept_tokens": 0}
    with caplog.at_level(logging.WARNING):
        losses, gradients = learned(LittleMemory(100, where), **settings)
    chunk = int(caplog.text.rpartition("max_tokens_per_chunk=")[2].split()[0])
    from_the_start = learned(max_tokens_per_chunk=chunk, **settings)
    assert losses == from_the_start[0]
    for ours, theirs in zip(gradients, from_the_start[1], strict=True):
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("where", ["first pass", "second pass", "backward"])
def test_one_input_without_room_is_named_or_replaced(where: Where) -> None:
    rows = [*ROWS[:4], {"query": "long", "document": LONG}, *ROWS[4:]]
    settings: dict[str, Any] = {"batch_size": len(rows), "kept_tokens": 0, "shuffle": False}
    with pytest.raises(OutOfMemoryError, match=r"row 4.*even alone.*gradient_checkpointing=True"):
        learned(LittleMemory(110, where), rows, **settings)
    model = VLM2Vec(device="cpu")
    with LittleMemory(110, where).of(model):
        result = model.fit(rows, max_steps=1, on_error="skip", show_progress_bar=False, **settings)
    assert result.skipped == {"train": 1}


def test_another_error_on_the_way_back_is_not_taken_for_want_of_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(self: Any, tensor: torch.Tensor) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(LittleMemory, "_fail", fail)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        learned(LittleMemory(100, "backward"), kept_tokens=0)
