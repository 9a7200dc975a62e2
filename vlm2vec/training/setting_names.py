"""What a setting that `fit` has not is called here, or what to do instead."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields

from vlm2vec.arguments import close_match
from vlm2vec.errors import InputError

__all__ = ["check_lora_names", "check_report_to", "check_setting_names"]

# Names of transformers, sentence-transformers, peft and papers -> those of `fit`.
_CALLED = {
    **dict.fromkeys(("num_train_epochs", "num_epochs"), "epochs"),
    **dict.fromkeys(("per_device_train_batch_size", "train_batch_size"), "batch_size"),
    **dict.fromkeys(("steps", "num_steps", "max_train_steps"), "max_steps"),
    **dict.fromkeys(("warmup", "warmup_ratio"), "warmup_steps"),
    **dict.fromkeys(("metric_for_best_model", "load_best_model_at_end"), "keep_best"),
    **dict.fromkeys(("eval_dataset", "eval_rows", "evaluator"), "eval"),
    **dict.fromkeys(("output", "output_path"), "output_dir"),
    "lr": "learning_rate",
    "tau": "temperature",
    "train_dataset": "train",
    "eval_strategy": "eval_steps",
    "save_strategy": "save_steps",
    "scheduler": "lr_scheduler_type",
    "mini_batch_size": "chunk_size",
    "resume_from_checkpoint": "resume",
    "peft_config": "lora",
}
_INSTEAD = {
    "device": 'Load the model there: VLM2Vec(..., device="cuda").',
    **dict.fromkeys(("dtype", "fp16"), "Weights that learn are float32, and bf16 computes in bfloat16."),
    **dict.fromkeys(("r", "rank", "lora_r"), "Pass lora=LoRA(r=8)."),
    "lora_alpha": "Pass lora=LoRA(alpha=16).",
    "scale": "A scale of 20 is temperature=0.05.",
    "loss": "It is InfoNCE: temperature, symmetric, hardness, matryoshka_dims and others change it.",
    "gradient_accumulation_steps": "Pass the whole batch_size: memory does not grow with it.",
}
_OF_FIT = ("train", "eval", "output_dir", "resume", "batch_sampler", "callbacks")

_CALLED_IN_LORA = {
    **dict.fromkeys(("rank", "lora_r", "lora_rank"), "r"),
    "lora_alpha": "alpha",
    "lora_dropout": "dropout",
    "dora": "use_dora",
    "targets": "target_modules",
    **dict.fromkeys(("quantize", "load_in_4bit"), "quantise"),
}

# Of transformers' reporters, what to install where that is not their name.
_PACKAGES = {"azure_ml": "azureml-mlflow", "comet_ml": "comet-ml"}


def check_setting_names(given: Iterable[str], known: Sequence[str]) -> None:
    """Refuse a setting that there is none of, and say what it is called here.

    Args:
        given: Names of settings.
        known: The names that there are.

    Raises:
        InputError: A name is unknown.

    Example:
        >>> check_setting_names(["num_train_epochs"], ["epochs", "max_steps"])
        Traceback (most recent call last):
        vlm2vec.errors.InputError: unknown setting "num_train_epochs". It is called epochs here.
    """
    for name in given:
        if name not in known:
            raise InputError(f'unknown setting "{name}"', fix=_fix(name, known))


def _fix(name: str, known: Sequence[str]) -> str:
    if name in _INSTEAD:
        return _INSTEAD[name]
    if name in _CALLED:
        return f"It is called {_CALLED[name]} here."
    if name in _names_of_transformers():
        return f'Pass it in training_arguments={{"{name}": ...}}.'
    close = close_match(name, [*known, *_OF_FIT], cutoff=0.7)
    return f"Did you mean {close}?" if close else f"There are {', '.join(known)}."


def _names_of_transformers() -> set[str]:
    from sentence_transformers.sentence_transformer.training_args import SentenceTransformerTrainingArguments

    return {setting.name for setting in fields(SentenceTransformerTrainingArguments)}


def check_lora_names(given: Iterable[str], known: Sequence[str]) -> None:
    """The same of settings of `LoRA`.

    Raises:
        InputError: A name is unknown.

    Example:
        >>> check_lora_names(["rank"], ["r", "alpha"])
        Traceback (most recent call last):
        vlm2vec.errors.InputError: lora: unknown "rank". It is called r here.
    """
    for name in given:
        if name not in known:
            meant = _CALLED_IN_LORA.get(name)
            close = close_match(name, known)
            fix = f"Did you mean {close}?" if close else f"There are {', '.join(known)}."
            raise InputError(
                f'lora: unknown "{name}"', fix=f"It is called {meant} here." if meant in known else fix
            )


def check_report_to(report_to: str | Sequence[str] | None) -> None:
    """Refuse a program to report to that transformers does not know, or that is not installed.

    Raises:
        InputError: It is one of these.
    """
    from transformers.integrations import get_available_reporting_integrations
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    known, installed = list(INTEGRATION_TO_CALLBACK), get_available_reporting_integrations()
    for name in [report_to] if isinstance(report_to, str) else report_to or ():
        if name in ("none", "all"):
            continue
        if name not in known:
            close = close_match(name, known)
            fix = f'Did you mean "{close}"?' if close else f"There are {', '.join(known)}."
            raise InputError(f'report_to is "{name}", which transformers does not know', fix=fix)
        if name not in installed and name != "flyte":  # which transformers does not look for
            raise InputError(
                f'report_to is "{name}", which is not installed',
                fix=f"Install it: pip install {_PACKAGES.get(name, name)}.",
            )
