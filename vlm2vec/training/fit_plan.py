"""`FitPlan`: what `fit` would do with a mixture and settings, before anything is loaded or trained."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from vlm2vec.training.adapters.lora import LoRA, add_adapter
from vlm2vec.training.data.mixture import Mixture, MixturePlan
from vlm2vec.training.fit_settings import FitSettings
from vlm2vec.training.loss.grad_cache import TOKENS_PER_CHUNK
from vlm2vec.training.memory_estimate import MemoryEstimate, estimate_memory

__all__ = ["FitPlan", "NetworkPlan", "plan_fit"]


@dataclass(frozen=True)
class NetworkPlan:
    """What is known of a run when the network's shapes are.

    Attributes:
        parameters: Of the network, without an adapter.
        learned: How many learn, those of the adapter if there is one.
        lora: The adapter.
        learning_rate: At its highest.
        tower_learns: Whether the vision tower has something that learns.
        chunk: Tokens, and patches if that does, that are embedded at a time.
        memory: What training takes on each device.
    """

    parameters: int
    learned: int
    lora: LoRA | None
    learning_rate: float
    tower_learns: bool
    chunk: int
    memory: MemoryEstimate


@dataclass(frozen=True)
class FitPlan:
    """What `fit` would do; `str()` of it is a page of text.

    Attributes:
        sources: What is drawn from, how often.
        settings: As `fit` would have them.
        batch_size: Rows of a global batch.
        sub_batch_size: Rows of one source that stay together; 0 where each row draws its own.
        steps: Optimizer steps.
        passes: Passes over each source, in their order, on average.
        device: Type of the device that is planned for.
        model: The model to start from.
        network: What follows from its shapes; `None` if they are not at hand.
    """

    sources: MixturePlan
    settings: FitSettings
    batch_size: int
    sub_batch_size: int
    steps: int
    passes: tuple[float, ...]
    device: str
    model: str
    network: NetworkPlan | None

    def __str__(self) -> str:
        return "\n".join(
            [
                str(self.sources),
                "",
                f"batch     {self._batch()}",
                f"steps     {self._steps()}",
                f"rate      {self._rate()}",
                f"model     {self._model()}",
                *(self._network(self.network) if self.network else self._no_network()),
            ]
        )

    def _batch(self) -> str:
        rows = f"{self.batch_size:,} rows"
        if len(self.sources.sources) == 1:
            return rows
        if not self.sub_batch_size:
            return f"{rows}, each of a source that it draws"
        count = self.batch_size // self.sub_batch_size
        subs = f"{count:,} sub-batch{'es' if count > 1 else ''} of {self.sub_batch_size:,}"
        return f"{rows}: {subs}, each of one source"

    def _steps(self) -> str:
        drawn = self.steps * self.batch_size
        text = f"{self.steps:,}: {drawn:,} rows, {_short(drawn / self.sources.rows)} passes over the data"
        if len(self.passes) == 1:
            return text
        least, most = (self.passes.index(choose(self.passes)) for choose in (min, max))
        names = [line.source for line in self.sources.sources]
        ends = (f"{_short(self.passes[place])} over {names[place]}" for place in (least, most))
        return f"{text}, from {' to '.join(ends)}"

    def _rate(self) -> str:
        chosen = self.settings
        rate = self.network.learning_rate if self.network else chosen.learning_rate
        parts = [
            "its default" if rate is None else f"{rate:g}",
            chosen.lr_scheduler_type,
            f"{chosen.warmup(self.steps):,} steps of warm-up",
            f"temperature {chosen.temperature:g}{', learned' if chosen.learn_temperature else ''}",
        ]
        return ", ".join(parts)

    def _model(self) -> str:
        return f"{self.model}, {self.network.parameters:,} parameters" if self.network else self.model

    def _no_network(self) -> list[str]:
        lora = self.settings.lora
        learns = {None: "what its size decides", False: "all weights"}.get(lora, "an adapter")  # type: ignore[arg-type]
        return [
            f"learns    {learns}",
            "memory    not known: the model's config.json is not at hand, here or on the hub",
        ]

    def _network(self, network: NetworkPlan) -> list[str]:
        return [
            f"learns    {self._learns(network)}",
            f"memory    about {_gigabytes(network.memory.total).strip()} on each device ({self.device}):",
            f"          {_gigabytes(network.memory.weights)} weights",
            f"          {_gigabytes(network.memory.gradients)} gradients",
            f"          {_gigabytes(network.memory.optimizer)} AdamW's states",
            f"          {_gigabytes(network.memory.activations)} activations at most, very roughly, "
            f"for a chunk of {network.chunk:,} tokens{' and patches' if network.tower_learns else ''}",
        ]

    def _learns(self, network: NetworkPlan) -> str:
        share = network.learned / network.parameters
        if network.lora is None:
            what = "all weights" if not self.settings.freeze_vision else "all weights but the vision tower's"
            return f"{what}, {network.learned:,} ({share:.0%})"
        name = "DoRA" if network.lora.use_dora else "LoRA"
        what = f"an adapter ({name}, r {network.lora.r}, alpha {network.lora.alpha})"
        return f"{what}, {network.learned:,} parameters ({share:.2%} of the model's)"


def plan_fit(
    mixture: Mixture, settings: FitSettings, *, model: str, network: Any, device: str = "cpu"
) -> FitPlan:
    """What `fit` would do.

    Args:
        mixture: What to train on; no row is read.
        settings: As `fit` would have them.
        model: What to call the model to start from.
        network: Its network, from `network_outline`, which is given the adapter; `None` if not at hand.
        device: Type of the device, as torch names it; a GPU is taken for one that computes in bfloat16.

    Raises:
        InputError: The adapter does not fit the network.

    Example:
        >>> from vlm2vec.training.sources import TrainingSource
        >>> rows = [{"query": "a cat", "document": "a photo of a cat"}] * 40
        >>> settings = FitSettings(batch_size=8, epochs=2)
        >>> plan = plan_fit(Mixture([TrainingSource("pets", rows)]), settings, model="mine", network=None)
        >>> plan.steps, plan.passes
        (10, (2.0,))
    """
    rows = len(mixture)
    batch_size, steps = settings.rows_per_batch(rows), settings.steps(rows)
    sources = mixture.plan()
    return FitPlan(
        sources=sources,
        settings=settings,
        batch_size=batch_size,
        sub_batch_size=settings.rows_per_sub_batch(batch_size, sources=len(mixture.sources)),
        steps=steps,
        passes=tuple(steps * batch_size * line.share / line.rows for line in sources.sources),
        device=device,
        model=model,
        network=None if network is None else _planned(network, settings, device),
    )


def _planned(network: Any, settings: FitSettings, device: str) -> NetworkPlan:
    parameters = sum(weight.numel() for weight in network.parameters())
    lora = settings.adapter(parameters)
    if lora is not None:
        add_adapter(network, replace(lora, quantise=False))  # weights in 4 bits are not counted as such
    if settings.freeze_vision:
        network.visual.requires_grad_(False)
    weights = list(network.parameters())
    chunk = settings.max_tokens_per_chunk or TOKENS_PER_CHUNK
    on_gpu = device == "cuda"
    return NetworkPlan(
        parameters=parameters,
        learned=sum(weight.numel() for weight in weights if weight.requires_grad),
        lora=lora,
        learning_rate=settings.highest_learning_rate(parameters, adapter=lora is not None),
        tower_learns=any(weight.requires_grad for weight in network.visual.parameters()),
        chunk=chunk,
        memory=estimate_memory(
            network,
            tokens=max(chunk, settings.kept_tokens or 0),
            lora=lora,
            half_weights=on_gpu,
            bf16=on_gpu if settings.bf16 is None else settings.bf16,
            gradient_checkpointing=settings.gradient_checkpointing,
        ),
    )


def _short(number: float) -> str:
    return f"{number:,.1f}" if number >= 1 else f"{number:.2g}"


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:6.2f} GB"
