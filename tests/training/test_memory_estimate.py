"""The estimate of memory, against what autograd really keeps."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import PIL.Image
import pytest
import torch
from torch import Tensor

from vlm2vec import VLM2Vec
from vlm2vec.training.adapters import LoRA, add_adapter
from vlm2vec.training.memory_estimate import estimate_memory


def kept_bytes(model: VLM2Vec, inputs: list[Any], *, bf16: bool) -> tuple[int, int, int]:
    """Tokens, patches, and the bytes that one forward pass keeps for its way back, without weights."""
    features = model[0].preprocess(inputs)
    tokens = int(features["attention_mask"].sum())
    patches = len(features.get("pixel_values", ()))
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    seen: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage().data_ptr()
        if storage not in weights:
            seen[storage] = tensor
        return tensor

    half = torch.autocast("cpu", torch.bfloat16) if bf16 else nullcontext()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), half:
        model(features)["sentence_embedding"].sum()
    return tokens, patches, sum(tensor.untyped_storage().nbytes() for tensor in seen.values())


@pytest.mark.parametrize("pictures", [False, True])
@pytest.mark.parametrize(
    ("lora", "bf16"),
    [(None, False), (None, True), (LoRA(use_dora=False), False), (LoRA(), False)],
    ids=["all", "bf16", "lora", "dora"],
)
def test_activations_are_what_autograd_keeps_within_a_half(
    lora: LoRA | None, bf16: bool, pictures: bool
) -> None:
    model = VLM2Vec(device="cpu")
    if lora is not None:
        add_adapter(model, lora)
    model.train()
    if pictures:
        inputs = [PIL.Image.new("RGB", (448, 448), (shade, 90, 9)) for shade in range(0, 240, 24)]
    else:
        inputs = [f"a red circle and {'a blue cross and ' * 30}{count} stars" for count in range(4)]
    tokens, patches, kept = kept_bytes(model, inputs, bf16=bf16)
    counted = tokens + patches if lora is None else tokens  # as chunks are cut
    network = model[0].model
    estimate = estimate_memory(network, tokens=counted, lora=lora, bf16=bf16)
    learned = sum(weight.numel() for weight in network.parameters() if weight.requires_grad)
    halves = 2 * sum(weight.numel() for weight in network.parameters()) if bf16 else 0  # cast, then kept
    assert kept - halves < 1.5 * estimate.activations
    if not pictures:  # the estimate is the larger one of texts and pictures
        assert estimate.activations < 1.5 * kept
    assert estimate.gradients == 4 * learned
    assert estimate.optimizer == 8 * learned


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
