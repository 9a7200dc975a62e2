"""An optimizer whose work is shared out to ranks steps, saves and loads as one that has all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, distributed, multiprocessing, nn
from torch.optim import AdamW

from vlm2vec.training.optimizer_share import OptimizerShare, launched_with_fsdp, owners

SHAPES = [(3, 5), (), (40,), (7, 2), (4, 4)]
UNUSED = 3  # a weight that never gets a gradient


def drawn(seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in SHAPES]


def new_optimizer(values: list[Tensor]) -> tuple[list[nn.Parameter], AdamW]:
    weights = [nn.Parameter(value.detach().clone()) for value in values]
    groups = [{"params": weights[:2], "weight_decay": 0.3}, {"params": weights[2:], "weight_decay": 0.0}]
    return weights, AdamW(groups, lr=0.1)


def step(weights: list[nn.Parameter], optimizer: AdamW, seed: int) -> None:
    for place, (weight, gradient) in enumerate(zip(weights, drawn(seed), strict=True)):
        weight.grad = None if place == UNUSED else gradient
    optimizer.param_groups[0]["lr"] = 0.1 / seed  # as a schedule does
    optimizer.step()


def assert_equal(ours: list[nn.Parameter], expected: list[nn.Parameter]) -> None:
    for one, other in zip(ours, expected, strict=True):
        assert torch.equal(one, other)


def share_on_a_rank(rank: int, ranks: int, folder: Path) -> None:
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=ranks
    )
    torch.set_num_threads(1)
    expected, whole = new_optimizer(drawn(0))
    ours, shared = new_optimizer(drawn(0))
    share = OptimizerShare(shared, rank=rank, ranks=ranks)
    for seed in (1, 2, 3):
        step(expected, whole, seed)
        versions = [weight._version for weight in ours]
        step(ours, shared, seed)
        assert_equal(ours, expected)
        # By this number, what is kept beside a weight is told to be old, also where the new one was sent.
        assert all(weight._version > version for weight, version in zip(ours, versions, strict=True))
    counts: list[int] = [0] * ranks
    distributed.all_gather_object(counts, len(shared.state))
    assert sum(counts) == len(SHAPES) - 1
    assert max(counts) < len(SHAPES) - 1
    share.save(folder)
    if rank == 0:
        torch.save(shared.state_dict(), folder / "optimizer.pt")
    distributed.barrier()
    step(expected, whole, 4)
    # By as many ranks again, and by one alone.
    for of in (ranks, 1):
        again, loaded = new_optimizer(list(ours))
        OptimizerShare(loaded, rank=rank if of > 1 else 0, ranks=of, checkpoint=folder)
        loaded.load_state_dict(torch.load(folder / "optimizer.pt"))
        step(again, loaded, 4)
        assert_equal(again, expected)
    distributed.destroy_process_group()


def test_ranks_step_save_and_load_as_one_optimizer(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "vlm2vec.training.optimizer_share"])
    multiprocessing.start_processes(share_on_a_rank, (2, tmp_path), nprocs=2, start_method="forkserver")


def test_ranks_take_up_a_checkpoint_of_one_process(tmp_path: Path) -> None:
    weights, whole = new_optimizer(drawn(0))
    step(weights, whole, 1)
    state = whole.state_dict()
    found: dict[int, Tensor] = {}
    for rank in range(2):
        ours, shared = new_optimizer(list(weights))
        OptimizerShare(shared, rank=rank, ranks=2, checkpoint=tmp_path)
        shared.load_state_dict(shared.state_dict())  # as accelerate does first, with a new optimizer
        shared.load_state_dict(state)
        for place, weight in enumerate(ours):
            if weight in shared.state:
                assert place not in found
                found[place] = shared.state[weight]["exp_avg"]
    assert found.keys() == state["state"].keys()
    for place, average in found.items():
        assert torch.equal(average, state["state"][place]["exp_avg"])


@given(st.lists(st.integers(0, 1000)), st.integers(1, 9))
def test_no_rank_has_more_than_its_part_and_one_weight(sizes: list[int], ranks: int) -> None:
    given_to = owners(sizes, ranks)
    loads = [0] * ranks
    for size, rank in zip(sizes, given_to, strict=True):
        loads[rank] += size
    assert max(loads) <= sum(sizes) / ranks + max(sizes, default=0)


@pytest.mark.parametrize(
    ("value", "asked"), [("true", True), ("True", True), ("false", False), (None, False)]
)
def test_the_launcher_s_flag_is_read_and_hidden(
    value: str | None, asked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "ACCELERATE_USE_FSDP"
    if value is None:
        monkeypatch.delenv(name, raising=False)
    else:
        monkeypatch.setenv(name, value)
    with launched_with_fsdp() as found:
        assert found == asked
        assert name not in os.environ
        os.environ[name] = "true"  # as accelerate does with a plugin
    assert os.environ.get(name) == value
