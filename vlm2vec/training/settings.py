"""Settings of `fit`: their defaults, what they mean, and which make no sense."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from vlm2vec.arguments import is_finite, one_of, whole_number
from vlm2vec.blocks.device import LARGE
from vlm2vec.describe import describe_value
from vlm2vec.errors import InputError
from vlm2vec.training.lora import LoRA
from vlm2vec.training.setting_names import check_setting_names

__all__ = ["FitSettings"]

_SMALL = 10**8
_MIN_STEPS = 100
_SUB_BATCH = 64
_SWITCHES = (
    *("learn_temperature", "symmetric", "freeze_vision", "bf16", "gradient_checkpointing"),
    *("shard_optimizer", "shuffle", "check_rows", "show_progress_bar"),
)


@dataclass(frozen=True)
class FitSettings:
    """Everything about training but the model and the data.

    A recipe's `training` has the same names.

    Attributes:
        batch_size: Rows of a global batch, over all ranks; 64, or all rows if there are fewer.
        sub_batch_size: Rows of a sub-batch, all of one source: the largest divisor of the batch up to 64
            (VLM2Vec-V2, section 3.4). With 0 each row draws its own source.
        max_steps: Optimizer steps.
        epochs: The same, in passes over all rows; by default 3, and 100 steps at least.
        learning_rate: At its highest. By default 5e-5 with an adapter (VLM2Vec-V2's script), else 2e-5; for
            networks of less than 100 million parameters 1e-3 and 5e-4.
        temperature: What similarities are divided by (VLM2Vec-V2, section 4.1).
        learn_temperature: Whether it is learned.
        symmetric: Also ask each document for its query.
        false_negative_margin: See `InfoNCE`.
        hardness: See `InfoNCE`.
        matryoshka_dims: See `InfoNCE`.
        lora: `True` or `LoRA(...)` trains an adapter, `False` all weights; `None` an adapter from a billion
            parameters on. A model that has one goes on training it.
        freeze_vision: Leave the vision tower as it is. It then runs once a step instead of twice.
        lr_scheduler_type: As transformers names them.
        warmup_steps: Steps up to the highest learning rate, or their share where it is below 1.
        weight_decay: Of AdamW.
        max_grad_norm: Longer gradients are shortened to it.
        bf16: Compute in bfloat16, with weights that learn in float32; by default where a GPU has it.
        gradient_checkpointing: Keep less of each chunk, and compute it again.
        chunk_size: Inputs that are embedded at a time at most; the result does not depend on it.
        max_tokens_per_chunk: Tokens that are embedded at a time, and patches where the vision tower learns:
            4,096, and on CUDA what free memory allows, 1,024 to 16,384.
        kept_tokens: Of how many the graphs are kept and not computed again, which takes memory and saves
            time: as many as a chunk has, which takes no more than embedding one again does.
        shard_optimizer: Let each of several processes keep a part of the optimizer's states alone (ZeRO,
            arXiv:1910.02054, stage 1). What is learned is the same.
        shuffle: Whether rows are drawn in a random order, new in every pass.
        seed: Of batches, adapters and dropout.
        check_rows: Look at all rows before training.
        on_error: What a bad row does: "raise" ends training and names it; "skip" counts it, and another row
            of its source takes its place.
        logging_steps: Steps between two entries of the training curve; by default a fiftieth of all.
        eval_steps: Steps between two evaluations; by default a tenth of all.
        save_steps: Steps between two checkpoints; by default a tenth of all.
        save_total_limit: Checkpoints to keep.
        keep_best: A score of the evaluation, such as "cosine_ndcg@10": at the end, go back to the checkpoint
            where it was highest. It needs `eval` and `output_dir`.
        report_to: Where transformers' trainer reports to, such as "wandb".
        show_progress_bar: By default only in a terminal.
        training_arguments: Further arguments of `SentenceTransformerTrainingArguments`.

    Raises:
        InputError: A setting has the wrong type or lies outside its range.
    """

    batch_size: int | None = None
    sub_batch_size: int | None = None
    max_steps: int | None = None
    epochs: float | None = None
    learning_rate: float | None = None
    temperature: float = 0.02
    learn_temperature: bool = False
    symmetric: bool = False
    false_negative_margin: float | None = None
    hardness: float = 0.0
    matryoshka_dims: tuple[int, ...] = ()
    lora: bool | LoRA | Mapping[str, Any] | None = None
    freeze_vision: bool = False
    lr_scheduler_type: str = "linear"
    warmup_steps: float = 0.1
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    bf16: bool | None = None
    gradient_checkpointing: bool = False
    chunk_size: int | None = None
    max_tokens_per_chunk: int | None = None
    kept_tokens: int | None = None
    shard_optimizer: bool = False
    shuffle: bool = True
    seed: int = 42
    check_rows: bool = True
    on_error: Literal["raise", "skip"] = "raise"
    logging_steps: int | None = None
    eval_steps: int | None = None
    save_steps: int | None = None
    save_total_limit: int = 3
    keep_best: str | None = None
    report_to: str | list[str] = "none"
    show_progress_bar: bool | None = None
    training_arguments: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("batch_size", "max_steps", "chunk_size", "max_tokens_per_chunk"):
            self._check_whole(name, minimum=1)
        for name in ("sub_batch_size", "kept_tokens", "seed"):
            self._check_whole(name, minimum=0)
        for name in ("logging_steps", "eval_steps", "save_steps"):
            self._check_whole(name, minimum=1)
        # Two, because the older one goes before the newer one is known to be complete.
        self._check_whole("save_total_limit", minimum=2)
        for name in ("epochs", "learning_rate", "max_grad_norm"):
            value = getattr(self, name)
            if value is not None and not (is_finite(value) and value > 0):
                raise self._wrong(name, "Pass a number above 0.")
        for name in ("warmup_steps", "weight_decay"):
            if not (is_finite(getattr(self, name)) and getattr(self, name) >= 0):
                raise self._wrong(name, "Pass a number of at least 0.")
        for name in _SWITCHES:
            # A text such as "no" would count as true.
            if not isinstance(getattr(self, name), (bool, type(None))):
                raise self._wrong(name, "Pass true or false.")
        if not isinstance(self.matryoshka_dims, (list, tuple)):
            raise self._wrong("matryoshka_dims", "Pass a list of numbers, [256, 512].")
        if not isinstance(self.training_arguments, Mapping):
            raise self._wrong("training_arguments", "Pass a dict of them.")
        if self.max_steps is not None and self.epochs is not None:
            raise InputError("both max_steps and epochs are given", fix="Pass one of them.")
        one_of("on_error", self.on_error, ("raise", "skip"))
        object.__setattr__(self, "matryoshka_dims", tuple(self.matryoshka_dims))
        if self.lora is not None and not isinstance(self.lora, bool):
            object.__setattr__(self, "lora", LoRA.of(self.lora))

    @classmethod
    def of(cls, *layers: Mapping[str, Any]) -> FitSettings:
        """Settings by name; what a later layer has goes before an earlier one.

        Raises:
            InputError: A name is unknown, besides what the constructor raises.

        Example:
            >>> FitSettings.of({"batch_size": 8, "seed": 1}, {"seed": 2}).seed
            2
        """
        known = [setting.name for setting in fields(cls)]
        check_setting_names((name for layer in layers for name in layer), known)
        given = {name: value for layer in layers for name, value in layer.items()}
        if "max_steps" in layers[-1] or "epochs" in layers[-1]:
            # One of both in a call replaces the other one of a recipe.
            given = {
                name: value
                for name, value in given.items()
                if name not in ("max_steps", "epochs") or name in layers[-1]
            }
        return cls(**given)

    def deciding(self) -> dict[str, Any]:
        """What decides what is learned, beside rows and batches, as plain values."""
        names = (
            *("learning_rate", "lr_scheduler_type", "warmup_steps", "weight_decay", "max_grad_norm", "seed"),
            *("temperature", "learn_temperature", "symmetric", "false_negative_margin", "hardness"),
            *("freeze_vision", "bf16"),
        )
        return {
            **{name: getattr(self, name) for name in names},
            "matryoshka_dims": list(self.matryoshka_dims),
        }

    def rows_per_batch(self, rows: int) -> int:
        """The size of a global batch."""
        return self.batch_size if self.batch_size is not None else min(64, rows)

    def rows_per_sub_batch(self, batch_size: int, *, sources: int) -> int:
        """The size of a sub-batch, of so many sources."""
        if self.sub_batch_size is not None:
            return self.sub_batch_size
        if sources == 1:
            return 0  # the same batches, which any number of ranks can share
        return next(size for size in range(min(_SUB_BATCH, batch_size), 0, -1) if batch_size % size == 0)

    def steps(self, rows: int) -> int:
        """Optimizer steps."""
        if self.max_steps is not None:
            return self.max_steps
        epochs = 3 if self.epochs is None else self.epochs
        steps = math.ceil(epochs * rows / self.rows_per_batch(rows))
        return steps if self.epochs is not None else max(steps, _MIN_STEPS)

    def warmup(self, steps: int) -> int:
        """Steps up to the highest learning rate, of so many."""
        return int(self.warmup_steps * steps if self.warmup_steps < 1 else self.warmup_steps)

    def adapter(self, parameters: int, targets: tuple[str, ...]) -> LoRA | None:
        """The adapter to add to a network of so many parameters, by default to these layers."""
        wanted = parameters >= LARGE if self.lora is None else self.lora
        if isinstance(wanted, bool):
            return LoRA(target_modules=targets) if wanted else None
        return LoRA.of(wanted)

    def highest_learning_rate(self, parameters: int, *, adapter: bool) -> float:
        """The learning rate, for a network of so many parameters."""
        if self.learning_rate is not None:
            return self.learning_rate
        if adapter:
            return 1e-3 if parameters < _SMALL else 5e-5
        return 5e-4 if parameters < _SMALL else 2e-5

    def _check_whole(self, name: str, *, minimum: int) -> None:
        if getattr(self, name) is not None:
            whole_number(name, getattr(self, name), minimum=minimum)

    def _wrong(self, name: str, fix: str) -> InputError:
        return InputError(f"{name} is {describe_value(getattr(self, name))}", fix=fix)
