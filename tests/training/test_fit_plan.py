"""Plans: what they say is what `fit` does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerCallback

from vlm2vec import VLM2Vec
from vlm2vec.errors import CheckpointError, InputError
from vlm2vec.model import EMBEDDED_MODEL
from vlm2vec.training import FitSettings, LoRA, Mixture, TrainingSource
from vlm2vec.training.fit_plan import FitPlan, plan_fit
from vlm2vec.training.network_outline import network_outline


def rows(count: int) -> list[dict[str, Any]]:
    return [{"query": f"query {number}", "document": f"document {number}"} for number in range(count)]


def mixture(**training: Any) -> Mixture:
    sources = [TrainingSource("pets", rows(10), weight=3), TrainingSource("numbers", rows(40), weight=1)]
    return Mixture(sources, training=training)


def plan(
    given: Mixture | None = None, *, device: str = "cpu", known: bool = True, **settings: Any
) -> FitPlan:
    given = given or mixture()
    network = network_outline(EMBEDDED_MODEL) if known else None
    chosen = FitSettings.of(given.training, settings)
    return plan_fit(given, chosen, model="the small one", network=network, device=device)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"freeze_vision": True},
        {"lora": True},
        {"lora": LoRA(r=4, use_dora=False)},
        {"learning_rate": 1e-4},
    ],
)
def test_parameters_and_learning_rate_are_those_of_fit(settings: dict[str, Any]) -> None:
    planned = plan(**settings).network
    model = VLM2Vec(device="cpu")
    parameters = sum(weight.numel() for weight in model.parameters())
    seen: list[tuple[int, float]] = []

    class Begin(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            learned = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
            seen.append((learned, args.learning_rate))

    model.fit(rows(8), max_steps=1, callbacks=[Begin()], show_progress_bar=False, **settings)
    assert planned is not None
    assert (planned.parameters, [(planned.learned, planned.learning_rate)]) == (parameters, seen)


def test_an_outline_has_the_networks_shapes_and_no_weights() -> None:
    outline = network_outline(EMBEDDED_MODEL)
    network = VLM2Vec(device="cpu")[0].model
    assert {name: weight.shape for name, weight in outline.named_parameters()} == {
        name: weight.shape for name, weight in network.named_parameters()
    }
    assert {weight.device for weight in outline.parameters()} == {torch.device("meta")}


def test_an_adapters_outline_is_that_of_its_base(tmp_path: Path) -> None:
    model = VLM2Vec(device="cpu")
    model.fit(rows(8), max_steps=1, lora=LoRA(r=2), output_dir=tmp_path, show_progress_bar=False)
    outline = network_outline(tmp_path)
    assert len(list(outline.parameters())) == len(list(VLM2Vec(device="cpu").parameters()))


def test_outlines_that_cannot_be(tmp_path: Path) -> None:
    assert network_outline("somebody/no-such-model") is None
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(CheckpointError, match="'bert' model"):
        network_outline(tmp_path)


def test_steps_and_passes() -> None:
    given = plan(batch_size=20, sub_batch_size=5, max_steps=10, known=False)
    assert (given.batch_size, given.sub_batch_size, given.steps) == (20, 5, 10)
    # 200 rows are drawn, three quarters of them from the first source.
    assert given.passes == (150 / 10, 50 / 40)
    text = str(given)
    assert "20 rows: 4 sub-batches of 5, each of one source" in text
    assert "10: 200 rows, 4.0 passes over the data, from 1.2 over numbers to 15.0 over pets" in text
    assert "pets" in text.splitlines()[1]
    assert "75.00%" in text.splitlines()[1]


def test_batches_are_described_as_they_are_drawn() -> None:
    assert "20 rows, each of a source that it draws" in str(plan(batch_size=20, sub_batch_size=0))
    assert "20 rows: 1 sub-batch of 20, each" in str(plan(batch_size=20))
    one = Mixture([TrainingSource("pets", rows(10))])
    assert "batch     4 rows\n" in str(plan(one, batch_size=4))


def test_the_text_says_what_learns() -> None:
    assert "all weights, 3," in str(plan())
    assert "all weights but the vision tower's" in str(plan(freeze_vision=True))
    assert "an adapter (DoRA, r 16, alpha 64)" in str(plan(lora=True))
    assert "an adapter (LoRA, r 4, alpha 64)" in str(plan(lora={"r": 4, "use_dora": False}))


def test_what_is_not_known_is_said_to_be_so() -> None:
    text = str(plan(known=False))
    assert "learns    what its size decides" in text
    assert "not known: the model's config.json is not at hand" in text
    assert "rate      its default" in text
    assert "learns    an adapter" in str(plan(known=False, lora=True))
    assert "learns    all weights" in str(plan(known=False, lora=False))


def test_a_gpu_takes_half_weights() -> None:
    cpu, gpu = plan(lora=True).network, plan(lora=True, device="cuda").network
    assert cpu is not None
    assert gpu is not None
    assert gpu.memory.weights < 0.6 * cpu.memory.weights
    assert plan(max_tokens_per_chunk=64).network.chunk == 64  # type: ignore[union-attr]


def test_an_adapter_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(InputError, match=r"no layer .no_such_layer."):
        plan(lora={"target_modules": ["no_such_layer"]})
