"""What sentence-transformers' trainer is told, from settings of `fit`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from sentence_transformers.sentence_transformer.training_args import SentenceTransformerTrainingArguments

from vlm2vec.errors import InputError
from vlm2vec.modeling.device import has_bfloat16
from vlm2vec.training.fit_settings import FitSettings

__all__ = ["trainer_arguments"]

# transformers renames it; the old name warns.
_CHECKPOINTING = next(
    name
    for name in ("activation_checkpointing", "gradient_checkpointing")
    if name in {each.name for each in fields(SentenceTransformerTrainingArguments)}
)

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
) -> SentenceTransformerTrainingArguments:
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
    show = chosen.show_progress_bar
    if show is None:
        show = sys.stderr.isatty()
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
        "load_best_model_at_end": chosen.keep_best is not None,
        "metric_for_best_model": chosen.keep_best,
        "greater_is_better": True,
        "report_to": chosen.report_to,
        "disable_tqdm": not show,
        "ignore_data_skip": True,  # the sampler goes to its place by itself
        "remove_unused_columns": False,
        "dataloader_drop_last": True,  # batches are all of one size; without, a warning says so
    }
    if chosen.gradient_checkpointing:
        given[_CHECKPOINTING] = True
    _check(chosen.training_arguments)
    try:
        arguments = SentenceTransformerTrainingArguments(**{**given, **chosen.training_arguments})
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
    own = [each.name for each in fields(FitSettings)]
    known = [each.name for each in fields(SentenceTransformerTrainingArguments)]
    for name in further:
        if name in own:
            raise InputError(f'"{name}" is in training_arguments', fix="Pass it to fit itself.")
        if name in _DECIDED:
            raise InputError(
                f'"{name}" is in training_arguments, and follows from other settings',
                fix="Pass output_dir, batch_size (of any size: memory does not grow with it), max_steps.",
            )
        if name in ("fsdp", "fsdp_config", "deepspeed"):
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
