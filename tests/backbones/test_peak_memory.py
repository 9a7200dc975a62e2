"""The memory of a token is estimated from above, at published sizes, counted without a GPU."""

from __future__ import annotations

import pytest
import torch
from golden_stock import model_of
from shallow import meta_forward, shallow_network

from vlm2vec.backbones.peak_memory import bytes_per_token

FROM = 16_384
"""Rows from which MLPs are computed in parts: a batch takes most for each token up to here."""


@pytest.mark.parametrize(
    ("name", "dtype"),
    [*((name, torch.bfloat16) for name in meta_forward.PUBLISHED), ("Qwen3-VL-2B", torch.float32)],
    ids=lambda given: str(given).removeprefix("torch."),
)
def test_no_batch_takes_more_for_a_token_than_is_planned_with(name: str, dtype: torch.dtype) -> None:
    model = shallow_network(name, dtype)
    planned = bytes_per_token(model)
    texts = meta_forward.texts(model, FROM)
    assert 0.5 * planned * FROM < max(texts.peak, meta_forward.pictures(model, FROM).peak)
    for rows in (FROM, 2 * FROM):
        assert meta_forward.texts(model, rows).peak <= planned * rows
        assert meta_forward.pictures(model, rows).peak <= planned * rows


def test_of_a_network_that_computes_one_input_at_a_time_nothing_is_planned() -> None:
    assert bytes_per_token(model_of("llava_next")[0].model) is None


def test_layers_of_other_classes_count_by_their_widths() -> None:
    class Quantised(torch.nn.Module):
        def __init__(self, layer: torch.nn.Linear) -> None:
            super().__init__()
            self.in_features, self.out_features = layer.in_features, layer.out_features

    model = shallow_network("Qwen2-VL-2B", torch.bfloat16)
    expected = bytes_per_token(model)
    for module in list(model.modules()):
        for name, layer in list(module.named_children()):
            if isinstance(layer, torch.nn.Linear):
                setattr(module, name, Quantised(layer))
    assert bytes_per_token(model) == expected
