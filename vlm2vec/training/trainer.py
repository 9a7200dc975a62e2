"""`ContrastiveTrainer`: sentence-transformers' trainer, fed by sources of rows.

The loop, optimizer, schedule, logging, evaluation and checkpoints are those of transformers. Its own are
which rows make a batch, that a bad row is replaced and not lost, how ranks share their gradients, and how
a run and its adapter come back from a checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate import DistributedType
from sentence_transformers.sentence_transformer.training_args import SentenceTransformerTrainingArguments
from torch import Tensor, nn
from transformers import PrinterCallback, TrainerCallback, TrainerControl, TrainerState
from transformers.trainer import TRAINER_STATE_NAME

from vlm2vec.blocks.device import as_current, has_bfloat16
from vlm2vec.blocks.memory import empty_cache, is_out_of_memory
from vlm2vec.checkpoints.adapter import active_adapters, has_adapter, load_adapter_weights
from vlm2vec.compat import HookedTrainer, OneDeviceArguments
from vlm2vec.errors import CheckpointError, InputError, TrainingError, VLM2VecError
from vlm2vec.model_card import TrainingRun
from vlm2vec.notices import without_news
from vlm2vec.training.batches import RowBatch, RowBatches
from vlm2vec.training.loss.chunk_budget import Overflow
from vlm2vec.training.loss.grad_cache import GradCacheLoss
from vlm2vec.training.loss.random_numbers import random_state, set_random_state
from vlm2vec.training.loss.ranks import (
    OtherRankError,
    on_any_rank,
    raise_on_all_ranks,
    sum_gradients,
    to_rank_0s_values,
)
from vlm2vec.training.progress import evaluations, scores_of
from vlm2vec.training.run_card import evaluated_on
from vlm2vec.training.run_state import RunState
from vlm2vec.training.settings import FitSettings

if TYPE_CHECKING:
    from vlm2vec.training.sharded_optimizer import ShardedOptimizer

__all__ = ["ContrastiveTrainer", "trainer_arguments"]

_SHARDED = (DistributedType.FSDP, DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM)


class ContrastiveTrainer(HookedTrainer):
    """Trains a model on batches of rows with `GradCacheLoss`.

    Args:
        model: A `VLM2Vec`.
        args: As the stock trainer takes them, with `ignore_data_skip`: the batches start where they should.
        loss: Over the batches of all ranks.
        batches: Batches of this rank, endless; `args.max_steps` says when to stop.
        settings: What checkpoints say of the run, for those who resume it.
        run: What the model's card says of it.
        shard_optimizer: Whether each rank keeps a part of the optimizer's states alone.
        **options: `evaluator`, `callbacks`, `optimizers`.
    """

    def __init__(
        self,
        model: Any,
        args: OneDeviceArguments,
        *,
        loss: GradCacheLoss,
        batches: RowBatches,
        settings: Mapping[str, Any],
        run: TrainingRun,
        shard_optimizer: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(model, args, loss=loss, **options)
        if self.evaluator is not None:
            self.add_callback(_EvaluateAtTheEnd())
        accelerator = self.accelerator
        if accelerator.distributed_type in _SHARDED or getattr(accelerator, "parallelism_config", None):
            raise InputError(
                "weights cannot be sharded by FSDP, DeepSpeed, Megatron-LM or a parallelism_config: each "
                "process embeds inputs of its own, in another number of passes, and needs whole weights",
                fix="Use accelerate launch --multi_gpu. shard_optimizer=True shards the optimizer's states, "
                "which are the largest part; an adapter (lora=True) keeps them and the gradients small.",
            )
        self.batches = batches
        self.settings = settings
        self._learned: list[RowBatch] = []  # the batch of the last loss, once that is known
        model.model_card_data.start_run(replace(run, evaluated_on=evaluated_on(self.evaluator)))
        self._started, self._resumed = time.perf_counter(), False
        self._shards = shard_optimizer and args.world_size > 1
        self._sharded: ShardedOptimizer | None = None
        if self._shards:
            # Else accelerate asks the new optimizer for its states, which would have to be gathered first.
            self.accelerator.device_placement = False
        self.remove_callback(PrinterCallback)  # it would print every entry of the log as it is

    def get_train_dataloader(self) -> RowBatches:
        """The batches; they come parsed, and their media go to the device chunk by chunk."""
        return self.batches

    def train(self, resume_from_checkpoint: str | None = None, **options: Any) -> Any:
        """Train from the start, or from a complete checkpoint, at whose step the batches are."""
        if resume_from_checkpoint is not None:
            self._resumed, self.args.eval_on_start = True, False
        if resume_from_checkpoint is not None and self.batches.sampler.step >= self.args.max_steps:
            # The run had ended: one step more it is not.
            folder = Path(resume_from_checkpoint)
            self.state = TrainerState.load_from_json(str(folder / TRAINER_STATE_NAME))
            best = self.state.best_model_checkpoint if self.args.load_best_model_at_end else None
            self.restore(folder if best is None else folder.parent / Path(best).name)
            return None
        to_rank_0s_values(self.loss.parameters())
        # Before the optimizer has states: a resumed run plans as the straight one.
        self.loss.plan(checkpointing=getattr(self.args, _CHECKPOINTING))
        try:
            with as_current(self.args.device), without_news("transformers.trainer_utils", *_NO_NEWS):
                return super().train(resume_from_checkpoint, **options)
        finally:
            self._update_card()

    def create_optimizer(self, *arguments: Any) -> torch.optim.Optimizer:
        """As the stock trainer; sharded over ranks where that is wanted."""
        optimizer: torch.optim.Optimizer = super().create_optimizer(*arguments)
        if self._shards:
            from vlm2vec.training.sharded_optimizer import ShardedOptimizer

            # Groups hold all settings, so that there are no further ones to pass.
            self._sharded = ShardedOptimizer(optimizer.param_groups, type(optimizer))
            optimizer = self.optimizer = self._sharded
        return optimizer

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """As the stock trainer; before a checkpoint, the first rank gathers the optimizer's states."""
        self._update_card()
        super().save_model(output_dir, _internal_call)
        if _internal_call and self._sharded is not None and not self.args.save_only_model:
            self._sharded.consolidate_state_dict()

    def _update_card(self) -> None:
        """Let the model's card say how far the run has come."""
        best = self.state.best_global_step if self.args.load_best_model_at_end else None
        self.model.model_card_data.update_run(
            step=self.state.global_step,
            scores=tuple(evaluations(self.state.log_history)),
            kept_step=best if self.state.global_step >= self.args.max_steps else None,
            seconds=None if self._resumed else time.perf_counter() - self._started,
        )

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, RowBatch | VLM2VecError], *_: Any, **__: Any
    ) -> Tensor:
        """The loss of the global batch; a row that turns out to be bad is replaced on the way."""
        batch = inputs["batch"]
        raise_on_all_ranks(batch if isinstance(batch, VLM2VecError) else None, self.model.device)
        while True:
            try:
                with self.accelerator.autocast():
                    loss: Tensor = self.loss(batch.pairs)  # type: ignore[union-attr]
                break
            except VLM2VecError as error:
                batch = self._mended(batch, error)  # type: ignore[arg-type]
        if not loss.isfinite():
            raise TrainingError(
                f"the loss is {loss.item()} at step {self.state.global_step + 1}: training has diverged",
                fix="Lower the learning rate, and go on from a checkpoint before.",
            )
        self._learned.append(batch)  # type: ignore[arg-type]
        return loss

    def _mended(self, batch: RowBatch, error: VLM2VecError) -> RowBatch:
        """The batch to try next, after all ranks have heard of an error that one of them met."""
        final: VLM2VecError | None = None
        if not (isinstance(error, OtherRankError) and self.batches.replace):
            try:
                batch = self.batches.without(batch, error)
            except VLM2VecError as raised:
                final = raised
        raise_on_all_ranks(final, self.model.device)
        return batch

    def evaluate(self, *arguments: Any, **options: Any) -> dict[str, float]:
        """As the stock trainer; the score that says which checkpoint is best has to be there."""
        scores: dict[str, float] = super().evaluate(*arguments, **options)
        best = self.args.metric_for_best_model
        if best is not None and f"eval_{best}" not in scores:
            raise InputError(
                f'keep_best is "{best}", which is no score', fix=f"There are {', '.join(scores_of(scores))}."
            )
        return scores

    def training_step(
        self, model: nn.Module, inputs: dict[str, RowBatch | VLM2VecError], *arguments: Any, **options: Any
    ) -> Tensor:
        """Forward and backward, and then the gradients of all ranks.

        Where one of them ran out of memory on the way back, all begin the step again, for a chunk may have
        left a part of its gradients.
        """
        device = self.model.device
        drawn = random_state(device)
        while True:
            overflow = None
            self._learned.clear()
            try:
                loss: Tensor = super().training_step(model, inputs, *arguments, **options)
            except RuntimeError as error:
                if not self._learned or not is_out_of_memory(error):
                    raise
                overflow = self.loss.overflow(error)
                if overflow is None:
                    raise
            # Out here nothing refers to the failed pass and its tensors any more.
            if not on_any_rank(overflow is not None, device):
                sum_gradients(self.loss.parameters())
                return loss
            for weight in self.loss.parameters():
                weight.grad = None  # one batch makes a step, so that there was none before
            empty_cache()
            inputs = {"batch": self._shrunk(self._learned[0], overflow)}
            set_random_state(drawn, device)

    def _shrunk(self, batch: RowBatch, overflow: Overflow | None) -> RowBatch:
        """The batch to try next, after all ranks have heard of an input that alone does not fit."""
        final: VLM2VecError | None = None
        if overflow is not None:
            try:
                self.loss.budget.shrink(overflow)
            except VLM2VecError as error:
                final = error
        try:
            raise_on_all_ranks(final, self.model.device)
        except VLM2VecError as error:
            return self._mended(batch, error)
        return batch

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """As the stock trainer; an epoch is as many rows as there are."""
        rows = self.state.global_step * self.args.train_batch_size * self.args.world_size
        self.state.epoch = rows / len(self.batches.mixture)
        super().log(logs, start_time)

    def checkpoint_saved(self, folder: Path) -> None:
        """Write what resuming needs besides."""
        # The sampler is ahead: a batch is read while the one before it is used.
        sampler = {**self.batches.sampler.state_dict(), "step": self.state.global_step}
        RunState(sampler, self.loss.info_nce.log_temperature.item(), self.settings).save(folder)

    def restore(self, folder: Path) -> None:
        """Take the weights of a checkpoint, the adapter's alone where there is one."""
        network = self.model[0].model
        if has_adapter(network):
            try:
                load_adapter_weights(network, folder, active_adapters(network)[0])
            except CheckpointError as error:
                error.fix = "Resume with the lora= of the run."
                raise
        else:
            self.restore_weights(folder)
        with torch.no_grad():
            self.loss.info_nce.log_temperature.fill_(RunState.load(folder).log_temperature)


class _EvaluateAtTheEnd(TrainerCallback):  # type: ignore[misc]
    """An evaluation of the last step too, where the number of steps is no multiple of `eval_steps`."""

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.global_step >= state.max_steps:
            control.should_evaluate = True


# transformers renames it; the old name warns.
_CHECKPOINTING = next(
    name
    for name in ("activation_checkpointing", "gradient_checkpointing")
    if name in {setting.name for setting in fields(SentenceTransformerTrainingArguments)}
)

# Where a run goes on for more steps, how often it saves and evaluates follows from them; checkpoints that are
# written within a second are in order by their numbers.
_NO_NEWS = ("The following arguments do not match the ones in", "mtime may not be reliable")

# Batches, their number and their order are the sampler's, which counts them to resume.
_DECIDED = (
    "output_dir",
    "num_train_epochs",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "ignore_data_skip",
)


def trainer_arguments(
    chosen: FitSettings,
    *,
    device: torch.device,
    rows: int,
    learning_rate: float,
    folder: Path,
    evaluates: bool,
    saves: bool,
) -> OneDeviceArguments:
    """The stock trainer's arguments, for settings of `fit`.

    Args:
        chosen: The settings.
        device: Where the model is.
        rows: Of all sources.
        learning_rate: At its highest.
        folder: Where the trainer may write.
        evaluates: Whether there is something to evaluate on.
        saves: Whether checkpoints are wanted.

    Raises:
        InputError: The batch cannot be shared out evenly among the processes, the best of no checkpoints is
            asked for, or an argument is unknown or decided by `fit`.
    """
    if chosen.keep_best is not None and not (evaluates and saves):
        raise InputError("keep_best is given without eval or output_dir", fix="Pass both, or leave it out.")
    steps = chosen.steps(rows)
    bf16 = has_bfloat16(device) if chosen.bf16 is None else chosen.bf16
    eval_steps = chosen.eval_steps or max(1, steps // 10)
    # The best checkpoint can only be found where each one is scored.
    save_steps = chosen.save_steps or (eval_steps if chosen.keep_best else max(1, steps // 10))
    given: dict[str, Any] = {
        "output_dir": str(folder),
        "max_steps": steps,
        "learning_rate": learning_rate,
        "lr_scheduler_type": chosen.lr_scheduler_type,
        "warmup_steps": chosen.warmup(steps),
        "weight_decay": chosen.weight_decay,
        "max_grad_norm": chosen.max_grad_norm,
        "bf16": bf16,
        "seed": chosen.seed,
        "use_cpu": device.type == "cpu",
        "logging_steps": chosen.logging_steps or max(1, steps // 50),
        "save_strategy": "steps" if saves else "no",
        "save_steps": save_steps,
        "save_total_limit": chosen.save_total_limit,
        "eval_strategy": "steps" if evaluates else "no",
        "eval_steps": eval_steps,
        "eval_on_start": evaluates,
        "load_best_model_at_end": chosen.keep_best is not None,
        "metric_for_best_model": chosen.keep_best,
        "greater_is_better": True,
        "report_to": chosen.report_to,
        "disable_tqdm": True,  # `TrainingProgress` has a bar of its own
        "ignore_data_skip": True,  # the sampler goes to its step by itself
        "remove_unused_columns": False,
        "dataloader_drop_last": True,  # batches are all of one size; without, a warning says so
    }
    if chosen.gradient_checkpointing:
        given[_CHECKPOINTING] = True
    _check(chosen.training_arguments)
    try:
        arguments = OneDeviceArguments(**{**given, **chosen.training_arguments})
    except ValueError as error:
        raise InputError(f"transformers' trainer refuses a setting: {error}", fix="Change it.") from error
    batch_size = chosen.rows_per_batch(rows)
    if batch_size % arguments.world_size:
        raise InputError(
            f"batch_size is {batch_size}, over {arguments.world_size} processes",
            fix="Pass a multiple of their number.",
        )
    arguments.per_device_train_batch_size = batch_size // arguments.world_size
    return arguments


def _check(further: Mapping[str, Any]) -> None:
    own = [setting.name for setting in fields(FitSettings)]
    known = [setting.name for setting in fields(SentenceTransformerTrainingArguments)]
    for name in further:
        if name in own:
            raise InputError(f'"{name}" is in training_arguments', fix="Pass it to fit itself.")
        if name in _DECIDED:
            raise InputError(
                f'"{name}" is in training_arguments, and follows from other settings',
                fix="Pass output_dir, batch_size (of any size: memory does not grow with it), max_steps.",
            )
        if name in ("fsdp", "fsdp_config", "deepspeed", "parallelism_config"):
            raise InputError(
                f'"{name}" is in training_arguments, and the launcher decides it',
                fix="Use accelerate launch --multi_gpu; FSDP and DeepSpeed are not supported. "
                "shard_optimizer=True shards the optimizer's states.",
            )
        if name not in known:
            raise InputError(
                f'unknown "{name}" in training_arguments',
                fix="Pass arguments of SentenceTransformerTrainingArguments.",
            )
