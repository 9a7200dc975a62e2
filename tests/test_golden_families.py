"""Families on Qwen3-VL and Qwen2.5-VL give the vectors of their original code, through the public API.

What computed the numbers is said in `data/golden_qwen3_vl/README.md` and `data/golden_qwen2_5_vl/README.md`.
"""

from __future__ import annotations

import functools

import numpy as np
import pytest
from golden_families import CHECKPOINTS, PROFILES, qwen2_5_vl_input, qwen3_vl_input, read

from vlm2vec import VLM2Vec

QWEN3_CASES, _, QWEN3_NUMBERS = read("golden_qwen3_vl")
QWEN2_5_CASES, _, QWEN2_5_NUMBERS = read("golden_qwen2_5_vl")


@functools.cache
def model_of(name: str) -> VLM2Vec:
    return VLM2Vec(CHECKPOINTS[name], profile=PROFILES[name], device="cpu", dtype="float32")


def assert_same(vectors: np.ndarray, expected: np.ndarray) -> None:
    assert ((vectors * expected).sum(axis=-1) >= 0.99999).all()
    np.testing.assert_allclose(vectors, expected, rtol=0, atol=2e-6)


def test_there_are_40_cases() -> None:
    assert (len(QWEN3_CASES), len(QWEN2_5_CASES)) == (19, 21)


@pytest.mark.parametrize("name", sorted(QWEN3_CASES.keys() - {"text_control"}))
def test_qwen3_vl_embedding(name: str) -> None:
    vector = model_of("qwen3_vl").encode([qwen3_vl_input(QWEN3_CASES[name])])[0]
    assert_same(vector, QWEN3_NUMBERS[f"emb/{name}"].numpy())


# On purpose not as the original: see docs/inputs.md.
def test_control_tokens_in_a_text_are_plain_text() -> None:
    vector = model_of("qwen3_vl").encode(QWEN3_CASES["text_control"]["input"]["text"])
    assert vector @ QWEN3_NUMBERS["emb/text_control"].numpy() < 0.999


@pytest.mark.parametrize("name", QWEN2_5_CASES)
def test_families_on_qwen2_5_vl(name: str) -> None:
    case = QWEN2_5_CASES[name]
    model = model_of(case["set"])
    encode = model.encode_query if case.get("kind") == "query" else model.encode
    vector = encode([qwen2_5_vl_input(case)], prompt=case.get("system"))[0]
    assert_same(vector, QWEN2_5_NUMBERS[f"emb/{name}"].numpy())


def test_a_batch_of_the_original_equals_ours() -> None:
    names = ["text_default", "text_long", "text_instr"]
    vectors = model_of("qwen3_vl").encode([qwen3_vl_input(QWEN3_CASES[name]) for name in names])
    assert_same(vectors, QWEN3_NUMBERS["batch/texts"].numpy())


@pytest.mark.parametrize("name", ["qwen3_vl", "chat_mrope"])
def test_a_batch_gives_what_each_input_gives_alone(name: str) -> None:
    """Clips, pictures and texts beside one another, in any order, in one batch or in several."""
    if name == "qwen3_vl":
        inputs = [qwen3_vl_input(case) for key, case in QWEN3_CASES.items() if key != "video_sampled70"]
    else:
        inputs = [qwen2_5_vl_input(case) for case in QWEN2_5_CASES.values() if case["set"] == "chat_mrope"]
    model = model_of(name)
    alone = np.stack([model.encode([given])[0] for given in inputs])
    order = np.random.default_rng(0).permutation(len(inputs))
    for budget in (None, 3000):
        together = model.encode([inputs[index] for index in order], max_tokens_per_batch=budget)
        np.testing.assert_allclose(together, alone[order], rtol=0, atol=1e-6)


def test_the_name_of_a_prompt_says_which_side_an_input_is() -> None:
    model, text = model_of("biqwen"), QWEN2_5_CASES["bi_query"]["text"]
    expected = QWEN2_5_NUMBERS["emb/bi_query"].numpy()
    assert_same(model.encode([text], prompt_name="query")[0], expected)
    for side in ({"prompt_name": "query"}, {"task": "query", "prompt": model.prompts["query"]}):
        ((_, streamed),) = model.encode_stream([text], **side)
        assert_same(streamed, expected)
    assert float(model.encode([text], prompt_name="document")[0] @ expected) < 0.999
