"""Fixtures that several test files share: small models, loaded once."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a test that reaches for the hub is a bug

import hypothesis
import pytest
import torch
from golden_cases import GOLDEN

from vlm2vec import VLM2Vec

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
