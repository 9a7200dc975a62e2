"""An input for which the network computes NaN or infinity is an error of its own, and costs no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from vlm2vec import VLM2Vec
from vlm2vec.encoding.settings import EngineSettings
from vlm2vec.errors import NonFiniteError
from vlm2vec.inputs.parse import parse_input

IMAGE = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
WORD = "zebra"
INPUTS = ["a red circle", WORD, IMAGE, {"image": IMAGE, "text": WORD}, "a blue square and more", WORD, "x"]
BROKEN = [1, 3, 5]  # 5 is equal to 1, so that it is not computed
GOOD = [0, 2, 4, 6]


def load(golden: Path, value: float, dtype: str = "float32") -> VLM2Vec:
    """The tiny model with a token of the word alone whose embedding is made of this value."""
    model = VLM2Vec(golden / "tiny_qwen2vl", profile="vlm2vec-v2", device="cpu", dtype=dtype)
    tokens = [set(model[0].preparer(parse_input(each)).token_ids.tolist()) for each in INPUTS]
    (token, *_) = set.intersection(*(tokens[i] for i in BROKEN)) - set.union(*(tokens[i] for i in GOOD))
    with torch.no_grad():
        model[0].model.language_model.embed_tokens.weight[token] = value
    return model


@pytest.fixture(scope="module")
def damaged(golden: Path) -> VLM2Vec:
    return load(golden, torch.nan)


def test_it_is_told_which_input_what_and_what_to_do(damaged: VLM2Vec) -> None:
    with pytest.raises(NonFiniteError) as raised:
        damaged.encode(INPUTS)
    assert raised.value.index in BROKEN
    with pytest.raises(NonFiniteError) as raised:
        damaged.encode(["a red circle", WORD])
    assert str(raised.value).startswith(f'input 1 (text "{WORD}"): the network computes NaN or infinity')
    assert 'dtype="bfloat16" or "float32"' in str(raised.value)


@pytest.mark.parametrize("as_tensor", [False, True])
@pytest.mark.parametrize("switched_off", [None, "share_prefixes", "pooled_only", "deduplicate"])
def test_the_other_inputs_have_the_vectors_that_they_have_without_it(
    damaged: VLM2Vec, tiny: VLM2Vec, switched_off: str | None, as_tensor: bool
) -> None:
    damaged.engine_settings = EngineSettings(**({} if switched_off is None else {switched_off: False}))
    try:
        vectors = np.asarray(damaged.encode(INPUTS, on_error="nan", convert_to_tensor=as_tensor))
    finally:
        damaged.engine_settings = EngineSettings()
    assert np.flatnonzero(np.isnan(vectors).all(axis=1)).tolist() == BROKEN
    expected = tiny.encode([INPUTS[place] for place in GOOD])
    np.testing.assert_allclose(vectors[GOOD], expected, rtol=0, atol=5e-7)


def told(encode: Any) -> list[tuple[int | None, int | None]]:
    """Places that a function is told of while encoding, beside the place that each error names."""
    calls: list[tuple[int | None, int | None]] = []

    def note(index: int | None, error: Exception) -> None:
        assert isinstance(error, NonFiniteError)
        calls.append((index, error.index))

    list(encode(INPUTS, on_error=note))
    return calls


def test_a_function_is_told_of_each_equal_ones_too(damaged: VLM2Vec) -> None:
    assert told(damaged.encode) == [(place, place) for place in BROKEN]
    assert told(damaged.encode_stream) == [(place, place) for place in BROKEN]


def test_a_stream_comes_to_it_and_raises(damaged: VLM2Vec) -> None:
    stream = damaged.encode_stream(INPUTS)
    assert next(stream)[0] == 0
    with pytest.raises(NonFiniteError, match="input 1 "):
        next(stream)
    rows = dict(damaged.encode_stream(INPUTS, on_error="nan"))
    assert [place for place, row in rows.items() if np.isnan(row).all()] == BROKEN


@pytest.mark.parametrize("output_value", ["token_embeddings", None])
def test_states_of_tokens_are_looked_at_too(damaged: VLM2Vec, output_value: str | None) -> None:
    with pytest.raises(NonFiniteError, match="input 1 "):
        damaged.encode(["a red circle", WORD, "x"], output_value=output_value)
    assert len(damaged.encode(["a red circle", "x"], output_value=output_value)) == 2


@pytest.mark.slow
def test_worker_processes_tell_it_as_well(damaged: VLM2Vec) -> None:
    pool = damaged.start_multi_process_pool(["cpu"])
    try:
        assert told(lambda *inputs, **how: damaged.encode(*inputs, pool=pool, **how)) == [
            (place, place) for place in BROKEN
        ]
        with pytest.raises(NonFiniteError, match="input 1 "):
            damaged.encode(["a red circle", WORD], pool=pool)
    finally:
        damaged.stop_multi_process_pool(pool)


def test_numbers_that_overflow_in_float16_are_the_error_of_their_input(golden: Path) -> None:
    for dtype, failed in (("float32", []), ("bfloat16", []), ("float16", BROKEN)):
        model = load(golden, 65_000, dtype)  # near the greatest number of float16, to which layers add theirs
        with torch.no_grad():
            model[0].model.language_model.layers[0].mlp.down_proj.weight.mul_(1000)
        assert told(model.encode) == [(place, place) for place in failed]


class Infinity(nn.Module):
    """Makes the last component infinite."""

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        features["sentence_embedding"][:, -1] = torch.inf
        return features


def test_infinity_in_a_component_that_is_cut_off_is_not_hidden(tiny: VLM2Vec) -> None:
    """Beside it, unit length makes all other components 0: a vector that looks fine."""
    model = VLM2Vec(modules=[tiny[0], tiny[1], Infinity(), tiny[2]], device="cpu")
    with pytest.raises(NonFiniteError, match="input 0 "):
        model.encode(["a"], truncate_dim=16)
    with pytest.raises(NonFiniteError, match="input 0 "):
        model.encode(["a"], precision="int8")


def test_states_too_large_for_a_length_are_not_a_vector_of_zeros(golden: Path) -> None:
    model = load(golden, 1.0)
    with torch.no_grad():
        model[0].model.language_model.norm.weight.fill_(1e30)
    with pytest.raises(NonFiniteError, match="input 0 "):
        model.encode(["a"])
