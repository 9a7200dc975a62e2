"""`fit` in several processes: the same numbers as in one, no waiting for ever, and a way back from a kill."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from huggingface_hub.utils import WeakFileLock
from safetensors.torch import load_file

SCRIPT = Path(__file__).with_name("fit_on_a_rank.py")


def run(folder: Path, *options: str, ranks: int, sharded: bool = False) -> subprocess.CompletedProcess[str]:
    launch = [sys.executable]
    if ranks > 1:
        launch += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    # MKL rounds by where memory happens to lie, and a step amplifies it; so it could not be the same to 1e-6.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "MKL_CBWR": "COMPATIBLE"}
    command = [*launch, str(SCRIPT), str(folder), *options, *(["shard"] if sharded else [])]
    return subprocess.run(command, env=environment, timeout=300, check=False, capture_output=True, text=True)


def finish(folder: Path, *options: str, ranks: int, sharded: bool = False) -> None:
    ended = run(folder, *options, ranks=ranks, sharded=sharded)
    assert ended.returncode == 0, ended.stderr[-3000:]


def losses(folder: Path) -> list[float]:
    return [loss for _, loss in json.loads((folder / "losses.json").read_text(encoding="utf-8"))]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(load_file(folder / "model.safetensors"))


def kept_elements(folder: Path, ranks: int) -> list[int]:
    """How many numbers each rank's optimizer keeps."""
    files = (folder / f"elements-{rank}.json" for rank in range(ranks))
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Folder of a run without a break, of so many ranks, sharing the optimizer or not."""
    folders: dict[tuple[int, bool], Path] = {}

    def finished(ranks: int, *, sharded: bool = False) -> Path:
        if (ranks, sharded) not in folders:
            folders[ranks, sharded] = tmp_path_factory.mktemp("straight")
            finish(folders[ranks, sharded], ranks=ranks, sharded=sharded)
        return folders[ranks, sharded]

    return finished


def assert_same(folder: Path, expected: Path, *, after: int = 0) -> None:
    """The losses after a step, and the weights at the end."""
    assert losses(folder)[after:] == pytest.approx(losses(expected)[after:], abs=1e-6)
    found = weights(folder)
    for name, weight in weights(expected).items():
        torch.testing.assert_close(found[name], weight, atol=1e-6, rtol=0)


def assert_near(folder: Path, expected: Path, *, since: dict[str, torch.Tensor]) -> None:
    """The weights at the end are as far apart as rounding may take them, on the way that they went."""
    ours, theirs = weights(folder), weights(expected)
    moved = torch.cat([(theirs[name] - since[name].float()).flatten() for name in theirs])
    apart = torch.cat([(theirs[name] - ours[name]).flatten() for name in theirs])
    assert apart.norm() < 1e-2 * moved.norm()


@pytest.mark.slow
@pytest.mark.parametrize(("ranks", "sharded"), [(1, False), (2, False), (2, True)])
def test_resuming_after_a_kill_equals_the_straight_run(
    straight: Callable[..., Path], ranks: int, sharded: bool, tmp_path: Path
) -> None:
    assert run(tmp_path, "kill", "3", ranks=ranks, sharded=sharded).returncode != 0
    assert not (tmp_path / "losses.json").exists()
    finish(tmp_path, "resume", ranks=ranks, sharded=sharded)
    assert_same(tmp_path, straight(ranks, sharded=sharded), after=2)


@pytest.mark.slow
def test_two_ranks_equal_one_process(straight: Callable[..., Path]) -> None:
    folders = {ranks: straight(ranks) for ranks in (1, 2)}
    assert losses(folders[2]) == pytest.approx(losses(folders[1]), rel=1e-4)
    before = weights(Path(sys.modules["vlm2vec"].__file__ or "").parent / "assets" / "embedded")
    assert_near(folders[2], folders[1], since=before)


def test_processes_that_mpi_started_are_one_run(straight: Callable[..., Path], tmp_path: Path) -> None:
    """Open MPI says in other words than torchrun which of them is the first, that alone locks the folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment = {name: value for name, value in os.environ.items() if "RANK" not in name}
    environment |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "MKL_CBWR": "COMPATIBLE"}
    environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    for name in ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE"):
        environment[name] = "2"
    started = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(tmp_path)],
            env=environment | {"OMPI_COMM_WORLD_RANK": str(rank), "OMPI_COMM_WORLD_LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        said = [process.communicate(timeout=300)[1] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0, 0], said[0][-2000:] + said[1][-2000:]
    assert_same(tmp_path, straight(2))


def test_a_folder_that_another_run_writes_into_is_refused_to_all_ranks(tmp_path: Path) -> None:
    with WeakFileLock(tmp_path / ".fit.lock"):
        ended = run(tmp_path, ranks=2)
    assert ended.returncode != 0
    assert "another run is writing into this folder" in ended.stderr


@pytest.mark.slow
def test_ranks_share_the_optimizer_and_learn_the_same(straight: Callable[..., Path]) -> None:
    plain, sharded = straight(2), straight(2, sharded=True)
    assert_same(sharded, plain)
    whole = kept_elements(plain, 2)
    shares = kept_elements(sharded, 2)
    assert whole[0] == whole[1] == sum(shares)
    assert max(shares) < 0.6 * whole[0]


@pytest.mark.slow
def test_a_rank_that_runs_out_of_memory_alone_takes_all_through_the_step_again(
    straight: Callable[..., Path], tmp_path: Path
) -> None:
    finish(tmp_path, "little", ranks=2)
    failures = [json.loads((tmp_path / f"failures-{rank}.json").read_text()) for rank in range(2)]
    assert failures[0] == 0 < failures[1]
    expected = straight(2)
    assert losses(tmp_path) == pytest.approx(losses(expected), rel=1e-4)
    before = weights(Path(sys.modules["vlm2vec"].__file__ or "").parent / "assets" / "embedded")
    assert_near(tmp_path, expected, since=before)


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_another_number_of_processes_takes_up_shared_states(
    straight: Callable[..., Path], before: int, after: int, tmp_path: Path
) -> None:
    run(tmp_path, "kill", "5", ranks=before, sharded=before > 1)
    finish(tmp_path, "resume", ranks=after, sharded=after > 1)
    expected = straight(2)
    assert losses(tmp_path)[4:] == pytest.approx(losses(expected)[4:], rel=1e-4)
    # Without the second rank's states, the last two steps would go elsewhere.
    assert_near(tmp_path, expected, since=weights(expected / "checkpoint-4"))
