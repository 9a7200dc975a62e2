"""Train the model inside the package from nothing, or score one.

    PYTHONPATH=examples python -m embedded_model --output DIR [--seed 0] [--new-tokenizer]
    PYTHONPATH=examples python -m embedded_model --evaluate DIR

Three stages on the drawn world: the vision tower alone on dense targets, then everything on dense targets,
captions and words, both by sentence-transformers' trainer; and then `fit`, on rows of all tasks.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from sentence_transformers.sentence_transformer.trainer import SentenceTransformerTrainer
from sentence_transformers.sentence_transformer.training_args import SentenceTransformerTrainingArguments
from torch.optim.lr_scheduler import LambdaLR
from transformers import Qwen2Tokenizer

from embedded_model.held_out_scores import held_out_scores, scores_table
from embedded_model.network import NetworkSize, build_network
from embedded_model.tokenizer import build_tokenizer
from embedded_model.world_batches import ItemCounts, WorldCollator
from embedded_model.world_loss import WorldLoss
from embedded_model.world_sources import TASKS, WorldRows, world_sources, world_texts
from vlm2vec import profiles
from vlm2vec.model import EMBEDDED_MODEL, VLM2Vec
from vlm2vec.module import InputModule
from vlm2vec.training.result import TrainingResult
from vlm2vec.training.sources.source import TrainingSource

__all__ = ["EMBEDDED_RECIPE", "Recipe", "Stage", "contrast", "train"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stage:
    """A part of training before the contrastive one.

    Attributes:
        steps: Optimizer steps.
        counts: What each step sees.
        learning_rate: At its highest.
        warmup: Steps from zero to the highest.
        decay: Steps at the end, from the highest to nearly zero.
        with_captions: Whether captions take part, or the vision tower learns alone.
    """

    steps: int
    counts: ItemCounts
    learning_rate: float
    warmup: int
    decay: int
    with_captions: bool


@dataclass(frozen=True)
class Recipe:
    """How a model is trained.

    Attributes:
        size: Of the network.
        stages: In order.
        contrastive: Settings of `fit`, which comes last.
    """

    size: NetworkSize
    stages: tuple[Stage, ...]
    contrastive: Mapping[str, Any] = field(default_factory=dict)


EMBEDDED_RECIPE = Recipe(
    NetworkSize(),
    (
        Stage(900, ItemCounts(48, 8, 14), learning_rate=1.5e-3, warmup=50, decay=0, with_captions=False),
        Stage(1000, ItemCounts(40, 8, 20), learning_rate=1.2e-3, warmup=50, decay=250, with_captions=True),
    ),
    {
        "max_steps": 1000,
        "batch_size": 128,
        "sub_batch_size": 16,
        "learning_rate": 1e-3,
        "warmup_steps": 50,
        "weight_decay": 0.02,
        "temperature": 0.05,
        "learn_temperature": True,
        "freeze_vision": True,
        "training_arguments": {"adam_beta2": 0.98},
    },
)
"""What trains the model inside the package; `docs/embedded_model.md` says of which recipe its weights are."""

_EVERYTHING = 10**6
"""More tokens than a batch has: graphs of so small a network fit in memory, and nothing is computed twice."""

_SCORED = ("text-to-image", "text-to-clip", "text-to-page")
"""Tasks of whose held-out rows the training curve shows the scores."""


def train(
    output: Path, *, seed: int = 0, recipe: Recipe = EMBEDDED_RECIPE, tokenizer: Qwen2Tokenizer | None = None
) -> tuple[VLM2Vec, TrainingResult]:
    """Train a model from random weights and save it, in float16.

    Args:
        output: Folder for the model; `output/checkpoints` gets copies meanwhile.
        seed: Of weights and batches. Held-out draws of `held_out_scores` have seeds that no training has.
        recipe: Sizes, stages and settings.
        tokenizer: Of the model; that of the package by default.

    Returns:
        The trained model, on the CPU in float32, and what `fit` says of its stage.
    """
    model = new_model(recipe.size, seed=seed, tokenizer=tokenizer)
    loss = WorldLoss(model)
    for number, stage in enumerate(recipe.stages):
        logger.info("stage %d: %s", number + 1, stage)
        # Each stage has batch seeds of its own, all even: held-out draws have odd ones.
        run_stage(
            model, loss, stage, output / "checkpoints" / f"stage-{number + 1}", seed=2 * (100 * seed + number)
        )
    logger.info("the contrastive stage: %s", recipe.contrastive)
    result = contrast(model, recipe.contrastive, output / "checkpoints" / "contrastive", seed=seed)
    save(model, output)
    return model, result


def contrast(
    model: VLM2Vec, settings: Mapping[str, Any], output: Path, *, seed: int, scored_rows: int = 100
) -> TrainingResult:
    """The contrastive stage: `fit` on rows of all tasks.

    Args:
        model: Trained in place.
        settings: Of `fit`.
        output: Folder for checkpoints.
        seed: Of rows and batches.
        scored_rows: Held-out rows of each task that the curve shows.
    """
    held_out = [
        TrainingSource(task.name, WorldRows(task.draw, (2 * seed + 1, number), scored_rows))
        for number, task in enumerate(TASKS)
        if task.name in _SCORED
    ]
    return model.fit(
        world_sources(seed),
        eval=held_out,
        output_dir=output,
        seed=seed,
        check_rows=False,  # to look at a row is to draw it
        kept_tokens=_EVERYTHING,
        **settings,
    )


def new_model(size: NetworkSize, *, seed: int, tokenizer: Qwen2Tokenizer | None = None) -> VLM2Vec:
    """A model with random weights and the embedded profile.

    Args:
        size: Widths and depths.
        seed: Of the weights.
        tokenizer: By default that of the package, so that weights stay comparable when rows are drawn anew.
    """
    profile = profiles.get("vlm2vec-embedded")
    prompts = {"query": profile.query_instruction or "", "document": profile.document_instruction or ""}
    tokenizer = tokenizer or Qwen2Tokenizer.from_pretrained(EMBEDDED_MODEL)
    first = InputModule(build_network(tokenizer, size, seed=seed), tokenizer, profile)
    modules = [first, Pooling(first.get_embedding_dimension(), "lasttoken"), Normalize()]
    return VLM2Vec(modules=modules, prompts=prompts, device="cpu")


def new_tokenizer() -> Qwen2Tokenizer:
    """The small tokenizer, learned from what is said in the rows of all tasks."""
    profile = profiles.get("vlm2vec-embedded")
    prompts = (profile.query_instruction or "", profile.document_instruction or "")
    return build_tokenizer(tuple(prompt + profile.instruction_joiner for prompt in prompts), world_texts())


def run_stage(model: VLM2Vec, loss: WorldLoss, stage: Stage, output: Path, *, seed: int) -> None:
    """Train one stage with sentence-transformers' trainer; one row of its dataset is one step."""
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(output),
        max_steps=stage.steps,
        per_device_train_batch_size=1,
        max_grad_norm=1.0,
        seed=seed,
        use_cpu=True,
        logging_steps=20,
        save_steps=100,
        save_total_limit=1,
        save_only_model=True,
        report_to="none",
        disable_tqdm=True,
    )
    # The loss holds the model too, so its parameters are all there are.
    weights = [weight for weight in loss.parameters() if weight.ndim > 1]
    biases = [weight for weight in loss.parameters() if weight.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": weights, "weight_decay": 0.02}, {"params": biases, "weight_decay": 0.0}],
        lr=stage.learning_rate,
        betas=(0.9, 0.98),
        fused=True,
    )
    trainer = SentenceTransformerTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_dict({"step": list(range(stage.steps))}),
        loss=loss,
        data_collator=WorldCollator(
            model.tokenizer, model.profile, stage.counts, seed=seed, with_captions=stage.with_captions
        ),
        optimizers=(optimizer, LambdaLR(optimizer, lambda step: _warm_stable_decay(step, stage))),
    )
    trainer.train()


def _warm_stable_decay(step: int, stage: Stage) -> float:
    """Share of the highest learning rate at a step: up, level, and down to a fiftieth."""
    up = (step + 1) / stage.warmup if stage.warmup else 1.0
    down = (stage.steps - step) / stage.decay if stage.decay else 1.0
    return min(up, 1.0, max(down, 0.02))


def save(model: VLM2Vec, output: Path) -> None:
    """Save a model in float16, which halves its size; it is loaded, and stays, in float32."""
    model[0].model.half()
    model.save_pretrained(str(output), create_model_card=False)
    model[0].model.float()
    model[0].model.config.dtype = torch.float32
    model[0].model.config.save_pretrained(output)


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m embedded_model", description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, help="train, and save the model here")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and the batches (default: 0)")
    parser.add_argument(
        "--new-tokenizer", action="store_true", help="learn a tokenizer too, in place of that of the package"
    )
    parser.add_argument("--curve", type=Path, help="draw the contrastive stage's training curve here")
    parser.add_argument("--evaluate", type=Path, metavar="DIR", help="score the model in this folder")
    options = parser.parse_args(arguments)
    if options.output is None and options.evaluate is None:
        parser.error("give --output to train, --evaluate to score, or both")
    if options.output is None and (options.new_tokenizer or options.curve is not None):
        parser.error("--new-tokenizer and --curve are for training: give --output too")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if options.output is not None:
        tokenizer = new_tokenizer() if options.new_tokenizer else None
        _, result = train(options.output, seed=options.seed, tokenizer=tokenizer)
        print(result)
        if options.curve is not None:
            first_hits(result).plot(options.curve)
    if options.evaluate is not None:
        scores = held_out_scores(VLM2Vec(options.evaluate, device="cpu"))
        print(scores_table(scores))


def first_hits(result: TrainingResult) -> TrainingResult:
    """The result with Hit@1 of each task as its only scores."""
    ending = "_cosine_accuracy@1"
    scores = (
        (step, {name.removesuffix(ending): value for name, value in named.items() if name.endswith(ending)})
        for step, named in result.scores
    )
    return replace(result, scores=tuple(scores))


if __name__ == "__main__":
    main()
