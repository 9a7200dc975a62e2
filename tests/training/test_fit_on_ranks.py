"""`fit` in several processes: the same numbers as in one, no waiting for ever, and a way back from a kill."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

SCRIPT = Path(__file__).with_name("fit_on_a_rank.py")


def run(folder: Path, *options: str, ranks: int) -> subprocess.CompletedProcess[str]:
    launch = [sys.executable]
    if ranks > 1:
        launch += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    # MKL rounds by where memory happens to lie, and a step amplifies it; so it could not be the same to 1e-6.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "MKL_CBWR": "COMPATIBLE"}
    command = [*launch, str(SCRIPT), str(folder), *options]
    return subprocess.run(command, env=environment, timeout=300, check=False, capture_output=True, text=True)


def finish(folder: Path, *options: str, ranks: int) -> None:
    ended = run(folder, *options, ranks=ranks)
    assert ended.returncode == 0, ended.stderr[-3000:]


def losses(folder: Path) -> list[float]:
    return [loss for _, loss in json.loads((folder / "losses.json").read_text(encoding="utf-8"))]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(load_file(folder / "model.safetensors"))


@pytest.fixture(scope="module", params=[1, 2])
def straight(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    folder = tmp_path_factory.mktemp("straight")
    finish(folder, ranks=request.param)
    return folder, request.param


def test_resuming_after_a_kill_equals_the_straight_run(straight: tuple[Path, int], tmp_path: Path) -> None:
    folder, ranks = straight
    assert run(tmp_path, "kill", "3", ranks=ranks).returncode != 0
    assert not (tmp_path / "losses.json").exists()
    finish(tmp_path, "resume", ranks=ranks)
    assert losses(tmp_path)[-4:] == pytest.approx(losses(folder)[-4:], abs=1e-6)
    resumed = weights(tmp_path)
    for name, weight in weights(folder).items():
        torch.testing.assert_close(resumed[name], weight, atol=1e-6, rtol=0)


def test_two_ranks_equal_one_process(tmp_path: Path) -> None:
    folders = {ranks: tmp_path / str(ranks) for ranks in (1, 2)}
    for ranks, folder in folders.items():
        finish(folder, ranks=ranks)
    assert losses(folders[2]) == pytest.approx(losses(folders[1]), rel=1e-4)
    one, two = (weights(folder) for folder in folders.values())
    before = weights(Path(sys.modules["vlm2vec"].__file__ or "").parent / "assets" / "embedded")
    moved = torch.cat([(one[name] - before[name].float()).flatten() for name in one])
    apart = torch.cat([(one[name] - two[name]).flatten() for name in one])
    assert apart.norm() < 1e-2 * moved.norm()
