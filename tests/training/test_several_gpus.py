"""What `fit` asks of transformers and accelerate where several GPUs are visible, seen without one."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from vlm2vec.compat import OneDeviceArguments
from vlm2vec.training.settings import FitSettings
from vlm2vec.training.trainer import trainer_arguments


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[torch.device]]:
    """Devices that were made the current one. The state of accelerate is of this test alone."""
    current: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (9, 0))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    for name in ("LOCAL_RANK", "WORLD_SIZE", "RANK"):
        monkeypatch.delenv(name, raising=False)
    yield current
    AcceleratorState._reset_state(reset_partial_state=True)


def arguments_for(device: torch.device, folder: Path) -> OneDeviceArguments:
    settings = FitSettings(batch_size=4, max_steps=1)
    kinds = {"evaluates": False, "saves": False}
    return trainer_arguments(settings, device=device, rows=8, learning_rate=1e-3, folder=folder, **kinds)


def test_a_process_without_a_launcher_trains_on_one_gpu(
    two_gpus: list[torch.device], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With two, transformers' trainer would wrap the model in `nn.DataParallel`."""
    with caplog.at_level(logging.WARNING):
        arguments = arguments_for(torch.device("cuda", 0), tmp_path)
    assert arguments._n_gpu == 2, "what transformers counted"
    assert arguments.n_gpu == 1
    assert (arguments.world_size, arguments.train_batch_size) == (1, 4)
    assert "DataParallel" not in caplog.text


def test_a_model_on_another_gpu_than_the_first_is_trained_there(
    two_gpus: list[torch.device], tmp_path: Path
) -> None:
    second = torch.device("cuda", 1)
    arguments = arguments_for(second, tmp_path)
    assert arguments.device == torch.device("cuda", 0), "where transformers would move the model"
    arguments.stay_on(second)
    assert arguments.device == second
    # As sentence-transformers' trainer makes them, for the card; then accelerate, which moves the model too.
    OneDeviceArguments(output_dir="unused", accelerator_config={"use_configured_state": True})
    assert Accelerator().device == second


def test_a_launcher_says_which_gpu_it_is(two_gpus: list[torch.device], tmp_path: Path) -> None:
    arguments = arguments_for(torch.device("cuda", 0), tmp_path)
    arguments.distributed_state.num_processes = 2
    before = arguments.device
    arguments.stay_on(torch.device("cuda", 1))
    assert arguments.device == before


def test_arguments_are_saved_and_come_back(tmp_path: Path) -> None:
    arguments = arguments_for(torch.device("cpu"), tmp_path)
    torch.save(arguments, tmp_path / "training_args.bin")  # as transformers' trainer does
    assert torch.load(tmp_path / "training_args.bin", weights_only=False).n_gpu == arguments.n_gpu == 0


SHARDED = """
import os
from unittest import mock

import accelerate.state
import torch
from accelerate import DistributedType, PartialState

from vlm2vec import VLM2Vec
from vlm2vec.errors import InputError

model = VLM2Vec(device="cpu")
rows = [{"query": "a", "document": "b"}, {"query": "c", "document": "d"}]
patches = (  # a rank of one, on a GPU, whose messages go by gloo
    mock.patch.object(PartialState, "_prepare_backend", lambda *_, **__: ("gloo", DistributedType.MULTI_GPU)),
    mock.patch.object(torch.cuda, "is_available", lambda: True),
    mock.patch.object(torch.cuda, "device_count", lambda: 1),
    mock.patch.object(torch.cuda, "set_device", lambda _: None),
    mock.patch.object(torch.cuda, "get_device_capability", lambda *_: (9, 0)),
    mock.patch.object(torch.cuda, "get_device_name", lambda *_: "a GPU"),
    mock.patch.object(accelerate.state, "check_cuda_p2p_ib_support", lambda: True),
    mock.patch.object(VLM2Vec, "device", torch.device("cuda", 0)),
    mock.patch.object(torch.nn.Module, "to", lambda self, *_, **__: self),
)
for patch in patches:
    patch.start()
ways = (
    {"ACCELERATE_USE_FSDP": "true"},
    {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"},
    {"ACCELERATE_USE_PARALLELISM_CONFIG": "true"},
)
for way in ways:
    with mock.patch.dict(os.environ, way):
        try:
            model.fit(rows, max_steps=1, show_progress_bar=False, bf16=False)
        except InputError as error:
            print(error)
"""


@pytest.mark.slow
def test_sharded_weights_are_refused_however_they_are_asked_for(tmp_path: Path) -> None:
    """By what `accelerate launch --use_fsdp`, a configuration file or the user puts into the environment."""
    rank = {"LOCAL_RANK": "0", "RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    done = subprocess.run(
        [sys.executable, "-c", SHARDED],
        env={**os.environ, **rank, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=400,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("weights cannot be sharded by FSDP") == 3
    assert done.stdout.count("shard_optimizer=True") == 3
