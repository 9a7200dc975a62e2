"""A frozen vision tower runs the inference forward under autocast where autocast has nothing to cast."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vlm2vec import VLM2Vec
from vlm2vec.backbones import encode_forward, train_forward
from vlm2vec.inputs.parse import parse_input

PICTURES = [np.random.default_rng(seed).integers(0, 256, (112, 84, 3), dtype=np.uint8) for seed in range(3)]


def features(
    dtype: str, monkeypatch: pytest.MonkeyPatch, *, fast: bool = True, half: bool = True
) -> tuple[torch.Tensor, int]:
    """Of the pictures, and how often the inference forward was called."""
    model, calls = VLM2Vec(device="cpu", dtype=dtype).train(), []
    model[0].model.visual.requires_grad_(False)
    items = [parse_input({"image": picture}, index=index) for index, picture in enumerate(PICTURES)]
    rules = model[0].profile.pixels
    packed = model[0].pack(model[0].preparer.prepare_all(items), rules, pooled_only=True, share_prefixes=True)
    whole = encode_forward.media_features
    with monkeypatch.context() as patch, torch.autocast("cpu", torch.bfloat16, enabled=half):
        patch.setattr(encode_forward, "media_features", lambda *given: calls.append(1) or whole(*given))
        if not fast:
            patch.setattr(train_forward, "_is_plain_in_half", lambda *_: False)
        found: torch.Tensor = model[0].media_of(packed).float()
    return found, len(calls)


def test_in_half_precision_it_is_as_exact_as_the_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    exact, _ = features("float32", monkeypatch, half=False)
    fast, calls = features("bfloat16", monkeypatch)
    layers, none = features("bfloat16", monkeypatch, fast=False)
    assert (calls, none) == (1, 0)
    errors = [(found - exact).norm() / exact.norm() for found in (fast, layers)]
    assert errors[0] < 1.1 * errors[1] < 0.02


def test_float32_weights_are_left_to_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    assert features("float32", monkeypatch)[1] == 0
