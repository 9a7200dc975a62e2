"""What the stock trainer is told."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vlm2vec.training.settings import FitSettings
from vlm2vec.training.trainer import trainer_arguments


def test_a_gpu_that_emulates_bfloat16_is_not_asked_to_train_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: [(9, 0), (7, 5)][device.index])
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    arguments = trainer_arguments(
        FitSettings(batch_size=4, max_steps=1),
        device=torch.device("cuda", 1),
        rows=8,
        learning_rate=1e-3,
        folder=tmp_path,
        evaluates=False,
        saves=False,
    )
    assert not arguments.bf16
