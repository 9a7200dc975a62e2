"""What a model's card tells of a training: data, settings and what is evaluated, in words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import sentence_transformers
import torch
import transformers
from sentence_transformers.sentence_transformer.training_args import SentenceTransformerTrainingArguments

from vlm2vec._version import __version__
from vlm2vec.model_card import RunSource, TrainingRun
from vlm2vec.training.lora import LoRA
from vlm2vec.training.settings import FitSettings

if TYPE_CHECKING:
    from vlm2vec.training.data.mixture import Mixture

__all__ = ["evaluated_on", "run_of"]


def run_of(
    mixture: Mixture,
    chosen: FitSettings,
    arguments: SentenceTransformerTrainingArguments,
    *,
    lora: LoRA | None,
    adapter: bool,
    device: torch.device,
) -> TrainingRun:
    """A training that is about to begin. No path of this machine is in it.

    Args:
        mixture: What is trained on.
        chosen: Settings of `fit`.
        arguments: Of transformers' trainer.
        lora: The adapter that is added, if one is.
        adapter: Whether an adapter learns, added or there before.
        device: Where the model is.
    """
    plan = mixture.plan(chosen)
    sources = tuple(
        RunSource(line.source, line.rows, line.share, _homepage(source))
        for line, source in zip(plan.sources, mixture.sources, strict=True)
    )
    batches = plan.batches
    assert batches is not None  # noqa: S101  # settings were given
    passes = arguments.max_steps * batches.batch_size / plan.rows
    batch = f"{batches.batch_size:,} rows"
    sub_batches = batches.sub_batch_size > 0 and len(sources) > 1
    if sub_batches:
        batch += f", in sub-batches of {batches.sub_batch_size:,} of one source"
    warmup = f"{int(arguments.warmup_steps):,} steps of warm-up"
    gradient = f"gradients of a norm of {chosen.max_grad_norm:g} at most"
    settings = {
        "steps": f"{arguments.max_steps:,}: {passes:,.1f} passes over the rows",
        "batch": batch,
        "loss": ", ".join(_loss(chosen)),
        "optimizer": f"{_optimizer(arguments)}, learning rate "
        f"{arguments.learning_rate:g} ({chosen.lr_scheduler_type}, {warmup}), weight decay "
        f"{chosen.weight_decay:g}, {gradient}",
        "precision": "bfloat16, weights that learn in float32" if arguments.bf16 else "float32",
        "seed": str(chosen.seed),
        "devices": _devices(device, arguments.world_size),
        "versions": f"vlm2vec {__version__}, sentence-transformers {sentence_transformers.__version__}, "
        f"transformers {transformers.__version__}, torch {torch.__version__}",
    }
    return TrainingRun(
        sources=sources,
        steps=arguments.max_steps,
        what_learned=_what_learned(lora, adapter=adapter, freeze_vision=chosen.freeze_vision),
        settings=tuple(settings.items()),
        papers=tuple(_papers(chosen, lora, sub_batches=sub_batches)),
    )


def _what_learned(lora: LoRA | None, *, adapter: bool, freeze_vision: bool) -> str:
    if lora is not None:
        quantised = ", upon weights in 4 bits" if lora.quantise else ""
        kind = "DoRA" if lora.use_dora else "LoRA"
        form = f"rank {lora.r}, alpha {lora.alpha}, dropout {lora.dropout:g}"
        return f"a {kind} adapter learned ({form}) on {', '.join(lora.target_modules)}{quantised}"
    if adapter:
        return "the adapter that was there learned"
    return "all weights learned, but for the vision tower" if freeze_vision else "all weights learned"


def _loss(chosen: FitSettings) -> Iterator[str]:
    yield "InfoNCE among all rows of a batch"
    learned = " at first, which is learned" if chosen.learn_temperature else ""
    yield f"temperature {chosen.temperature:g}{learned}"
    if chosen.symmetric:
        yield "in both directions"
    if chosen.hardness:
        yield f"hardness {chosen.hardness:g}"
    if chosen.false_negative_margin is not None:
        yield f"false negatives left out by a margin of {chosen.false_negative_margin:g}"
    if chosen.matryoshka_dims:
        yield f"Matryoshka at {', '.join(map(str, chosen.matryoshka_dims))} dimensions"
    yield "embedded in chunks by GradCache"


def _optimizer(arguments: SentenceTransformerTrainingArguments) -> str:
    name = str(getattr(arguments.optim, "value", arguments.optim))
    return "AdamW" if name.startswith("adamw_torch") else name


def _papers(chosen: FitSettings, lora: LoRA | None, *, sub_batches: bool) -> Iterator[str]:
    yield from ("oord2018cpc", "gao2021gradcache")
    if sub_batches:
        yield "meng2025vlm2vecv2"
    if lora is not None:
        yield "liu2024dora" if lora.use_dora else "hu2022lora"
    if chosen.matryoshka_dims:
        yield "kusupati2022matryoshka"


def _devices(device: torch.device, count: int) -> str:
    if device.type != "cuda":
        return f"{count} x {device.type.upper()}"
    return f"{count} x {torch.cuda.get_device_name(device)}"


def evaluated_on(evaluator: Any) -> str:
    """Numbers of queries and documents, of evaluators that say them."""
    said = []
    for one in getattr(evaluator, "evaluators", [evaluator]):
        queries, corpus = getattr(one, "queries", None), getattr(one, "corpus", None)
        if queries and corpus:
            name = f"{one.name}: " if getattr(one, "name", "") else ""
            said.append(f"{name}{len(queries):,} queries among {len(corpus):,} documents")
    return "; ".join(said)


def _homepage(source: Any) -> str:
    """Where the rows of a source are published, if it or its `datasets.Dataset` knows."""
    if source.homepage:
        return str(source.homepage)
    rows = getattr(source.rows, "records", source.rows)
    for url in getattr(rows, "download_checksums", None) or ():
        if found := re.match(r"hf://datasets/([^/]+/[^/@]+)", url):
            return f"https://huggingface.co/datasets/{found[1]}"
    return ""
