"""Families on networks without a packed forward give the vectors of their original code, by the public API.

What computed the numbers is said in the README of each `data/golden_*` folder.
"""

from __future__ import annotations

import functools
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from golden_families import qwen2_5_vl_input
from golden_stock import (
    DATA,
    FAMILIES,
    INPUTS,
    cases,
    checkpoint,
    input_of,
    model_of,
    numbers,
    profile_of,
    token_ids,
)
from safetensors.torch import load_file

from vlm2vec import VLM2Vec, errors
from vlm2vec.inputs.parse import parse_input

# Of several pictures in one prompt, transformers 5 given them nested reads each as one tile, and the original
# cuts them all: so do we.
CASES = [(family, name) for family in FAMILIES for name in cases(family)]


def assert_same(vector: np.ndarray, expected: np.ndarray) -> None:
    assert (vector * expected).sum() >= 0.99999
    # Clips of LLaVA-OneVision are up to 2.3e-5 off, by the order in which its code rounds.
    np.testing.assert_allclose(vector, expected, rtol=0, atol=3e-5)


@pytest.mark.parametrize(("family", "name"), CASES)
def test_vectors_and_token_ids_are_those_of_the_original(family: str, name: str) -> None:
    case, golden = cases(family)[name], numbers(family)
    vector = model_of(family).encode([input_of(case)], profile=profile_of(family, case))[0]
    assert_same(vector, golden[f"emb_ref/{name}"].numpy())
    assert token_ids(family, case) == golden[f"input_ids_ref/{name}"].tolist()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_gives_what_each_input_gives_alone(family: str) -> None:
    """In any order, in one batch or in several, inputs of one length together."""
    plain = [case for case in cases(family).values() if not {"resize", "num_crops"} & case.keys()]
    inputs = [input_of(case) for case in plain] * 2
    alone = np.stack([numbers(family)[f"emb_ref/{case['id']}"].numpy() for case in plain] * 2)
    model, order = model_of(family), np.random.default_rng(0).permutation(len(inputs))
    together = model.encode([inputs[index] for index in order], max_tokens_per_batch=30_000)
    np.testing.assert_allclose(together, alone[order], rtol=0, atol=3e-5)


def test_the_words_of_an_input_make_the_prompt_of_llava_next() -> None:
    model, golden = model_of("llava_next"), numbers("llava_next")
    picture = {"image": INPUTS / "img/a_224x168.png", "text": "Represent the given image."}
    assert_same(model.encode(picture), golden["emb_ref/img_only"].numpy())
    question = "Represent the given image with the following question:"
    asked = model.encode(
        {"image": INPUTS / "img/b_300x410.png", "text": "What is in the image"}, instruction=question
    )
    assert_same(asked, golden["emb_ref/img_question"].numpy())
    assert_same(model.encode("A cat and a dog"), golden["emb_ref/text_short"].numpy())


@pytest.mark.parametrize("family", ["llava_next", "phi3v"])
def test_an_adapter_that_the_original_trained_is_merged(family: str, tmp_path: Path) -> None:
    """DoRA on the language model and on CLIP's attention, under the names of older software."""
    folder = tmp_path / "adapter"
    shutil.copytree(DATA / f"golden_{family}" / "tiny_adapter_dora", folder)
    model = VLM2Vec(
        folder, base_model=checkpoint(family), profile=FAMILIES[family], device="cpu", dtype="float32"
    )
    for name in ("text_instr", "img_only", "img_question"):
        vector = model.encode([input_of(cases(family)[name])])[0]
        assert_same(vector, numbers(family)[f"emb_dora/{name}"].numpy())


def test_what_does_not_fit_the_context_is_known_from_features_and_costs_no_other_row() -> None:
    model = model_of("llava_next")
    picture = INPUTS / "img/a_224x168.png"
    inputs = [{"images": [picture] * 3}, "a cat", picture]
    usual, model.max_seq_length = model.max_seq_length, 1500
    try:
        failed: dict[int | None, errors.VLM2VecError] = {}
        vectors = model.encode(inputs, on_error=failed.__setitem__)
        assert list(failed) == [0]
        assert isinstance(failed[0], errors.ContextLengthError)
        assert "4,107 tokens" in str(failed[0])
        assert np.isfinite(vectors[1:]).all()
        long = {"image": picture, "text": "word " * 400}
        with pytest.raises(errors.ContextLengthError):
            model.encode(long)
        assert np.isfinite(model.encode(long, truncate=True)).all()
    finally:
        model.max_seq_length = usual


def test_a_short_text_beside_a_long_one_keeps_its_rotary_factors() -> None:
    """In the original, a batch takes the factors of its longest row, and this vector moves by 0.1."""
    names = ("text_longrope", "text_short", "img_only")
    vectors = model_of("phi3v").encode([input_of(cases("phi3v")[name]) for name in names])
    for name, vector in zip(names, vectors, strict=True):
        assert_same(vector, numbers("phi3v")[f"emb_ref/{name}"].numpy())


def test_each_text_of_phi_is_begun_anew() -> None:
    """Between two pictures stands the token that begins a text, and behind a picture at the end."""
    picture = INPUTS / "img/gray_190x90.png"
    ids = token_ids("phi3v", {"text": "<|image_1|><|image_2|>", "images": [picture] * 2})
    assert [number for number in ids if number >= 0] == [1, 1, 1]
    assert ids[0] == ids[-1] == 1


def test_a_clip_of_llava_next_is_a_picture_for_each_frame() -> None:
    model = model_of("llava_next")
    frames = sorted((INPUTS / "frames/vid5").glob("*.png"))
    clip = model.encode({"video": frames, "text": "what happens"})
    prompt = "<|image_pad|>" * len(frames) + " what happens"
    np.testing.assert_allclose(clip, model.encode({"prompt": prompt, "images": frames}), atol=1e-6)


def test_max_pixels_makes_tiles_fewer_and_pages_are_pictures() -> None:
    model = model_of("llava_next")
    big = INPUTS / "img/big_1600x1200.png"
    small = model.encode({"image": big, "max_pixels": 336 * 336})
    assert float(small @ model.encode(big)) < 0.99999
    assert np.isfinite(small).all()


WEMM = {case["id"]: case for case in json.loads((DATA / "golden_qwen3_5/cases.json").read_text("utf-8"))}
WEMM_NUMBERS = load_file(DATA / "golden_qwen3_5/golden.safetensors")


@functools.cache
def wemm() -> VLM2Vec:
    folder = DATA / "golden_qwen3_5/tiny_qwen3_5"
    return VLM2Vec(folder, profile="wemm", device="cpu", dtype="float32")


@pytest.mark.parametrize("name", WEMM)
def test_wemm(name: str) -> None:
    given = qwen2_5_vl_input({"set": "wemm", **WEMM[name]})
    vector = wemm().encode([given])[0]
    expected = WEMM_NUMBERS[f"emb/{name}"].numpy()
    assert (vector * expected).sum() >= 0.99999
    np.testing.assert_allclose(vector, expected, rtol=0, atol=5e-6)
    ready = wemm()[0].preparer(parse_input(given))
    np.testing.assert_array_equal(ready.token_ids, WEMM_NUMBERS[f"input_ids/{name}"])
    if f"position_ids/{name}" in WEMM_NUMBERS:
        np.testing.assert_array_equal(ready.positions.T, WEMM_NUMBERS[f"position_ids/{name}"])


def test_wemm_gives_each_input_of_a_batch_what_it_gives_alone() -> None:
    """Its linear layers carry a state along, which no input hands to the next."""
    inputs = [qwen2_5_vl_input({"set": "wemm", **case}) for case in WEMM.values()] * 2
    alone = np.stack([WEMM_NUMBERS[f"emb/{name}"].numpy() for name in WEMM] * 2)
    np.testing.assert_allclose(wemm().encode(inputs), alone, rtol=0, atol=5e-6)


def test_what_a_network_with_tiles_does_not_know_is_refused() -> None:
    model = model_of("llava_next")
    for change, said in (({"clip": "block"}, "clip .* LLaVA-NeXT"), ({"positions": "mrope"}, "positions .*")):
        with pytest.raises(errors.CheckpointError, match=said):
            model.encode("a cat", profile=replace(model.profile, **change))


def test_the_network_s_own_token_in_a_raw_prompt_is_a_picture_too() -> None:
    model, picture = model_of("llava_next"), INPUTS / "img/a_224x168.png"
    ours, theirs = (
        model.encode({"prompt": f"{token} Represent it.", "image": picture})
        for token in ("<|image_pad|>", "<image>")
    )
    np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(errors.InputError, match="more"):
        model.encode({"prompt": "<image> Represent it."})


def test_prompts_of_the_original_s_own_form_are_taken() -> None:
    """With `<|image_1|>` and `<video>`, as its makers write them."""
    phi, picture = model_of("phi3v"), INPUTS / "img/a_224x168.png"
    case = cases("phi3v")["img_only"]
    vector = phi.encode({"prompt": case["text"], "image": picture})
    assert_same(vector, numbers("phi3v")["emb_ref/img_only"].numpy())
    with pytest.raises(errors.InputError, match="numbers its pictures 2, 1"):
        phi.encode({"prompt": "<|image_2|> <|image_1|> Compare.", "images": [picture] * 2})
    with pytest.raises(errors.InputError, match="numbers its pictures 0, 1"):
        phi.encode({"prompt": "<|image_0|> <|image_1|> Compare.", "images": [picture] * 2})
    with pytest.raises(
        errors.InputError, match="numbers its pictures 11111"
    ):  # too long for an int of Python's
        phi.encode({"prompt": f"<|image_{'1' * 5000}|> Compare.", "image": picture})
    case = cases("llava_onevision")["video8"]
    frames = [INPUTS / file for file in case["video"]]
    vector = model_of("llava_onevision").encode({"prompt": case["text"], "video": frames})
    assert_same(vector, numbers("llava_onevision")["emb_ref/video8"].numpy())


def test_a_page_is_drawn_and_cut_as_a_picture(tmp_path: Path) -> None:
    picture = PIL.Image.open(INPUTS / "img/doc_850x1100.png").convert("RGB")
    picture.save(tmp_path / "page.pdf")
    for family in ("llava_next", "phi3v"):
        page = model_of(family).encode(tmp_path / "page.pdf")
        assert page @ model_of(family).encode(picture) > 0.9
        assert np.isfinite(page).all()


def test_padded_features_are_refused() -> None:
    with pytest.raises(errors.InputError, match="one input at a time"):
        model_of("llava_next").preprocess(["a cat"])
