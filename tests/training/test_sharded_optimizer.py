"""An optimizer that is sharded over ranks steps, saves and loads as one that has all states."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, distributed, multiprocessing, nn
from torch.optim import AdamW

from vlm2vec.training.sharded_optimizer import ShardedOptimizer

SHAPES = [(3, 5), (), (40,), (7, 2), (4, 4)]
UNUSED = 3  # a weight that never gets a gradient


def drawn(seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in SHAPES]


def new_optimizer(values: list[Tensor]) -> tuple[list[nn.Parameter], AdamW]:
    weights = [nn.Parameter(value.detach().clone()) for value in values]
    groups = [{"params": weights[:2], "weight_decay": 0.3}, {"params": weights[2:], "weight_decay": 0.0}]
    return weights, AdamW(groups, lr=0.1, fused=True)


def sharded(optimizer: AdamW) -> ShardedOptimizer:
    return ShardedOptimizer(optimizer.param_groups, type(optimizer))


def step(weights: list[nn.Parameter], optimizer: torch.optim.Optimizer, seed: int) -> None:
    for place, (weight, gradient) in enumerate(zip(weights, drawn(seed), strict=True)):
        weight.grad = None if place == UNUSED else gradient
    optimizer.param_groups[0]["lr"] = 0.1 / seed  # as a schedule does
    optimizer.step()


def assert_equal(ours: list[nn.Parameter], expected: list[nn.Parameter]) -> None:
    for one, other in zip(ours, expected, strict=True):
        assert torch.equal(one, other)


def run_on_a_rank(rank: int, ranks: int, folder: Path) -> None:
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=ranks
    )
    torch.set_num_threads(1)
    expected, whole = new_optimizer(drawn(0))
    ours, plain = new_optimizer(drawn(0))
    optimizer = sharded(plain)
    for seed in (1, 2, 3):
        step(expected, whole, seed)
        step(ours, optimizer, seed)
        assert_equal(ours, expected)
    counts: list[int] = [0] * ranks
    distributed.all_gather_object(counts, len(optimizer.optim.state))
    assert sum(counts) == len(SHAPES) - 1
    assert max(counts) < len(SHAPES) - 1
    optimizer.consolidate_state_dict()
    if rank == 0:
        torch.save(optimizer.state_dict(), folder / "optimizer.pt")
    distributed.barrier()
    step(expected, whole, 4)
    # By as many ranks again, and by one that has all.
    for shards in (True, False):
        again, loaded = new_optimizer(list(ours))
        resumed = sharded(loaded) if shards else loaded
        resumed.load_state_dict(torch.load(folder / "optimizer.pt"))
        step(again, resumed, 4)
        assert_equal(again, expected)
        assert not shards or not resumed.state  # its part is in the optimizer inside, and there alone
    distributed.destroy_process_group()


def test_ranks_step_save_and_load_as_one_optimizer(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "vlm2vec.training.sharded_optimizer"])
    multiprocessing.start_processes(run_on_a_rank, (2, tmp_path), nprocs=2, start_method="forkserver")
