"""Fixtures that several test files share: small models, loaded once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a test that reaches for the hub is a bug

import hypothesis
import pytest
import torch
from golden_cases import GOLDEN

from vlm2vec import VLM2Vec
from vlm2vec.blocks import fused

hypothesis.settings.register_profile("untimed", deadline=None)  # a busy machine is not a bug
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session")
def golden() -> Path:
    return GOLDEN


@pytest.fixture(scope="session")
def tiny() -> VLM2Vec:
    """A tiny random Qwen2-VL in the hub's flat layout, with the prompts and pixels of VLM2Vec-V2.0."""
    return VLM2Vec(GOLDEN / "tiny_qwen2vl", profile="vlm2vec-v2", device="cpu")


@pytest.fixture(scope="session")
def embedded() -> VLM2Vec:
    """The small model inside the package."""
    return VLM2Vec(device="cpu")


@pytest.fixture
def packed_operator() -> None:
    """Skips where torch has no product with packed weights: the operator is private to it."""
    if not hasattr(torch.ops.mkldnn, "_reorder_linear_weight"):
        pytest.skip("this torch has no such operator")


@pytest.fixture(params=["torch", "onednn"])
def kernel(request: pytest.FixtureRequest) -> str:
    """Both kernels of matrix products on a CPU, one after the other."""
    if request.param == "onednn":
        request.getfixturevalue("packed_operator")
    kernel: str = request.param
    return kernel


@pytest.fixture
def interpreted_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fused kernels, interpreted on the CPU; skips where there is no Triton, or a GPU to build for."""
    interpreter = pytest.importorskip("triton.runtime.interpreter")
    if (why_not := fused.why_not_fused(torch.device("cpu"))) is not None:
        pytest.skip(f"kernels are not interpreted: {why_not}")
    convert = interpreter._convert_float

    def rounded(numbers: Any, given: Any, wanted: Any, mode: Any) -> Any:
        # The interpreter cuts float32 off where GPUs round it to the nearest.
        if str(given) == "fp32" and str(wanted) == "bf16":
            return torch.tensor(numbers).bfloat16().view(torch.int16).numpy().view("uint16")
        return convert(numbers, given, wanted, mode)

    monkeypatch.setattr(interpreter, "_convert_float", rounded)
