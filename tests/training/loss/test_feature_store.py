"""Features stay on the device while there is room, and teach the same either way."""

from __future__ import annotations

import pytest
import torch

from vlm2vec.training.loss import feature_store
from vlm2vec.training.loss.feature_store import FeatureStore


@pytest.mark.parametrize("on_device", [True, False])
def test_tensors_stay_while_there_is_room_and_come_back_as_they_were(
    on_device: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = [torch.randn(10, requires_grad=True), torch.randn(5).bfloat16(), torch.randn(10), torch.ones(2)]
    monkeypatch.setattr(feature_store, "free_memory", lambda _: feature_store._SHARE * 60)
    store = FeatureStore(torch.device("cpu"), on_device=on_device)
    kept = [store.keep(tensor) for tensor in given]
    assert store.held == (40 + 10 + 8) * on_device  # the third, of 40 bytes, goes into the file
    for back, tensor in zip(kept, given, strict=True):
        assert torch.equal(back(), tensor.detach())
        assert (back().data_ptr() == tensor.data_ptr()) == (on_device and tensor is not given[2])
