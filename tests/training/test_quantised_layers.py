"""QLoRA: frozen weights in 4 bits under an adapter that learns and is saved as any other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vlm2vec import VLM2Vec
from vlm2vec.errors import InputError
from vlm2vec.training import LoRA

ROWS = [{"query": f"word {number}", "document": f"the number {number}"} for number in range(8)]
TEXTS = [row["query"] for row in ROWS]


@pytest.mark.gpu
def test_an_adapter_learns_over_quantised_weights(tmp_path: Path) -> None:
    bitsandbytes = pytest.importorskip("bitsandbytes")
    model = VLM2Vec()
    plain = model.encode(TEXTS)
    lora = LoRA(r=4, use_dora=False, dropout=0.0, quantise=True)
    result = model.fit(
        ROWS, lora=lora, max_steps=20, learning_rate=1e-2, logging_steps=1, output_dir=tmp_path
    )
    assert sum(isinstance(layer, bitsandbytes.nn.Linear4bit) for layer in model.modules()) == 4 * 5
    assert result.losses[-1][1] < 0.5 * result.losses[0][1]
    learned = model.encode(TEXTS)
    assert np.abs(learned - plain).max() > 0.05
    # The weights of the folder are not those of 4 bits, so vectors agree to what 4 bits leave.
    loaded = VLM2Vec(tmp_path).encode(TEXTS)
    assert (learned * loaded).sum(axis=1).min() > 0.9
    with pytest.raises(InputError, match="4 bits"):
        model.merge_adapter()


def test_on_a_cpu_it_is_refused_before_anything_changes() -> None:
    model = VLM2Vec(device="cpu")
    before = model.encode(TEXTS)
    with pytest.raises(InputError, match="on a GPU alone"):
        model.fit(ROWS, lora=LoRA(quantise=True), max_steps=1)
    np.testing.assert_array_equal(model.encode(TEXTS), before)
