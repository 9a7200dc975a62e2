"""`fit`, as a user calls it: it learns, in place, from rows of anything, and names what is wrong."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from accelerate import DistributedType
from datasets import Dataset, DatasetDict
from sentence_transformers.base.evaluation import BaseEvaluator
from transformers import TrainerCallback

from vlm2vec import VLM2Vec
from vlm2vec.errors import (
    CheckpointError,
    InputError,
    MediaError,
    TrainingError,
    VLM2VecError,
    VLM2VecWarning,
)
from vlm2vec.training import LoRA, Mixture
from vlm2vec.training.evaluation import row_evaluator
from vlm2vec.training.sources import TrainingSource
from vlm2vec.training.trainer import ContrastiveTrainer

COLOURS = {"red": (220, 40, 40), "blue": (40, 60, 220), "green": (40, 180, 70), "black": (10, 10, 10)}
WORDS = {"red": "flim", "blue": "blat", "green": "quop", "black": "zarn"}


def picture(colour: str, size: int = 56) -> PIL.Image.Image:
    return PIL.Image.new("RGB", (size, size), COLOURS[colour])


def rows() -> list[dict[str, Any]]:
    return [
        {"query": WORDS[colour], "document": picture(colour, size)}
        for colour in COLOURS
        for size in (56, 84, 112, 140)
    ]


def quiet(model: VLM2Vec, train: Any, **settings: Any) -> Any:
    return model.fit(train, **{"max_steps": 3, "show_progress_bar": False, **settings})


def weights(model: VLM2Vec) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def losses(result: Any) -> list[float]:
    return [loss for _, loss in result.losses]


def assert_encodes(model: VLM2Vec, expected: np.ndarray) -> None:
    np.testing.assert_allclose(model.encode(["flim", picture("red")]), expected, atol=4e-6)


class Stop(TrainerCallback):  # type: ignore[misc]
    """Ends training as a killed process would, without a last word."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self.step:
            raise KeyboardInterrupt


def test_new_words_are_learned() -> None:
    model = VLM2Vec()
    scores = row_evaluator(rows())
    before = scores(model)["cosine_accuracy@1"]
    result = quiet(model, rows(), max_steps=40, logging_steps=1)
    after = scores(model)["cosine_accuracy@1"]
    assert before < 0.8
    assert after == 1.0
    assert result.steps == 40
    assert result.rows == 40 * 16
    assert losses(result)[-1] < 0.5 * losses(result)[0]
    assert not model.training


def test_training_is_a_function_of_its_seed() -> None:
    results = []
    for seed in (1, 1, 2):
        model = VLM2Vec()
        results.append(losses(quiet(model, rows(), batch_size=8, logging_steps=1, seed=seed)))
    assert results[0] == results[1] != results[2]


@pytest.mark.slow
def test_chunks_do_not_change_what_is_learned() -> None:
    results = []
    for settings in ({"chunk_size": 1, "kept_tokens": 0}, {"chunk_size": 16, "kept_tokens": 10**6}):
        model = VLM2Vec()
        results.append((losses(quiet(model, rows(), logging_steps=1, **settings)), weights(model)))
    (one, first), (other, second) = results
    assert one[0] == pytest.approx(other[0], rel=1e-6)
    # AdamW turns the rounding of a gradient near 0 into a step of any sign.
    assert one == pytest.approx(other, rel=1e-4)
    for name, weight in first.items():
        assert (weight - second[name]).abs().mean() < 1e-5, name


def test_nothing_is_written_without_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    quiet(VLM2Vec(), rows(), max_steps=1)
    assert list(tmp_path.iterdir()) == []


def test_the_folder_holds_the_trained_model(tmp_path: Path) -> None:
    model = VLM2Vec()
    result = quiet(model, rows(), output_dir=tmp_path / "run", save_steps=2)
    assert result.output_dir == str(tmp_path / "run")
    again = VLM2Vec(tmp_path / "run")
    np.testing.assert_allclose(again.encode(["flim"]), model.encode(["flim"]), atol=5e-7)
    assert (tmp_path / "run" / "checkpoint-2").is_dir()


@pytest.mark.parametrize("model_only", [True, False])
def test_checkpoints_of_the_model_alone_have_no_states(tmp_path: Path, model_only: bool) -> None:
    further = {"save_only_model": model_only}
    quiet(VLM2Vec(), rows(), output_dir=tmp_path, max_steps=1, training_arguments=further)
    assert (tmp_path / "checkpoint-1" / "optimizer.pt").exists() == (not model_only)


def test_one_process_has_nothing_to_share(tmp_path: Path) -> None:
    quiet(VLM2Vec(), rows(), output_dir=tmp_path, max_steps=1, shard_optimizer=True)
    assert (tmp_path / "checkpoint-1" / "optimizer.pt").exists()


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, marks=pytest.mark.slow),
        {"lora": LoRA(r=4, dropout=0.3)},
        pytest.param({"learn_temperature": True}, marks=pytest.mark.slow),
    ],
)
def test_resuming_equals_the_straight_run(tmp_path: Path, settings: dict[str, Any]) -> None:
    settings = {"batch_size": 8, "max_steps": 6, "save_steps": 2, "logging_steps": 1, **settings}
    straight = VLM2Vec()
    expected = quiet(straight, rows(), **settings)
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        quiet(VLM2Vec(), rows(), output_dir=folder, callbacks=[Stop(3)], **settings)
    resumed = VLM2Vec()
    result = quiet(resumed, rows(), output_dir=folder, resume=True, **settings)
    assert result.steps == 6
    assert losses(result)[-4:] == pytest.approx(losses(expected)[-4:], abs=1e-6)
    for name, weight in weights(straight).items():
        torch.testing.assert_close(weights(resumed)[name], weight, atol=1e-6, rtol=0)


def test_a_checkpoint_that_was_cut_off_is_not_resumed_from(tmp_path: Path) -> None:
    quiet(VLM2Vec(), rows(), output_dir=tmp_path, max_steps=4, save_steps=2)
    (tmp_path / "checkpoint-4" / "vlm2vec_run.json").unlink()
    steps: list[int] = []

    class First(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            steps.append(state.global_step)

    with pytest.warns(
        VLM2VecWarning, match="checkpoint-4: this checkpoint was not written to its end"
    ) as said:
        quiet(VLM2Vec(), rows(), output_dir=tmp_path, max_steps=4, resume=True, callbacks=[First()])
    assert steps == [2]
    assert "so the run goes on from checkpoint-2" in str(said[0].message)
    with pytest.raises(CheckpointError, match="no complete checkpoint"):
        quiet(VLM2Vec(), rows(), output_dir=tmp_path, max_steps=4, resume=tmp_path, lora=True)


def test_resuming_a_run_that_had_ended_changes_nothing(tmp_path: Path) -> None:
    first = VLM2Vec()
    expected = quiet(first, rows(), output_dir=tmp_path, logging_steps=1)
    again = VLM2Vec()
    result = quiet(again, rows(), output_dir=tmp_path, resume=True)
    assert (result.steps, result.resumed_at, losses(result)) == (3, 3, losses(expected))
    assert expected.resumed_at == 0
    assert all(torch.equal(weight, weights(first)[name]) for name, weight in weights(again).items())


def test_resuming_with_other_settings_is_an_error(tmp_path: Path) -> None:
    quiet(VLM2Vec(), rows(), output_dir=tmp_path, max_steps=1)
    others: dict[str, Any] = {"temperature": 0.05, "learning_rate": 1e-3, "matryoshka_dims": [64]}
    for name, other in others.items():
        with pytest.raises(InputError, match=f"{name} is .*, and the run began with"):
            quiet(VLM2Vec(), rows(), output_dir=tmp_path, max_steps=2, resume=True, **{name: other})
    assert quiet(VLM2Vec(), rows(), output_dir=tmp_path, max_steps=2, resume=True, save_steps=1).steps == 2


def test_resuming_with_other_rows_is_an_error(tmp_path: Path) -> None:
    quiet(VLM2Vec(), rows(), output_dir=tmp_path, max_steps=1)
    with pytest.raises(InputError, match="other source_sizes"):
        quiet(VLM2Vec(), rows()[1:], output_dir=tmp_path, max_steps=2, resume=True)


def test_resuming_with_a_row_that_was_changed_names_it(tmp_path: Path) -> None:
    words = [{"query": word, "document": f"a {colour} circle"} for colour, word in WORDS.items()]
    quiet(VLM2Vec(), words, output_dir=tmp_path, max_steps=1)
    quiet(VLM2Vec(), words, output_dir=tmp_path, max_steps=2, resume=True, save_steps=1)
    words[2] = {**words[2], "document": "a grey circle"}
    with pytest.warns(VLM2VecWarning, match="train, row 2 is another than when the run began"):
        quiet(VLM2Vec(), words, output_dir=tmp_path, max_steps=3, resume=True)


def test_a_batch_of_more_rows_than_there_are_is_said(caplog: pytest.LogCaptureFixture) -> None:
    few = rows()[::4]  # of another colour each
    quiet(VLM2Vec(), few, batch_size=len(few) + 2, max_steps=1)
    said = f"batch_size is {len(few) + 2}, and there are {len(few)} rows: each batch has rows more than once"
    assert said in caplog.text
    caplog.clear()
    quiet(VLM2Vec(), few, max_steps=1)
    assert "batch_size" not in caplog.text


def test_bad_rows_are_found_before_training(tmp_path: Path) -> None:
    good = rows()
    for bad, message in (
        ({"query": "flim", "document": tmp_path / "missing.png"}, "does not exist"),
        ({"query": "", "document": "a red circle"}, "the query is empty"),
        ({"document": "a red circle"}, "no query"),
        ({"query": "flim", "document": "a", "negatives": ["a"]}, "is the document itself"),
    ):
        model = VLM2Vec()
        before = weights(model)
        with pytest.raises(VLM2VecError, match=f"pets, row 5: .*{message}"):
            quiet(model, {"pets": [*good[:5], bad, *good[5:]]})
        assert all(torch.equal(weight, before[name]) for name, weight in weights(model).items())


def test_rows_without_any_negative_are_told_before_training() -> None:
    model = VLM2Vec()
    before = weights(model)
    for train in (rows()[:1], {"pets": [*rows()[:1], {"query": "", "document": "a red circle"}]}):
        with pytest.raises(InputError, match=r"there is one row\. Pass more rows"):
            quiet(model, train, on_error="skip")
    assert all(torch.equal(weight, before[name]) for name, weight in weights(model).items())
    assert quiet(model, [{**rows()[0], "negatives": ["a red circle"]}], max_steps=1).steps == 1


def test_skipped_rows_are_counted_and_batches_stay_whole(tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    given = [*rows(), {"query": "flim"}, {"query": "blat", "document": broken}]
    sizes: list[int] = []

    class Sizes(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            sizes.append(len(seen[-1].queries))

    seen: list[Any] = []
    model = VLM2Vec()
    import vlm2vec.training.fit as module

    class Seeing(module.GradCacheLoss):
        def forward(self, pairs: Any) -> torch.Tensor:
            loss = super().forward(pairs)
            seen.append(pairs)
            return loss

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "GradCacheLoss", Seeing)
        result = quiet(model, given, batch_size=8, max_steps=6, on_error="skip", callbacks=[Sizes()])
    assert sizes == [8] * 6
    assert result.skipped == {"train": 2}
    with pytest.raises(MediaError, match=r"train, row 16: .*broken.png"):
        quiet(VLM2Vec(), [*rows(), given[-1]], batch_size=17)


def test_sources_and_recipes_give_the_settings() -> None:
    mixture = Mixture(
        [TrainingSource("pets", rows()), TrainingSource("more", rows(), weight=3)],
        training={"batch_size": 8, "sub_batch_size": 4, "max_steps": 2, "temperature": 0.1},
    )
    result = VLM2Vec().fit(mixture, show_progress_bar=False)
    assert (result.steps, result.rows) == (2, 16)
    assert VLM2Vec().fit(mixture, epochs=0.5, show_progress_bar=False).steps == 2


def test_an_adapter_is_trained_saved_and_merged(tmp_path: Path) -> None:
    model = VLM2Vec()
    before = weights(model)
    quiet(model, rows(), lora=LoRA(r=4), output_dir=tmp_path / "adapter", learning_rate=1e-2)
    learned = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert learned
    assert all("lora_" in name for name in learned)
    for name, weight in weights(model).items():
        if (plain := name.replace(".base_layer", "")) in before:
            assert torch.equal(weight, before[plain])
    trained = model.encode(["flim", picture("red")])
    assert np.abs(trained - VLM2Vec().encode(["flim", picture("red")])).max() > 1e-3
    assert (tmp_path / "adapter" / "adapter_config.json").is_file()
    assert_encodes(VLM2Vec(tmp_path / "adapter"), trained)
    model.merge_adapter()
    assert set(weights(model)) == set(before)
    assert_encodes(model, trained)
    model.save_pretrained(str(tmp_path / "merged"))
    assert_encodes(VLM2Vec(tmp_path / "merged"), trained)
    quiet(model, rows(), max_steps=1)


def test_the_adapter_of_a_model_is_not_taken_for_another() -> None:
    model = VLM2Vec()
    lora = LoRA(r=2, target_modules=("v_proj", "q_proj"))
    quiet(model, rows(), lora=lora, max_steps=1)
    for other, message in (
        (False, "lora is False"),
        (LoRA(r=4, target_modules=lora.target_modules), "other r"),
        (LoRA(r=2), "other target_modules"),
    ):
        with pytest.raises(InputError, match=message):
            quiet(model, rows(), lora=other, max_steps=1)
    for same in (None, True, lora, LoRA(r=2, target_modules=("q_proj", "v_proj"))):
        quiet(model, rows(), lora=same, max_steps=1)


@pytest.mark.parametrize(
    ("of_the_run", "now", "message"),
    [
        (LoRA(r=2), LoRA(r=4), "other r"),
        (LoRA(r=2), LoRA(r=2, alpha=2), "other alpha"),
        (LoRA(r=2), None, "there is an adapter"),
        (None, LoRA(r=2), "there is no adapter"),
    ],
)
def test_resuming_with_another_adapter_is_an_error(
    tmp_path: Path, of_the_run: LoRA | None, now: LoRA | None, message: str
) -> None:
    quiet(VLM2Vec(), rows(), lora=of_the_run, output_dir=tmp_path, max_steps=1)
    model = VLM2Vec()
    with pytest.raises(CheckpointError, match=message):
        quiet(model, rows(), lora=now, output_dir=tmp_path, max_steps=2, resume=True)
    quiet(model, rows(), lora=of_the_run, output_dir=tmp_path, max_steps=2, resume=True)


def test_another_run_is_not_mixed_with_what_is_in_the_folder(tmp_path: Path) -> None:
    quiet(VLM2Vec(), rows(), output_dir=tmp_path, max_steps=2)
    with pytest.raises(InputError, match="checkpoints of another run"):
        quiet(VLM2Vec(), rows(), output_dir=tmp_path, max_steps=1, seed=7)


def test_a_frozen_vision_tower_stays_as_it_is() -> None:
    model = VLM2Vec()
    before = weights(model)
    quiet(model, rows(), freeze_vision=True)
    changed = {name for name, weight in weights(model).items() if not torch.equal(weight, before[name])}
    assert changed
    assert not any(".visual." in name for name in changed)


def test_gradient_checkpointing_learns_the_same() -> None:
    results = []
    for checkpointing in (False, True):
        model = VLM2Vec()
        results.append(losses(quiet(model, rows(), gradient_checkpointing=checkpointing, logging_steps=1)))
    assert results[0] == pytest.approx(results[1], rel=1e-5)


@pytest.mark.parametrize("lora", [None, LoRA(r=2)])
def test_gradient_checkpointing_ends_with_training(lora: LoRA | None) -> None:
    model = VLM2Vec()
    quiet(model, rows(), gradient_checkpointing=True, lora=lora, max_steps=1)
    assert not any(getattr(module, "gradient_checkpointing", False) for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.slow
def test_bfloat16_learns_with_weights_in_float32() -> None:
    model = VLM2Vec()
    result = quiet(model, rows(), bf16=True, max_steps=10, logging_steps=1)
    assert losses(result)[-1] < losses(result)[0]
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    exact = VLM2Vec()
    np.testing.assert_allclose(losses(result)[0], losses(quiet(exact, rows(), max_steps=1))[0], rtol=0.05)


def test_held_out_rows_are_scored_meanwhile() -> None:
    result = quiet(VLM2Vec(), rows(), eval=rows()[::4], max_steps=5, eval_steps=2)
    assert [step for step, _ in result.scores] == [0, 2, 4, 5]  # before, and after the last one
    assert "cosine_accuracy@1" in result.scores[0][1]
    assert "cosine_accuracy@1" in str(result)


def test_all_splits_of_a_dataset_are_not_trained_on_together() -> None:
    words = Dataset.from_list([{"query": "a flim", "document": "a red circle"}])
    splits = DatasetDict(train=words, test=words)
    with pytest.raises(InputError, match="all splits are given: train, test"):
        quiet(VLM2Vec(), splits, max_steps=1)


def test_a_learned_temperature_is_told() -> None:
    result = quiet(VLM2Vec(), rows(), max_steps=2, temperature=0.05, learn_temperature=True)
    assert result.temperature == pytest.approx(0.05, rel=0.05)
    assert result.temperature != 0.05
    assert "temperature 0.0" in str(result)


class Falling(BaseEvaluator):  # type: ignore[misc]
    """An evaluator of sentence-transformers to whom every step makes the model worse."""

    def __call__(self, model: Any, output_path: Any = None, epoch: float = -1, steps: int = -1) -> Any:
        return {"score": -float(steps)}


def test_a_best_score_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r'keep_best is "ndcg", which is no score. There are .*score'):
        quiet(VLM2Vec(), rows(), eval=Falling(), output_dir=tmp_path, max_steps=1, keep_best="ndcg")


def test_the_best_checkpoint_comes_back(tmp_path: Path) -> None:
    model = VLM2Vec()
    settings = {"max_steps": 3, "eval_steps": 1, "save_steps": 1, "keep_best": "score"}
    result = quiet(model, rows(), eval=Falling(), output_dir=tmp_path, **settings)
    assert [scores["score"] for _, scores in result.scores] == [0, -1, -2, -3]
    assert result.kept_step == 1
    assert "the model is that of step 1" in str(result)
    best = weights(VLM2Vec(tmp_path / "checkpoint-1"))
    assert all(torch.equal(weight, best[name]) for name, weight in weights(model).items())
    again = VLM2Vec()
    quiet(again, rows(), eval=Falling(), output_dir=tmp_path, resume=True, **settings)
    assert all(torch.equal(weight, best[name]) for name, weight in weights(again).items())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_sise": 4}, "Did you mean batch_size"),
        ({"batch_size": 0}, "batch_size"),
        ({"max_steps": 3, "epochs": 1}, "both max_steps and epochs"),
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"lora": {"rank": 4}}, "rank"),
        ({"lora": LoRA(target_modules=("no_such_layer",))}, "no layer .no_such_layer."),
        ({"on_error": "ignore"}, "on_error"),
        ({"resume": True}, "output_dir"),
        ({"sub_batch_size": 5, "batch_size": 8}, "multiple of sub_batch_size"),
        ({"lr_scheduler_type": "lineal"}, "lineal"),
        ({"symmetric": "no"}, "symmetric"),
        ({"matryoshka_dims": 64}, "matryoshka_dims"),
        ({"training_arguments": {"adam_beta3": 0.9}}, 'unknown "adam_beta3"'),
        ({"training_arguments": {"seed": 7}}, "Pass it to fit itself"),
        ({"training_arguments": {"gradient_accumulation_steps": 2}}, "follows from other settings"),
        ({"training_arguments": {"per_device_train_batch_size": 2}}, "follows from other settings"),
        ({"training_arguments": {"fsdp": True}}, "accelerate launch"),
        ({"training_arguments": {"parallelism_config": None}}, "accelerate launch"),
        ({"training_arguments": {"deepspeed": "zero3.json"}}, "DeepSpeed are not supported"),
    ],
)
def test_settings_that_make_no_sense_are_errors(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        quiet(VLM2Vec(), rows(), **settings)


def test_weights_sharded_by_fsdp_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    create = ContrastiveTrainer.create_accelerator_and_postprocess

    def launched_with_fsdp(self: ContrastiveTrainer) -> None:
        create(self)
        # As accelerate launch --use_fsdp makes it on several GPUs.
        self.accelerator.state.distributed_type = DistributedType.FSDP

    monkeypatch.setattr(ContrastiveTrainer, "create_accelerator_and_postprocess", launched_with_fsdp)
    with pytest.raises(InputError, match=r"cannot be sharded by FSDP.*shard_optimizer=True"):
        quiet(VLM2Vec(device="cpu"), rows())


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": -1.0},
        {"hardness": "much"},
        {"report_to": "nobody"},
        {"resume": "nowhere", "output_dir": "here"},
        {"training_arguments": {"optim": "no such"}},
    ],
)
def test_what_is_wrong_is_found_before_the_model_is_touched(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = VLM2Vec(model_kwargs={"dtype": "bfloat16"})
    before = weights(model)
    with pytest.raises((VLM2VecError, ValueError)):
        quiet(model, rows(), lora=LoRA(r=2), **settings)
    after = weights(model)
    assert list(after) == list(before)
    assert {weight.dtype for weight in after.values()} == {torch.bfloat16}
    assert all(weight.requires_grad for weight in model.parameters())


@pytest.mark.parametrize("train", [[], None, 7, "rows.jsonl", {"pets": []}])
def test_what_is_no_rows_is_an_error(train: Any) -> None:
    with pytest.raises(InputError):
        quiet(VLM2Vec(), train)


class InTurn:
    """Batches of four neighbouring rows of the one source, one after the other."""

    def __init__(self, *, source_sizes: list[int], batch_size: int, **settings: Any) -> None:
        assert (source_sizes, batch_size, settings["rank"], settings["world_size"]) == ([16], 4, 0, 1)
        self.step = 0
        self.drawn: list[int] = []

    def __next__(self) -> list[tuple[int, int]]:
        self.drawn.append(self.step)
        self.step += 1
        return [(0, (4 * self.drawn[-1] + row) % 16) for row in range(4)]

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.step = state["step"]


def test_a_sampler_of_ones_own_draws_the_batches_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[InTurn] = []
    embedded: list[list[str]] = []

    def make(**arguments: Any) -> InTurn:
        made.append(InTurn(**arguments))
        return made[-1]

    compute_loss = ContrastiveTrainer.compute_loss

    def seen(self: ContrastiveTrainer, model: Any, inputs: dict[str, Any], *rest: Any, **others: Any) -> Any:
        embedded.append([each.row.query.parts[0].text for each in inputs["batch"].drawn])
        return compute_loss(self, model, inputs, *rest, **others)

    monkeypatch.setattr(ContrastiveTrainer, "compute_loss", seen)
    for steps in (3, 5):
        quiet(
            VLM2Vec(),
            rows(),
            batch_size=4,
            batch_sampler=make,
            max_steps=steps,
            output_dir=tmp_path,
            save_steps=1,
            resume=steps == 5,
        )
    queries = [row["query"] for row in rows()]
    assert embedded == [queries[0:4], queries[4:8], queries[8:12], queries[12:16], queries[0:4]]
    assert [sampler.drawn[0] for sampler in made] == [0, 3]


def test_what_is_no_sampler_is_refused_before_training() -> None:
    with pytest.raises(InputError, match="batch_sampler gave list of 1"):
        quiet(VLM2Vec(), rows(), batch_sampler=lambda **_: [[(0, 0), (0, 1)]])


def test_a_loss_that_is_no_number_ends_training(tmp_path: Path) -> None:
    model = VLM2Vec()
    with pytest.raises(TrainingError, match=r"the loss is nan at step \d+: training has diverged"):
        quiet(model, rows(), learning_rate=1e8, max_steps=8, output_dir=tmp_path, save_steps=1)


def test_an_adapter_of_the_embedded_model_is_loaded_wherever_the_package_is(tmp_path: Path) -> None:
    model = VLM2Vec()
    quiet(model, rows(), lora=LoRA(r=2), output_dir=tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text(encoding="utf-8"))
    assert "assets" not in config["base_model_name_or_path"]
    np.testing.assert_allclose(VLM2Vec(tmp_path).encode(["flim"]), model.encode(["flim"]), atol=4e-6)


def test_an_adapter_needs_a_base_that_is_saved_somewhere(tmp_path: Path) -> None:
    model = VLM2Vec()
    quiet(model, rows(), max_steps=1)
    with pytest.raises(InputError, match="saved nowhere"):
        quiet(model, rows(), lora=True, output_dir=tmp_path / "adapter")
    model.save_pretrained(str(tmp_path / "base"))
    quiet(model, rows(), lora=True, output_dir=tmp_path / "adapter")
    np.testing.assert_allclose(
        VLM2Vec(tmp_path / "adapter").encode(["flim"]), model.encode(["flim"]), atol=4e-6
    )


def test_two_runs_never_write_into_one_folder(tmp_path: Path) -> None:
    """The second is refused while the first is at work, and nothing of the first is touched."""
    refused: list[str] = []

    class Second(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step:
                return
            with pytest.raises(InputError, match="another run is writing into this folder") as caught:
                quiet(VLM2Vec(device="cpu"), rows(), output_dir=tmp_path)
            refused.append(str(caught.value))

    result = quiet(VLM2Vec(device="cpu"), rows(), output_dir=tmp_path, callbacks=[Second()])
    assert result.steps == 3
    assert str(tmp_path) in refused[0]
    again = quiet(VLM2Vec(device="cpu"), rows(), output_dir=tmp_path, resume=True, max_steps=4)
    assert again.resumed_at == 3


@pytest.mark.slow
def test_a_run_that_was_killed_leaves_its_folder_free(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "from transformers import TrainerCallback\n"
        "from vlm2vec import VLM2Vec\n"
        "class Kill(TrainerCallback):\n"
        "    def on_step_begin(self, args, state, control, **_):\n"
        "        if state.global_step == 2: os.kill(os.getpid(), signal.SIGKILL)\n"
        "rows = [{'query': str(i), 'document': str(-i)} for i in range(1, 9)]\n"
        "VLM2Vec(device='cpu').fit(rows, output_dir=sys.argv[1], max_steps=3, save_steps=1, batch_size=4,\n"
        "    show_progress_bar=False, callbacks=[Kill()])\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, capture_output=True)
    assert ended.returncode == -signal.SIGKILL
    train = [{"query": str(i), "document": str(-i)} for i in range(1, 9)]
    options = {"save_steps": 1, "batch_size": 4, "output_dir": tmp_path, "resume": True}
    assert quiet(VLM2Vec(device="cpu"), train, **options).resumed_at == 2


@pytest.mark.slow
def test_nothing_is_left_open_after_training() -> None:
    code = (
        "import gc, warnings\n"
        "from PIL import Image\n"
        "from vlm2vec import VLM2Vec\n"
        "noise = [Image.effect_noise((56, 56), i).convert('RGB') for i in range(9)]\n"
        "rows = [{'query': picture, 'document': str(i)} for i, picture in enumerate(noise)]\n"
        "model = VLM2Vec(device='cpu')\n"
        "model.fit(rows, eval=rows, max_steps=2, batch_size=3, freeze_vision=True, kept_tokens=0,\n"
        "    show_progress_bar=False)\n"
        "del model\n"
        "gc.collect()\n"
    )
    command = [sys.executable, "-X", "dev", "-W", "always::ResourceWarning", "-c", code]
    ended = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "ResourceWarning" not in ended.stderr
