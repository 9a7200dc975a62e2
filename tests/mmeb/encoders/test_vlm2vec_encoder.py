"""GME, LamRA and VLM2Vec: prompts and frames of the original to the character, vectors as stock ones."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from stock_qwen2vl import StockQwen2VL

from vlm2vec import VLM2Vec, mmeb, profiles
from vlm2vec.errors import InputError
from vlm2vec.inputs.video import Video
from vlm2vec.mmeb.encoders import Encoder, Role, encoder_of
from vlm2vec.mmeb.encoders.vlm2vec_model import VLM2VecEncoder
from vlm2vec.mmeb.processes import spread
from vlm2vec.mmeb.samples import Content

USER = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
TURN = "<|im_end|>\n<|im_start|>assistant\n"
SEEN = "<|vision_start|><|image_pad|><|vision_end|>"

QUERIES = {
    "text": "Find a picture: a cat.\n",
    "bare text": "a dog",
    "picture": f"{SEEN}\nRepresent the given image. \n",
    "picture and text": f"{SEEN}\nRepresent the given image. what?\n",
    "page": f"{SEEN}Represent the given image. ",
    "clip": f"{SEEN}Name the motion. ",
    "clip and text": f"{SEEN}Answer:  who?",
}
"""What stands in the user's turn."""

CANDIDATES = {**QUERIES, "picture and text": f"{SEEN}\nRepresent the given image. what? \n"}
CANDIDATES["clip and text"] += " "

PROMPTS = {
    "gme-qwen2vl": lambda said: f"{USER}{said}{TURN}<|endoftext|>",
    "lamra-ret": lambda said: f"{USER}{said}{'' if SEEN in said else chr(10)}{TURN}<emb>.{TURN}",
}
BUDGETS = {"gme-qwen2vl": (4, 1280), "lamra-ret": (256, 1280)}


@pytest.fixture(scope="module")
def gme(gme_folder: Path) -> VLM2Vec:
    return VLM2Vec(gme_folder, profile="gme-qwen2vl", device="cpu")


@pytest.fixture(scope="module")
def lamra(lamra_folder: Path) -> VLM2Vec:
    return VLM2Vec(lamra_folder, profile="lamra-ret", device="cpu")


@pytest.fixture(params=["gme", "lamra"])
def baseline(request: pytest.FixtureRequest) -> VLM2Vec:
    model: VLM2Vec = request.getfixturevalue(request.param)
    return model


def middle_of(content: Content) -> Path | None:
    picture = content.frames[len(content.frames) // 2] if content.frames else content.image
    assert not isinstance(picture, bytes)
    return picture


@pytest.mark.parametrize("role", ["query", "document"])
def test_prompts_are_those_of_the_original(
    baseline: VLM2Vec, contents: dict[str, Content], role: Role
) -> None:
    encoder = VLM2VecEncoder(baseline)
    written = PROMPTS[baseline.profile.name]
    expected = QUERIES if role == "query" else CANDIDATES
    for kind, content in contents.items():
        given = encoder.input_of(content, role)
        assert given["prompt"] == written(expected[kind]), kind
        assert given.get("image") == middle_of(content)
        assert "video" not in given


def test_vectors_are_those_of_plain_transformers(baseline: VLM2Vec, contents: dict[str, Content]) -> None:
    name = baseline.profile.name
    stock = StockQwen2VL(Path(baseline[0].model.name_or_path))
    rows = encoder_of(baseline).encode(list(contents.values()), role="query")
    for (kind, content), row in zip(contents.items(), rows, strict=True):
        prompt = PROMPTS[name](QUERIES[kind])
        expected = stock.vector(prompt, middle_of(content), tokens=BUDGETS[name])
        np.testing.assert_allclose(row, expected, atol=1e-5, err_msg=kind)


def test_the_profile_of_the_model_stays_as_it_is(baseline: VLM2Vec, contents: dict[str, Content]) -> None:
    before = baseline.profile
    encoder_of(baseline).encode([contents["picture"]], role="query")
    assert baseline.profile == before == profiles.get(before.name)


def test_workers_have_the_pixels_of_the_original(
    baseline: VLM2Vec, contents: dict[str, Content], monkeypatch: pytest.MonkeyPatch
) -> None:
    own, sent = baseline.profile, []

    def to_workers(inputs: list[object], **settings: object) -> list[None]:
        sent.append(settings["profile"])
        return [None] * len(inputs)

    monkeypatch.setattr(baseline, "start_multi_process_pool", lambda _: {"input": None})
    monkeypatch.setattr(baseline, "stop_multi_process_pool", lambda _: None)
    monkeypatch.setattr(baseline, "encode", to_workers)
    encoder = encoder_of(baseline)
    with spread(encoder, ["cpu"]) as working:
        working.encode([contents["picture"]], role="query")
        assert baseline.profile == own
    assert sent == [encoder.profile]
    assert sent != [own]


def test_threads_that_score_one_model_do_not_mix_profiles(
    gme: VLM2Vec, lamra: VLM2Vec, contents: dict[str, Content], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoders = [encoder_of(model, prompts=it) for model in (gme, lamra) for it in ("original", "profile")]

    def rows(encoder: Encoder) -> np.ndarray:
        return np.stack(encoder.encode([contents["picture"], contents["page"]], role="query"))

    alone = [rows(encoder) for encoder in encoders]
    own = gme.profile, lamra.profile
    together = threading.Barrier(len(encoders))
    encode = VLM2Vec.encode

    def encode_together(*args: object, **settings: object) -> object:
        together.wait(timeout=60)  # all threads are in the middle of their calls
        return encode(*args, **settings)

    monkeypatch.setattr(VLM2Vec, "encode", encode_together)
    with ThreadPoolExecutor(len(encoders)) as threads:
        found = list(threads.map(rows, encoders))
    assert not np.allclose(alone[0], alone[1], atol=1e-3)
    for expected, row in zip(alone, found, strict=True):
        np.testing.assert_allclose(row, expected, atol=1e-6)
    assert (gme.profile, lamra.profile) == own


def test_all_frames_are_a_clip_with_the_same_words(baseline: VLM2Vec, contents: dict[str, Content]) -> None:
    encoder = encoder_of(baseline, frames="all")
    given = encoder.input_of(contents["clip"], "query")
    told = PROMPTS[baseline.profile.name](QUERIES["clip"])
    assert given["prompt"] == told.replace("<|image_pad|>", "<|video_pad|>")
    assert isinstance(given["video"], Video)
    assert len(given["video"].frames) == 4
    (row,) = encoder.encode([contents["clip"]], role="query")
    (middle,) = encoder_of(baseline).encode([contents["clip"]], role="query")
    assert abs(row - middle).max() > 1e-3
    assert encoder.identity() != encoder_of(baseline).identity()


def test_lamra_of_its_own_asks_for_one_word(lamra: VLM2Vec, contents: dict[str, Content]) -> None:
    """Its own code adds <emb> to the tokenizer and takes the state of the token before it."""
    stock = StockQwen2VL(Path(lamra[0].model.name_or_path), "<emb>")
    asked = {
        "text": "Find a picture: a cat.\nSummarize above sentence in one word: ",
        "bare text": "a dog\nSummarize above sentence in one word: ",
        "picture": f"{SEEN}Represent the given image.\nSummarize above image and sentence in one word: ",
        "picture and text": f"{SEEN}Represent the given image. what?\n"
        "Summarize above image and sentence in one word: ",
    }
    rows = encoder_of(lamra, prompts="profile").encode([contents[kind] for kind in asked], role="query")
    for (kind, said), row in zip(asked.items(), rows, strict=True):
        prompt = f"{USER}{said}{TURN}<emb>.{TURN}"
        expected = stock.vector(prompt, middle_of(contents[kind]), tokens=(4, 16384), before="<emb>")
        np.testing.assert_allclose(row, expected, atol=1e-5, err_msg=kind)


def test_gme_of_its_own_has_the_instruction_as_system_message(
    gme: VLM2Vec, contents: dict[str, Content]
) -> None:
    stock = StockQwen2VL(Path(gme[0].model.name_or_path))
    rows = encoder_of(gme, prompts="profile").encode(list(contents.values()), role="query")
    for (kind, content), row in zip(contents.items(), rows, strict=True):
        picture = middle_of(content)
        system = content.instruction or "You are a helpful assistant."
        user = f"{'' if picture is None else SEEN}{content.text}"
        prompt = f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{user}{TURN}<|endoftext|>"
        expected = stock.vector(prompt, picture, tokens=(256, 1280))
        np.testing.assert_allclose(row, expected, atol=1e-5, err_msg=kind)


@pytest.mark.parametrize("name", ["vlm2vec-v1-qwen2vl", "vlm2vec-v2"])
def test_vlm2vec_is_given_the_prompt_as_it_stands(
    golden: Path, contents: dict[str, Content], name: str
) -> None:
    encoder = encoder_of(VLM2Vec(golden / "tiny_qwen2vl", profile=name, device="cpu"))
    for content in contents.values():
        given = encoder.input_of(content, "document")
        assert given["prompt"] == content.prompt
        assert given.get("image") == content.image
        assert len(given["video"].frames if content.frames else ()) == len(content.frames)
    middle = replace(encoder, frames="middle").input_of(contents["clip"], "query")
    assert middle == {"prompt": "<|image_pad|> Name the motion.", "image": contents["clip"].frames[2]}


WITHOUT_PICTURE = Content("<|image_pad|>\nFind it: x\n", "x", "Find it:")
"""As two tasks have it with compat="v2.0"."""


def test_baselines_are_given_no_token_without_a_picture(baseline: VLM2Vec) -> None:
    given = VLM2VecEncoder(baseline).input_of(WITHOUT_PICTURE, "query")
    assert given == {"prompt": PROMPTS[baseline.profile.name]("Find it: x\n")}


@pytest.mark.parametrize("name", ["vlm2vec-v1-qwen2vl", "vlm2vec-v2"])
def test_vlm2vec_is_given_a_token_without_a_picture_as_a_token(golden: Path, name: str) -> None:
    folder = golden / "tiny_qwen2vl"
    encoder = encoder_of(VLM2Vec(folder, profile=name, device="cpu"))
    plain = replace(WITHOUT_PICTURE, prompt="Find it: x\n")
    with_token, without = encoder.encode([WITHOUT_PICTURE, plain], role="query")
    stock = StockQwen2VL(folder)
    np.testing.assert_allclose(with_token, stock.vector(WITHOUT_PICTURE.prompt), atol=1e-5)
    np.testing.assert_allclose(without, stock.vector(plain.prompt), atol=1e-5)
    assert np.abs(with_token - without).max() > 1e-2


def test_the_role_of_a_sample_reaches_the_prompt(golden: Path) -> None:
    profile = replace(profiles.get("vlm2vec-v2"), query_suffix="<|endoftext|>")
    model = VLM2Vec(golden / "tiny_qwen2vl", profile=profile, device="cpu")
    encoder = encoder_of(model, prompts="profile")
    content = Content("a cat", "a cat", None)
    for role, task in (("query", model.encode_query), ("document", model.encode_document)):
        np.testing.assert_array_equal(encoder.encode([content], role=role)[0], task("a cat"))


def test_settings_that_make_no_sense_are_refused(tiny: VLM2Vec, embedded: VLM2Vec) -> None:
    with pytest.raises(InputError, match="frames is 'first'"):
        encoder_of(tiny, frames="first")
    with pytest.raises(InputError, match="prompts is 'mine'"):
        encoder_of(tiny, prompts="mine")
    with pytest.raises(InputError, match="no prompts for the profile vlm2vec-embedded"):
        encoder_of(embedded, prompts="original")


@pytest.mark.parametrize("name", ["gme", pytest.param("lamra", marks=pytest.mark.slow)])
def test_baselines_are_evaluated_by_the_same_call(name: str, request: pytest.FixtureRequest) -> None:
    tasks = ["mini-I-VG", "mini-V-QA"]
    results = mmeb.evaluate(request.getfixturevalue(name), tasks)
    assert set(results.scores) == set(tasks)
    assert all(0 <= score <= 100 for score in results.scores.values())


def test_v1_is_evaluated_by_the_same_call(golden: Path) -> None:
    v1 = profiles.get("vlm2vec-v1-qwen2vl")
    assert v1.pixels.fixed_size == (1344, 1344)
    small = replace(v1, pixels=replace(v1.pixels, fixed_size=(56, 56)))
    model = VLM2Vec(golden / "tiny_adapter_dora", profile=small, device="cpu")
    results = mmeb.evaluate(model, ["mini-I-VG", "mini-V-CLS"], name="VLM2Vec-V1")
    assert set(results.scores) == {"mini-I-VG", "mini-V-CLS"}
