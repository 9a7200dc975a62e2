"""Chunks follow free memory, by an estimate that is at or above what is counted, and not far above."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))

import meta_training

from vlm2vec import VLM2Vec
from vlm2vec.training.loss import chunk_size
from vlm2vec.training.loss.chunk_size import ChunkMemory, tokens_that_fit

TOKENS = 4096
LAYERS = 3


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize(
    "name",
    [
        name if name in ("Qwen2-VL-2B", "Qwen3-VL-8B") else pytest.param(name, marks=pytest.mark.slow)
        for name in meta_training.PUBLISHED
    ],
)
def test_a_chunk_with_the_default_adapter_takes_no_more_than_is_planned(
    name: str, checkpointing: bool
) -> None:
    lora = meta_training.default_adapter(name)
    network = meta_training.learning_network(
        name, LAYERS, lora=lora, tower_learns=False, checkpointing=checkpointing
    )
    traffic = meta_training.tokens_learned(network, TOKENS)
    planned = ChunkMemory.of_network(network, checkpointing=checkpointing).of(TOKENS)
    assert traffic.peak <= planned <= 2 * traffic.peak
    assert not traffic.waits


@pytest.mark.slow
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("name", ["Qwen2-VL-2B", "Qwen2.5-VL-3B", "Qwen3-VL-2B"])
def test_a_chunk_where_all_weights_learn_takes_no_more_than_is_planned(
    name: str, checkpointing: bool
) -> None:
    network = meta_training.learning_network(
        name, LAYERS, lora=None, tower_learns=True, checkpointing=checkpointing
    )
    planned = ChunkMemory.of_network(network, checkpointing=checkpointing).of(TOKENS)
    assert meta_training.tokens_learned(network, TOKENS).peak <= planned
    assert meta_training.patches_learned(network, TOKENS).peak <= planned


def test_chunks_grow_with_free_memory_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    network, device = VLM2Vec(device="cpu")[0].model, torch.device("cpu")
    free: list[int | None] = [None]
    monkeypatch.setattr(chunk_size, "free_memory", lambda _: free[0])

    def found(memory: int | None, **options: Any) -> int:
        free[0] = memory
        return tokens_that_fit(network, device, **{"checkpointing": False, **options})

    assert found(None) == chunk_size.TOKENS_PER_CHUNK
    sizes = [found(2**power) for power in range(20, 44)]
    assert sizes == sorted(sizes)
    assert set(sizes) == {1024, 2048, 4096, 8192, 16_384}
    memory = ChunkMemory.of_network(network, checkpointing=False).of(4096) * 2
    assert found(memory, checkpointing=True) >= found(memory)
