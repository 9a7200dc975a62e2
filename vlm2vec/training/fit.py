"""`fit`: from rows to a trained model. What each step is made of lies beside this file."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from accelerate.utils import gather_object
from transformers import PreTrainedModel

from vlm2vec.arguments import possible_path
from vlm2vec.atomic_write import full_disk_named
from vlm2vec.backbones.layout import Layout
from vlm2vec.backbones.registry import LAYOUTS, layout_of, vision_weights
from vlm2vec.backbones.stock.layout import StockLayout
from vlm2vec.checkpoints.adapter import check_not_base, has_adapter
from vlm2vec.compat import OneDeviceArguments
from vlm2vec.describe import describe_value
from vlm2vec.errors import InputError
from vlm2vec.folder_lock import locked
from vlm2vec.inputs.access import Allowed
from vlm2vec.launch import launched
from vlm2vec.notices import between_bars, warn, without_bars_of_transformers
from vlm2vec.trained_here import trained_here
from vlm2vec.training.batches import RowBatches, RowParser
from vlm2vec.training.data.mixture import Mixture
from vlm2vec.training.data.negatives import check_negatives
from vlm2vec.training.evaluation import evaluator_of
from vlm2vec.training.lora import LoRA, add_adapter, check_adapter, check_saved_adapter
from vlm2vec.training.loss.grad_cache import GradCacheLoss
from vlm2vec.training.loss.info_nce import InfoNCE
from vlm2vec.training.progress import TrainingProgress, evaluations
from vlm2vec.training.protocol import BatchSampler, EmbeddingModel
from vlm2vec.training.result import TrainingResult
from vlm2vec.training.row_sample import another_row, sample_of
from vlm2vec.training.run_card import run_of
from vlm2vec.training.run_state import RunState, cut_off_checkpoint, newest_checkpoint
from vlm2vec.training.sampler import SubBatchSampler
from vlm2vec.training.setting_names import check_report_to
from vlm2vec.training.settings import FitSettings
from vlm2vec.training.smart_batches import refuse_smart_batches
from vlm2vec.training.trainer import ContrastiveTrainer, trainer_arguments

logger = logging.getLogger(__name__)

__all__ = ["fit"]


def fit(
    model: EmbeddingModel,
    train: Any,
    *,
    eval: Any = None,
    output_dir: str | os.PathLike[str] | None = None,
    resume: bool | str | os.PathLike[str] = False,
    batch_sampler: Callable[..., BatchSampler] = SubBatchSampler,
    callbacks: Sequence[Any] = (),
    **settings: Any,
) -> TrainingResult:
    """Train a model in place; `VLM2Vec.fit` says how.

    Args:
        model: The model.
        train: As `Mixture.of` takes it.
        eval: Held-out rows, or sentence-transformers' evaluators.
        output_dir: Folder for checkpoints and the model.
        resume: Go on from the newest checkpoint in `output_dir`, or from this one.
        batch_sampler: Called as `SubBatchSampler` is, with its arguments by name; it gives the batches. Sizes
            and row numbers are those of the rows that are left where bad ones were skipped.
        callbacks: Callbacks of transformers' trainer.
        **settings: As `FitSettings`; they go before those of a mixture's recipe.
    """
    start = time.perf_counter()
    if settings.pop("smart_batches", None) is not None:
        refuse_smart_batches("fit(smart_batches=...)", stacklevel=4)  # past fit and VLM2Vec.fit
    layout, mixture = _check_learns(model), Mixture.of(train)
    chosen = FitSettings.of(mixture.training, settings)
    check_report_to(chosen.report_to)
    _check_output_dir(output_dir, resume)
    evaluator = evaluator_of(eval, **model[0].allowed)
    rows_at_first = dict(zip(mixture.names, mixture.sizes, strict=True))
    mixture = _checked(mixture, chosen, model[0].allowed)
    skipped = Counter(
        {name: rows_at_first[name] - size for name, size in zip(mixture.names, mixture.sizes, strict=True)}
    )
    parameters = sum(weight.numel() for weight in model.parameters())
    trained_before = has_adapter(model[0].model)
    if trained_before:
        check_adapter(model, chosen.lora)
    lora = None if trained_before else chosen.adapter(parameters, layout.lora_targets)
    adapter = trained_before or lora is not None
    if adapter and output_dir is not None:
        _check_base(model, Path(output_dir))
    sample = sample_of(mixture)
    with (
        _folder(output_dir) as folder,
        _alone(output_dir, launched(on_gpu=model.device.type != "cpu")[0]),
        trained_here(model),
    ):
        # All that can be wrong is found before the model is touched.
        arguments = trainer_arguments(
            chosen,
            device=model.device,
            rows=len(mixture),
            learning_rate=chosen.highest_learning_rate(parameters, adapter=adapter),
            folder=folder,
            evaluates=eval is not None,
            saves=output_dir is not None,
        )
        batches = RowBatches(
            mixture,
            _sampler(batch_sampler, mixture, chosen, arguments),
            RowParser(model.prompts),
            replace=chosen.on_error == "skip",
            seed=chosen.seed,
            allowed=model[0].allowed,
        )
        checkpoint = _checkpoint(output_dir, resume)
        resumed_at = 0 if checkpoint is None else _go_to(checkpoint, batches, chosen, sample)
        if checkpoint is not None:
            check_saved_adapter(checkpoint, lora, expected=adapter)
        progress = TrainingProgress(
            chosen.rows_per_batch(len(mixture)), chosen.show_progress_bar, evaluator, chosen.keep_best
        )
        trainer = ContrastiveTrainer(
            model,
            arguments,
            loss=_loss(model, chosen),
            batches=batches,
            settings={**chosen.deciding(), "rows": sample},
            shard_optimizer=chosen.shard_optimizer,
            run=run_of(mixture, chosen, arguments, lora=lora, adapter=adapter, device=model.device),
            evaluator=evaluator,
            callbacks=[progress, *callbacks],
        )
        with _learning(model, lora, chosen), without_bars_of_transformers():
            try:
                with full_disk_named(folder, "Free some space, and go on with resume=True."):
                    trainer.train(None if checkpoint is None else str(checkpoint))
                    if output_dir is not None:
                        trainer.save_model(str(output_dir))
                        trainer.accelerator.wait_for_everyone()  # for the first to have written it
                if not adapter:
                    # What an adapter that is added later will name as its base.
                    model[0].model.name_or_path = "" if output_dir is None else str(output_dir)
            except KeyboardInterrupt:
                _say_how_to_go_on(trainer, None if output_dir is None else newest_checkpoint(folder))
                raise
            finally:
                progress.close()
                trainer.accelerator.unwrap_model(model, keep_fp32_wrapper=False)
                model.eval()
    bad: set[tuple[int, int]] = set().union(*gather_object([batches.bad]))  # once, where two ranks met it
    skipped.update(mixture.names[source_index] for source_index, _ in bad)
    state = trainer.state
    return TrainingResult(
        steps=state.global_step,
        rows=state.global_step * chosen.rows_per_batch(len(mixture)),
        seconds=time.perf_counter() - start,
        losses=tuple((entry["step"], entry["loss"]) for entry in state.log_history if "loss" in entry),
        scores=tuple(evaluations(state.log_history)),
        kept_step=None if chosen.keep_best is None else state.best_global_step,
        skipped={name: count for name, count in skipped.items() if count},
        temperature=trainer.loss.info_nce.temperature if chosen.learn_temperature else None,
        log=tuple(state.log_history),
        output_dir=None if output_dir is None else str(output_dir),
        resumed_at=resumed_at,
    )


def _check_learns(model: EmbeddingModel) -> Layout:
    """The layout of a model's network, unless it is one whose training was never tried."""
    layout = layout_of(model[0].model)
    if isinstance(layout, StockLayout) and not layout.learns:
        *others, last = (
            one.label for one in LAYOUTS.values() if not isinstance(one, StockLayout) or one.learns
        )
        raise InputError(
            f"fit does not train models on {layout.label}",
            fix=f"Train one on {', '.join(others)} or {last}.",
        )
    return layout


def _check_output_dir(output_dir: Any, resume: bool | str | os.PathLike[str]) -> None:
    if resume and output_dir is None:
        raise InputError("resume is given, and no output_dir", fix="Pass the output_dir of the run.")
    if output_dir is not None and not resume and newest_checkpoint(Path(output_dir)) is not None:
        raise InputError(
            "there are checkpoints of another run",
            fix="Pass resume=True to go on with it, or another output_dir.",
            source=str(output_dir),
        )


def _check_base(model: EmbeddingModel, output_dir: Path) -> None:
    """Raise if an adapter in this folder could not be loaded onto its base."""
    if not model[0].model.name_or_path:
        raise InputError(
            "the weights under the adapter were trained and are saved nowhere, so none could load it",
            fix="Save the model first, or train it with an output_dir, or train all weights (lora=False).",
        )
    check_not_base(model[0].model, output_dir)


def _go_to(checkpoint: Path, batches: RowBatches, chosen: FitSettings, sample: Mapping[str, Any]) -> int:
    """Make the batch after a checkpoint the next one, and return the checkpoint's step."""
    run = RunState.load(checkpoint)
    run.check_settings(chosen.deciding())
    batches.sampler.load_state_dict(run.sampler)
    if where := another_row(run.settings.get("rows", {}), sample):
        warn(f"{where} is another than when the run began: it goes on with the rows given now", stacklevel=4)
    return int(run.sampler["step"])


def _say_how_to_go_on(trainer: ContrastiveTrainer, checkpoint: Path | None) -> None:
    hint = "there is no checkpoint" if checkpoint is None else f"resume goes on from {checkpoint.name}"
    with between_bars():
        logger.warning("Stopped at step %d; %s.", trainer.state.global_step, hint)


def _checked(mixture: Mixture, chosen: FitSettings, allowed: Allowed) -> Mixture:
    """The mixture without bad rows, if they are to be looked for, and with something to learn from."""
    if chosen.check_rows:
        mixture = mixture.checked(
            on_error=chosen.on_error,
            show_progress_bar=chosen.show_progress_bar is not False,
            **allowed,
        )
    check_negatives(mixture, chosen)
    if (size := chosen.rows_per_batch(len(mixture))) > len(mixture):
        logger.warning(
            "batch_size is %d, and there are %d rows: each batch has rows more than once, which are no "
            "negatives of each other.",
            size,
            len(mixture),
        )
    return mixture


@contextmanager
def _learning(model: EmbeddingModel, lora: LoRA | None, chosen: FitSettings) -> Iterator[None]:
    """With the adapter added and the vision tower frozen, if so wanted; weights that learn are float32.

    The adapter and float32 stay. The tower, and gradient checkpointing that the trainer starts, do not.
    """
    network = model[0].model
    if lora is not None:
        torch.manual_seed(chosen.seed)  # on all ranks alike
        add_adapter(network, lora)
    frozen = [weight for weight in vision_weights(network) if weight.requires_grad and chosen.freeze_vision]
    for weight in frozen:
        weight.requires_grad_(False)
    try:
        for weight in network.parameters():
            if weight.requires_grad:
                weight.data = weight.data.float()
        if not any(weight.requires_grad for weight in network.parameters()):
            raise InputError(
                "nothing in the model learns",
                fix="Unfreeze some of its weights, or load its adapter with is_trainable=True.",
            )
        yield
    finally:
        for weight in frozen:
            weight.requires_grad_(True)
        if chosen.gradient_checkpointing:
            # transformers renames it; the old name warns.
            newer = getattr(network, "activation_checkpointing_disable", None)
            (newer or network.gradient_checkpointing_disable)()
            for module in network.modules():
                if isinstance(module, PreTrainedModel):
                    module.disable_input_require_grads()


def _loss(model: EmbeddingModel, chosen: FitSettings) -> GradCacheLoss:
    info_nce = InfoNCE(
        temperature=chosen.temperature,
        learn_temperature=chosen.learn_temperature,
        symmetric=chosen.symmetric,
        false_negative_margin=chosen.false_negative_margin,
        hardness=chosen.hardness,
        matryoshka_dims=chosen.matryoshka_dims,
    )
    kept = {} if chosen.kept_tokens is None else {"kept_tokens": chosen.kept_tokens}
    return GradCacheLoss(
        model,
        info_nce,
        max_tokens_per_chunk=chosen.max_tokens_per_chunk,
        max_inputs_per_chunk=chosen.chunk_size,
        **kept,
    )


def _sampler(
    make: Callable[..., BatchSampler],
    mixture: Mixture,
    chosen: FitSettings,
    arguments: OneDeviceArguments,
) -> BatchSampler:
    batch_size = chosen.rows_per_batch(len(mixture))
    sampler = make(
        source_sizes=mixture.sizes,
        weights=mixture.weights,
        batch_size=batch_size,
        sub_batch_size=chosen.rows_per_sub_batch(batch_size, sources=len(mixture.sources)),
        seed=chosen.seed,
        rank=arguments.process_index,
        world_size=arguments.world_size,
        shuffle=chosen.shuffle,
    )
    if not isinstance(sampler, BatchSampler):
        raise InputError(
            f"batch_sampler gave {describe_value(sampler)}",
            fix="Let it give an iterator with step, state_dict and load_state_dict, as SubBatchSampler is.",
        )
    return sampler


def _checkpoint(output_dir: Any, resume: bool | str | os.PathLike[str]) -> Path | None:
    if resume is False:
        return None
    if resume is not True:
        return Path(resume)
    newest, cut_off = newest_checkpoint(Path(output_dir)), cut_off_checkpoint(Path(output_dir))
    if cut_off is not None and launched()[0] == 0:
        goes_on = "begins again" if newest is None else f"goes on from {newest.name}"
        warn(f"{cut_off}: this checkpoint was not written to its end, so the run {goes_on}", stacklevel=4)
    return newest


@contextmanager
def _alone(output_dir: str | os.PathLike[str] | None, rank: int) -> Iterator[None]:
    """Keeps other runs from writing into the same folder meanwhile; the processes of one run share it."""
    with ExitStack() as stack:
        if output_dir is not None and rank == 0:
            refusal = InputError(
                "another run is writing into this folder",
                fix="Pass another output_dir, or wait for it or stop it.",
                source=str(output_dir),
            )
            stack.enter_context(locked(Path(output_dir) / ".fit.lock", refusal))
        yield


@contextmanager
def _folder(output_dir: str | os.PathLike[str] | None) -> Iterator[Path]:
    """Where transformers' trainer writes; a folder that goes away if nothing is to stay."""
    if output_dir is not None:
        folder = possible_path(output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with TemporaryDirectory(prefix="vlm2vec-fit-") as temporary:
        yield Path(temporary)
