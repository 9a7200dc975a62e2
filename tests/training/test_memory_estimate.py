"""The estimate of memory, against what autograd really keeps."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from torch import Tensor

from vlm2vec import VLM2Vec
from vlm2vec.inputs.parse import parse_input
from vlm2vec.training import GradCacheLoss, LoRA
from vlm2vec.training.adapters.lora import add_adapter
from vlm2vec.training.loss.grad_cache import Pairs
from vlm2vec.training.memory_estimate import estimate_memory


def inputs(count: int, rng: np.random.Generator, *, pictures: bool) -> list[Any]:
    """Of which no two begin alike, so that nothing is shared."""
    if pictures:
        pixels = rng.integers(0, 255, (count, 224, 224, 3), dtype=np.uint8)
        return [PIL.Image.fromarray(each) for each in pixels]
    return [" ".join(rng.choice(["red", "blue", "ring", "cross", "and"], 100)) for _ in range(count)]


def kept_bytes(model: VLM2Vec, queries: list[Any], documents: list[Any], *, bf16: bool) -> int:
    """What a step keeps for its way back, all graphs at once, without the weights."""
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    seen: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage().data_ptr()
        if storage not in weights:
            seen[storage] = tensor
        return tensor

    numbers = range(len(queries))
    parsed = [[parse_input(each) for each in side] for side in (queries, documents)]
    pairs = Pairs(*parsed, numbers, numbers, numbers, [number + len(queries) for number in numbers])
    half = torch.autocast("cpu", torch.bfloat16) if bf16 else nullcontext()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), half:
        GradCacheLoss(model, kept_tokens=10**9)(pairs)
    return sum(tensor.untyped_storage().nbytes() for tensor in seen.values())


@pytest.mark.parametrize("pictures", [False, True], ids=["texts", "pictures"])
@pytest.mark.parametrize(
    ("lora", "bf16"),
    [(None, False), (None, True), (LoRA(use_dora=False), False), (LoRA(), False), (LoRA(), True)],
    ids=["all", "all in bf16", "lora", "dora", "dora in bf16"],
)
def test_activations_are_those_that_autograd_keeps_and_up_to_a_half_more(
    lora: LoRA | None, bf16: bool, pictures: bool
) -> None:
    model = VLM2Vec(device="cpu")
    if lora is not None:
        add_adapter(model[0].model, lora)
    model.train()
    network: Any = model[0].model
    rng = np.random.default_rng(0)
    queries, documents = inputs(4, rng, pictures=False), inputs(4, rng, pictures=pictures)
    features = model[0].preprocess([*queries, *documents])
    tokens = int(features["attention_mask"].sum())
    if lora is None:  # patches count where the vision tower learns, as chunks are cut
        tokens += len(features.get("pixel_values", ()))
    kept = kept_bytes(model, queries, documents, bf16=bf16)
    if bf16:  # copies of the weights, which the estimate has among those
        kept -= 2 * sum(weight.numel() for weight in network.parameters() if weight.requires_grad)
    estimate = estimate_memory(network, tokens=tokens, lora=lora, bf16=bf16)
    assert 0.9 * kept < estimate.activations < 1.5 * kept


def test_checkpointing_keeps_less_and_frozen_weights_cost_less() -> None:
    network: Any = VLM2Vec(device="cpu")[0].model
    plain = estimate_memory(network, tokens=1000)
    checkpointed = estimate_memory(network, tokens=1000, gradient_checkpointing=True)
    assert checkpointed.activations < plain.activations / 2
    assert plain.total == plain.weights + plain.gradients + plain.optimizer + plain.activations
    parameters = sum(weight.numel() for weight in network.parameters())
    of_tower = sum(weight.numel() for weight in network.visual.parameters())
    assert plain.weights == 4 * parameters
    network.visual.requires_grad_(False)
    frozen = estimate_memory(network, tokens=1000, half_weights=True)
    assert frozen.weights == 4 * (parameters - of_tower) + 2 * of_tower
    assert frozen.gradients == 4 * (parameters - of_tower)
