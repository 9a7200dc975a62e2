"""Train the model inside the package from nothing, or score one.

    python -m vlm2vec.training.embedded --output DIR [--seed 0]
    python -m vlm2vec.training.embedded --evaluate DIR

Two stages, both by sentence-transformers' trainer on batches drawn from the drawn world: the vision tower
alone on dense targets, then everything on dense targets, captions and the contrastive loss together.
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import dataclass
from pathlib import Path

import torch
from datasets import Dataset
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from sentence_transformers.sentence_transformer.trainer import SentenceTransformerTrainer
from sentence_transformers.sentence_transformer.training_args import SentenceTransformerTrainingArguments
from torch.optim.lr_scheduler import LambdaLR

from vlm2vec import profiles
from vlm2vec.encoding.input_module import Qwen2VLInput
from vlm2vec.model import VLM2Vec
from vlm2vec.training.embedded.held_out_scores import held_out_scores, scores_table
from vlm2vec.training.embedded.network import NetworkSize, build_network
from vlm2vec.training.embedded.tokenizer import build_tokenizer
from vlm2vec.training.embedded.world_batches import Mixture, WorldCollator
from vlm2vec.training.embedded.world_loss import WorldLoss

__all__ = ["EMBEDDED_RECIPE", "Recipe", "Stage", "train"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stage:
    """A part of training.

    Attributes:
        steps: Optimizer steps.
        mixture: What each step sees.
        learning_rate: At its highest.
        warmup: Steps from zero to the highest.
        decay: Steps at the end, from the highest to nearly zero.
        with_text: Whether captions and queries take part.
    """

    steps: int
    mixture: Mixture
    learning_rate: float
    warmup: int
    decay: int
    with_text: bool


@dataclass(frozen=True)
class Recipe:
    """How a model is trained: its size, and the stages in order."""

    size: NetworkSize
    stages: tuple[Stage, ...]


EMBEDDED_RECIPE = Recipe(
    NetworkSize(),
    (
        Stage(800, Mixture(20, 10, 18), learning_rate=1.5e-3, warmup=50, decay=0, with_text=False),
        Stage(1500, Mixture(28, 12, 20), learning_rate=1.2e-3, warmup=50, decay=450, with_text=True),
    ),
)
"""The recipe of the model inside the package."""


def train(output: Path, *, seed: int = 0, recipe: Recipe = EMBEDDED_RECIPE) -> VLM2Vec:
    """Train a model from random weights and save it, in float16.

    Args:
        output: Folder for the model; `output/checkpoints` gets a copy every few minutes meanwhile.
        seed: Of weights and batches. Held-out draws of `held_out_scores` have seeds that no training has.
        recipe: Sizes and steps.

    Returns:
        The trained model, on the CPU in float32.
    """
    model = new_model(recipe.size, seed=seed)
    loss = WorldLoss(model)
    for number, stage in enumerate(recipe.stages):
        logger.info("stage %d of %d: %s", number + 1, len(recipe.stages), stage)
        # Each stage has batch seeds of its own, all even: held-out draws have odd ones.
        run_stage(
            model, loss, stage, output / "checkpoints" / f"stage-{number + 1}", seed=2 * (100 * seed + number)
        )
    save(model, output)
    return model


def new_model(size: NetworkSize, *, seed: int) -> VLM2Vec:
    """A model with random weights, the small tokenizer and the embedded profile."""
    profile = profiles.get("vlm2vec-embedded")
    prompts = {"query": profile.query_instruction or "", "document": profile.document_instruction or ""}
    tokenizer = build_tokenizer(tuple(prompt + profile.instruction_joiner for prompt in prompts.values()))
    first = Qwen2VLInput(build_network(tokenizer, size, seed=seed), tokenizer, profile)
    modules = [first, Pooling(first.get_embedding_dimension(), "lasttoken"), Normalize()]
    return VLM2Vec(modules=modules, prompts=prompts, device="cpu")


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
            model.tokenizer, model.profile, stage.mixture, seed=seed, with_text=stage.with_text
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
    parser = argparse.ArgumentParser(
        prog="python -m vlm2vec.training.embedded", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--output", type=Path, help="train, and save the model here")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and the batches (default: 0)")
    parser.add_argument("--evaluate", type=Path, metavar="DIR", help="score the model in this folder")
    options = parser.parse_args(arguments)
    if options.output is None and options.evaluate is None:
        parser.error("give --output to train, --evaluate to score, or both")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if options.output is not None:
        train(options.output, seed=options.seed)
    if options.evaluate is not None:
        scores = held_out_scores(VLM2Vec(options.evaluate, device="cpu"))
        print(scores_table(scores))  # noqa: T201


if __name__ == "__main__":
    main()
