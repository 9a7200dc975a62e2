"""What sentence-transformers users expect of `VLM2Vec`, and what it adds."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import json
import logging
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Router
from sentence_transformers.sentence_transformer.modules import Normalize
from tqdm.auto import tqdm

from vlm2vec import Limits, VLM2Vec, errors, profiles
from vlm2vec.inputs.parse import parse_input
from vlm2vec.inputs.parts import Input

TEXTS = ["a red circle", "a blue square left of a green triangle", "two words"]
IMAGE = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
CLIP = np.random.default_rng(1).integers(0, 256, (4, 56, 56, 3), dtype=np.uint8)
MIXED = [*TEXTS, IMAGE, {"text": "what is this", "image": IMAGE}, CLIP]


def test_is_a_sentence_transformer(tiny: VLM2Vec) -> None:
    assert isinstance(tiny, SentenceTransformer)


def test_encode_gives_unit_float32_rows(tiny: VLM2Vec) -> None:
    vectors = tiny.encode(MIXED)
    assert vectors.shape == (len(MIXED), 64)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_one_input_gives_one_vector(tiny: VLM2Vec) -> None:
    assert tiny.encode("a text").shape == tiny.encode(IMAGE).shape == (64,)


def test_no_inputs_give_no_rows(tiny: VLM2Vec) -> None:
    nothing = tiny.encode([])
    assert nothing.shape == (0, 64)
    assert tiny.similarity(tiny.encode(TEXTS), nothing).shape == (3, 0)
    assert tiny.encode([], convert_to_tensor=True).shape == (0, 64)


def test_any_iterable_is_a_batch(tiny: VLM2Vec) -> None:
    np.testing.assert_allclose(tiny.encode(text for text in TEXTS), tiny.encode(TEXTS), atol=1e-6)


def test_outputs_keep_their_meaning(tiny: VLM2Vec) -> None:
    vectors = tiny.encode(TEXTS)
    tensor = tiny.encode(TEXTS, convert_to_tensor=True)
    assert isinstance(tensor, torch.Tensor)
    np.testing.assert_allclose(tensor.numpy(), vectors, atol=1e-6)
    rows = tiny.encode(TEXTS, convert_to_numpy=False)
    assert [row.shape for row in rows] == [(64,)] * 3
    assert tiny.encode(TEXTS, precision="ubinary").shape == (3, 8)
    with pytest.raises(errors.InputError, match="truncate_dim is int 65, and vectors of this model have 64"):
        tiny.encode(TEXTS, truncate_dim=65)
    with pytest.raises(errors.InputError, match="truncate_dim is int 65"):
        tiny.encode_stream(TEXTS, truncate_dim=65)
    for encode in (tiny.encode, tiny.encode_stream):
        with pytest.raises(errors.InputError, match="truncate_dim is text"):
            encode(TEXTS, truncate_dim="8")
    for name in ("width", "window", "prompts"):
        with pytest.raises(errors.InputError, match=f'encode has no argument "{name}"'):
            tiny.encode(TEXTS, **{name: 3})
    assert tiny.encode(TEXTS, truncate_dim=64).shape == (3, 64)
    short = tiny.encode(TEXTS, truncate_dim=16)
    np.testing.assert_allclose(short, vectors[:, :16], atol=1e-6)
    unit = tiny.encode(TEXTS, truncate_dim=16, normalize_embeddings=True)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, atol=1e-6)


def test_token_states_are_those_of_the_prompt(tiny: VLM2Vec) -> None:
    states = tiny.encode(TEXTS, output_value="token_embeddings")
    lengths = tiny.preprocess(TEXTS)["attention_mask"].sum(1).tolist()
    assert [len(rows) for rows in states] == lengths
    everything = tiny.encode(TEXTS, output_value=None)
    np.testing.assert_allclose(everything[1]["sentence_embedding"], tiny.encode(TEXTS[1]), atol=1e-6)
    torch.testing.assert_close(everything[1]["token_embeddings"], states[1])
    ids, mask = everything[1]["input_ids"], everything[1]["attention_mask"]
    assert ids.tolist() == tiny.preprocess(TEXTS[1:2])["input_ids"][0].tolist()
    assert mask.tolist() == [1] * len(ids)
    assert tiny.encode(IMAGE, output_value=None)["input_ids"].shape == (
        len(tiny.encode([IMAGE], output_value="token_embeddings")[0]),
    )


def test_similarity_is_cosine(tiny: VLM2Vec) -> None:
    vectors = tiny.encode(TEXTS)
    np.testing.assert_allclose(tiny.similarity(vectors, vectors).numpy(), vectors @ vectors.T, atol=1e-6)


@pytest.mark.parametrize("name", ["cosine", "dot", "euclidean", "manhattan"])
def test_a_failed_input_is_never_the_best_match(tiny: VLM2Vec, name: str) -> None:
    model = VLM2Vec(modules=list(tiny), device="cpu", similarity_fn_name=name)
    query, documents = model.encode("a red circle"), model.encode([None, *TEXTS, None], on_error="nan")
    scores, pairs = model.similarity(query, documents)[0], model.similarity_pairwise(documents, documents)
    assert scores.isneginf().tolist() == pairs.isneginf().tolist() == [True, False, False, False, True]
    assert int(scores.argmax()) == int(scores.topk(1).indices) == 1
    stock = SentenceTransformer.similarity(model, query, documents[1:4])[0]
    torch.testing.assert_close(scores[1:4], stock, rtol=0, atol=1e-6)
    assert SentenceTransformer.similarity(model, query, documents)[0].argmax() == 0  # what is mended


def test_similarity_of_whole_numbers_and_gradients_stay_what_they_were(tiny: VLM2Vec) -> None:
    dot, small = VLM2Vec(modules=list(tiny), device="cpu", similarity_fn_name="dot"), torch.tensor([[1, 2]])
    assert dot.similarity(small, small).tolist() == [[5]]
    vectors = torch.randn(3, 64, requires_grad=True)
    (mine,) = torch.autograd.grad(tiny.similarity(vectors[:1], vectors[1:]).sum(), vectors)
    stock = SentenceTransformer.similarity(tiny, vectors[:1], vectors[1:])
    torch.testing.assert_close(mine, torch.autograd.grad(stock.sum(), vectors)[0])


@pytest.mark.parametrize("name", ["encode", "encode_query", "encode_document"])
def test_inputs_may_be_called_sentences(tiny: VLM2Vec, name: str) -> None:
    encode = getattr(tiny, name)
    expected = encode(TEXTS)
    np.testing.assert_array_equal(encode(sentences=TEXTS), expected)
    np.testing.assert_array_equal(encode(inputs=TEXTS), expected)
    assert encode(sentences="a text", batch_size=1).shape == (64,)
    for twice in (lambda: encode(TEXTS, sentences=TEXTS), lambda: encode(inputs=TEXTS, sentences=TEXTS)):
        with pytest.raises(errors.InputError, match="inputs are given twice"):
            twice()
    with pytest.raises(TypeError, match="'inputs'"):
        encode()


@pytest.mark.parametrize("name", ["encode", "encode_query", "encode_document"])
def test_arguments_may_be_given_by_position_in_the_order_of_sentence_transformers(
    tiny: VLM2Vec, name: str
) -> None:
    encode = getattr(tiny, name)
    places = list(inspect.signature(getattr(SentenceTransformer, name)).parameters)[1:-1]
    settings = {
        "inputs": TEXTS, "prompt_name": None, "prompt": "Find:", "batch_size": 2, "show_progress_bar": False,
        "output_value": "sentence_embedding", "precision": "float32", "convert_to_numpy": False,
        "convert_to_tensor": True, "device": "cpu", "normalize_embeddings": True, "truncate_dim": 16,
        "pool": None, "chunk_size": None,
    }  # fmt: skip
    assert list(settings) == places
    torch.testing.assert_close(encode(*settings.values()), encode(**settings), rtol=0, atol=0)
    with pytest.raises(errors.InputError, match="precision is given twice"):
        encode(TEXTS, None, None, 2, False, None, "int8", precision="int8")
    with pytest.raises(TypeError, match="positional"):
        encode(*settings.values(), "one more")


class _Scaled(torch.nn.Module):
    """What a user adds behind the pooling."""

    forward_kwargs: ClassVar[set[str]] = {"scale"}

    def forward(self, features: dict[str, torch.Tensor], scale: float = 1.0) -> dict[str, torch.Tensor]:
        return {**features, "sentence_embedding": features["sentence_embedding"] * scale}


def test_what_a_module_declares_is_an_argument_of_encode(tiny: VLM2Vec) -> None:
    model = VLM2Vec(modules=[*tiny, _Scaled()], device="cpu")
    assert "scale" in model.get_model_kwargs()
    for encode in (model.encode, model.encode_query):
        np.testing.assert_allclose(encode(TEXTS, scale=2.0), 2 * encode(TEXTS), atol=1e-6)
    with pytest.raises(errors.InputError, match='no argument "scale"'):
        tiny.encode(TEXTS, scale=2.0)
    with pytest.raises(errors.InputError, match='no argument "shift"'):
        model.encode(TEXTS, shift=2.0)


def test_a_router_gets_the_task(tiny: VLM2Vec) -> None:
    first, *others = tiny
    routes = {"query": [Normalize(), _Scaled()], "document": [Normalize()]}
    router = Router.for_query_document(routes["query"], routes["document"])
    model = VLM2Vec(modules=[first, *others, router], device="cpu")
    np.testing.assert_allclose(model.encode_document(TEXTS, scale=3.0), tiny.encode(TEXTS), atol=1e-6)
    np.testing.assert_allclose(model.encode_query(TEXTS, scale=3.0), 3 * tiny.encode(TEXTS), atol=1e-6)


def test_an_instruction_for_all_or_for_each(tiny: VLM2Vec) -> None:
    plain, other = "Represent this:", "Find:"
    for_all = tiny.encode(MIXED, instruction=plain)
    np.testing.assert_allclose(tiny.encode(MIXED, instruction=[plain] * len(MIXED)), for_all, atol=1e-6)
    each = tiny.encode(MIXED, instruction=[plain, other] * 3)
    np.testing.assert_allclose(each[::2], for_all[::2], atol=5e-7)
    assert np.abs(each[1::2] - for_all[1::2]).max() > 1e-3
    inside = tiny.encode([{"text": text, "instruction": plain} for text in TEXTS])
    np.testing.assert_allclose(inside, for_all[:3], atol=5e-7)
    with pytest.raises(errors.InputError, match="instruction"):
        tiny.encode(TEXTS, instruction=[plain])


def test_prompts_are_instructions_for_inputs_that_have_none(golden: Path) -> None:
    model = VLM2Vec(
        golden / "tiny_qwen2vl",
        profile="vlm2vec-v2",
        device="cpu",
        prompts={"query": "Find:", "document": ""},
    )
    np.testing.assert_allclose(model.encode_query(TEXTS), model.encode(TEXTS, instruction="Find:"), atol=1e-6)
    np.testing.assert_array_equal(
        model.encode_query(TEXTS, instruction="Other:"), model.encode(TEXTS, prompt="Other:")
    )
    np.testing.assert_allclose(model.encode_query(TEXTS, instruction=""), model.encode(TEXTS), atol=1e-6)
    np.testing.assert_allclose(model.encode_document(TEXTS), model.encode(TEXTS), atol=1e-6)


def test_queries_end_as_the_profile_ends_them(golden: Path) -> None:
    profile = dataclasses.replace(profiles.get("vlm2vec-v2"), query_suffix="<|endoftext|>")
    model = VLM2Vec(golden / "tiny_qwen2vl", profile=profile, device="cpu")
    ended = model.encode([{"prompt": f"{text}<|endoftext|>"} for text in TEXTS])
    np.testing.assert_allclose(model.encode_query(TEXTS), ended, atol=5e-7)
    np.testing.assert_array_equal(model.encode_document(TEXTS), model.encode(TEXTS))
    assert np.abs(model.encode_query(TEXTS) - model.encode(TEXTS)).max() > 1e-2
    query, document = (model.preprocess(TEXTS, task=task)["input_ids"] for task in ("query", "document"))
    assert query.shape[1] == document.shape[1] + 1


def test_a_bad_input_costs_itself_alone(tiny: VLM2Vec, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n nothing behind it")
    inputs = [TEXTS[0], broken, None, TEXTS[1], {"image": "missing.png"}]
    told: list[tuple[int, errors.VLM2VecError]] = []
    vectors = tiny.encode(inputs, on_error=lambda index, error: told.append((index, error)))
    assert np.isnan(vectors).all(1).tolist() == [False, True, True, False, True]
    np.testing.assert_allclose(vectors[[0, 3]], tiny.encode(TEXTS[:2]), atol=5e-7)
    assert [index for index, _ in told] == [1, 2, 4] == [error.index for _, error in told]
    np.testing.assert_allclose(tiny.encode(inputs, on_error="nan"), vectors, atol=1e-6)
    with pytest.raises(errors.MediaError, match=r"input 1 \(.*broken.png\)"):
        tiny.encode(inputs)
    assert np.isnan(tiny.encode([None], on_error="nan")).all()


def test_error_policies_are_checked_before_work(tiny: VLM2Vec) -> None:
    with pytest.raises(errors.InputError, match="on_error"):
        tiny.encode(TEXTS, on_error="skip")
    with pytest.raises(errors.InputError, match="NaN"):
        tiny.encode(TEXTS, on_error="nan", precision="int8")


def test_arguments_without_effect_are_refused(tiny: VLM2Vec, golden: Path) -> None:
    with pytest.raises(errors.InputError, match="max_pixels"):
        tiny.encode(TEXTS, processing_kwargs={"image": {"max_pixels": 1}})
    refused = {name: {"a": 1} for name in ("processor_kwargs", "config_kwargs", "model_kwargs")}
    refused |= {"backend": "onnx", "tokenizer_kwargs": {"a": 1}}
    for name, value in refused.items():
        with pytest.raises(errors.InputError, match=name.replace("tokenizer", "processor")):
            VLM2Vec(golden / "tiny_qwen2vl", profile="vlm2vec-v2", **{name: value})


def test_unknown_arguments_are_refused(tiny: VLM2Vec) -> None:
    with pytest.raises(errors.InputError, match=r"instructions.* Did you mean instruction\?"):
        tiny.encode(TEXTS, instructions="Find:")


def test_unknown_prompts_are_refused_before_inputs_are_read(tiny: VLM2Vec) -> None:
    unread = (pytest.fail("an input was read") for _ in TEXTS)
    for encode in (tiny.encode, tiny.encode_query, tiny.encode_stream):
        with pytest.raises(errors.InputError, match="no prompt 'title'"):
            encode(unread, prompt_name="title")


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "cuda:"])
def test_a_device_that_is_not_there_is_told_before_the_model_is_loaded(device: str) -> None:
    with pytest.raises(errors.InputError, match=f"device.*{device}"):
        VLM2Vec("no/model", device=device)


@pytest.mark.parametrize("device", ["gpu", "cuda:99", ["cpu", "cuda:99"]])
def test_a_device_that_is_not_there_is_told_before_inputs_are_read(
    tiny: VLM2Vec, device: str | list[str]
) -> None:
    unread = (pytest.fail("an input was read") for _ in TEXTS)
    for encode in (tiny.encode, tiny.encode_query, tiny.encode_document):
        with pytest.raises(errors.InputError, match="there is no device"):
            encode(unread, device=device)


@pytest.mark.parametrize("components", [-1, 0, 2.5])
def test_a_model_keeps_a_whole_number_of_components_or_all(components: float) -> None:
    with pytest.raises(errors.InputError, match="truncate_dim is"):
        VLM2Vec("no/model", truncate_dim=components)


def test_progress_is_shown_when_asked(tiny: VLM2Vec, capsys: pytest.CaptureFixture[str]) -> None:
    tiny.encode(TEXTS, show_progress_bar=True)
    assert "3/3" in capsys.readouterr().err
    tiny.encode(TEXTS, show_progress_bar=False)
    assert not capsys.readouterr().err


def test_progress_that_is_not_shown_starts_no_thread(tiny: VLM2Vec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tqdm, "monitor", None)
    tiny.encode(TEXTS, show_progress_bar=False)
    assert tqdm.monitor is None


@pytest.fixture
def short(golden: Path) -> VLM2Vec:
    """A model with a context of 20 tokens."""
    model = VLM2Vec(golden / "tiny_qwen2vl", profile="vlm2vec-v2", device="cpu")
    model.max_seq_length = 20
    return model


@pytest.mark.parametrize("length", [-1, 0.5, "20"])
def test_a_context_of_no_length_is_refused(short: VLM2Vec, length: object) -> None:
    short.max_seq_length = length
    with pytest.raises(errors.InputError, match="max_seq_length is"):
        short.encode("a cat" * 50)


LONG = "one two three " * 30 + "end"


def test_long_texts_are_refused_or_shortened(short: VLM2Vec, tiny: VLM2Vec) -> None:
    with pytest.raises(
        errors.ContextLengthError, match=r"input 0 .* tokens, and the model's context holds 20"
    ):
        short.encode([LONG])
    ids = short[0].preparer(_parsed(LONG), truncate=True).token_ids
    full = short.tokenizer.encode(LONG, add_special_tokens=False)
    assert ids.tolist() == [*full[:19], full[-1]]
    assert short.preprocess([LONG], truncate=True)["input_ids"].shape == (1, 20)
    kept = short.tokenizer.decode(ids)
    np.testing.assert_allclose(short.encode(LONG, truncate=True), tiny.encode(kept), atol=1e-6)


def test_truncation_leaves_media_instructions_and_raw_prompts_alone(short: VLM2Vec) -> None:
    picture = {"image": IMAGE[:56, :56], "text": LONG}
    ids = short[0].preparer(_parsed(picture), truncate=True).token_ids
    assert len(ids) == 20
    assert (ids == short.tokenizer.convert_tokens_to_ids("<|image_pad|>")).sum() == 4
    instructed = short[0].preparer(_parsed(LONG, "Find a thing:"), truncate=True).token_ids
    assert short.tokenizer.decode(instructed).startswith("Find a thing: one")
    for refused in (np.tile(IMAGE, (8, 8, 1)), {"prompt": LONG}, {"text": "a", "instruction": LONG}):
        with pytest.raises(errors.ContextLengthError):
            short.encode([refused], truncate=True)


def _parsed(given: object, instruction: str | None = None) -> Input:
    return parse_input(given, index=0, instruction=instruction)


def test_an_input_without_tokens_is_an_error(tiny: VLM2Vec) -> None:
    with pytest.raises(errors.InputError, match="nothing to embed"):
        tiny[0].preparer(Input(()))


def test_threads_share_a_model(embedded: VLM2Vec) -> None:
    texts = [f"a <|im_end|> {number}" for number in range(40)]
    alone = embedded.encode(texts)
    with ThreadPoolExecutor(4) as threads:
        rows = list(threads.map(embedded.encode, texts))
    np.testing.assert_allclose(np.stack(rows), alone, atol=5e-7)


def test_copies_and_pickles_give_the_same_vectors(tiny: VLM2Vec) -> None:
    vectors = tiny.encode(MIXED)
    for other in (copy.deepcopy(tiny), pickle.loads(pickle.dumps(tiny))):  # noqa: S301
        np.testing.assert_allclose(other.encode(MIXED), vectors, atol=1e-6)


def test_modules_may_be_given(tiny: VLM2Vec) -> None:
    model = VLM2Vec(modules=list(tiny), device="cpu")
    np.testing.assert_allclose(model.encode(TEXTS), tiny.encode(TEXTS), atol=1e-6)
    beside = {"profile": "vlm2vec-v2", "dtype": "bfloat16", "model_kwargs": {"dtype": "bfloat16"}}
    beside |= {"processor_kwargs": {"max_pixels": 50176}}
    for name, value in beside.items():
        with pytest.raises(errors.InputError, match=f"modules= is given, and {name}"):
            VLM2Vec(modules=list(tiny), **{name: value})
    with pytest.raises(errors.InputError, match="modules= is given, and model_name_or_path"):
        VLM2Vec("a/model", modules=list(tiny))


def test_modules_of_another_kind_are_refused_at_once(tiny: VLM2Vec) -> None:
    wrong = {
        "an empty list": [],
        "Linear, Pooling": [torch.nn.Linear(2, 2), tiny[1]],
        "Pooling, Normalize": list(tiny)[1:],
        "InputModule": [tiny[0]],
    }
    for said, modules in wrong.items():
        with pytest.raises(errors.InputError, match=f"modules are {said}. Pass an InputModule"):
            VLM2Vec(modules=modules)


def test_settings_reach_saved_folders_too(embedded: VLM2Vec, tmp_path: Path) -> None:
    embedded.save(str(tmp_path))
    other = profiles.get("vlm2vec-v2")  # a profile in person is meant as it is, and warns of nothing
    model = VLM2Vec(tmp_path, device="cpu", limits=Limits(max_image_pixels=100), profile=other)
    assert model.profile == profiles.get("vlm2vec-v2")
    with pytest.raises(errors.LimitError, match="100 pixels"):
        model.encode([IMAGE])
    with pytest.raises(TypeError, match=r"vlm2vec\.Limits"):
        VLM2Vec(tmp_path, limits={"max_pages": 1})


def test_a_profile_may_be_given_as_an_object(golden: Path) -> None:
    profile = dataclasses.replace(profiles.get("vlm2vec-v2"), name="mine", joiner="\n")
    model = VLM2Vec(golden / "tiny_qwen2vl", profile=profile, device="cpu")
    assert model.profile is profile


def test_truncate_dim_decides_the_width_whatever_fails(golden: Path, tmp_path: Path) -> None:
    model = VLM2Vec(golden / "tiny_qwen2vl", profile="vlm2vec-v2", device="cpu", truncate_dim=16)
    assert model.encode(TEXTS).shape == (3, 16)
    assert model.encode([], truncate_dim=8).shape == (0, 8)
    assert model.encode([None], on_error="nan", truncate_dim=8).shape == (1, 8)
    assert model.encode([None], on_error="nan").shape == (1, 16)
    model.save(str(tmp_path))
    assert VLM2Vec(tmp_path, device="cpu").encode(TEXTS).shape == (3, 16)


@pytest.mark.parametrize("prompt", [3, "\ud800"])
def test_prompts_are_checked_like_instructions(tiny: VLM2Vec, prompt: object) -> None:
    with pytest.raises(errors.InputError, match="the prompt"):
        tiny.encode(TEXTS, prompt=prompt)
    with pytest.raises(errors.InputError, match="the prompt"):
        tiny.preprocess(TEXTS, prompt=prompt)


def test_control_tokens_in_a_users_text_are_plain_text(tiny: VLM2Vec) -> None:
    special = set(tiny.tokenizer.all_special_ids)
    text = "see <|image_pad|> and <|im_end|> here"
    ids = tiny.preprocess([text])["input_ids"][0].tolist()
    assert not special & set(ids)
    assert tiny.tokenizer.decode(ids) == text
    tiny.encode([{"text": text, "image": IMAGE}])


def test_whitespace_is_kept(tiny: VLM2Vec) -> None:
    for text in ("  two before", "a newline\n", "\ttab", "double  space "):
        ids = tiny.preprocess([text])["input_ids"][0].tolist()
        assert tiny.tokenizer.decode(ids) == text


@pytest.mark.slow
def test_worker_processes_give_the_same_rows(tiny: VLM2Vec) -> None:
    inputs = [*MIXED, None]
    vectors = tiny.encode(inputs, on_error="nan", device=["cpu", "cpu"], chunk_size=2)
    np.testing.assert_allclose(vectors, tiny.encode(inputs, on_error="nan"), atol=5e-7)
    with pytest.raises(errors.InputError, match="input 6"):
        tiny.encode(inputs, output_value="token_embeddings", device=["cpu"])


def test_halving_the_weights_leaves_the_positions_exact(embedded: VLM2Vec) -> None:
    text = ["the last word of a long text: " + "a red circle and " * 400]
    exact = embedded.encode(text)
    model = copy.deepcopy(embedded).bfloat16()
    assert next(model.parameters()).dtype == torch.bfloat16
    loaded = VLM2Vec(device="cpu", dtype="bfloat16")
    np.testing.assert_allclose(model.encode(text), loaded.encode(text), atol=1e-6)
    assert float((model.float().encode(text) @ exact.T).min()) > 0.9999


def test_a_stream_follows_the_settings_of_the_model(golden: Path) -> None:
    prompts = {"query": "Find this: ", "other": "Represent this: "}
    model = VLM2Vec(
        golden / "tiny_qwen2vl",
        profile="vlm2vec-v2",
        device="cpu",
        truncate_dim=16,
        prompts=prompts,
        default_prompt_name="query",
    )
    texts = ["a cat", "a dog"]
    for settings in ({}, {"prompt_name": "other"}, {"prompt": "Say: "}, {"truncate_dim": 8}):
        streamed = [vector for _, vector in model.encode_stream(texts, **settings)]
        np.testing.assert_allclose(streamed, model.encode(texts, **settings), atol=1e-6)
    with pytest.raises(errors.InputError, match="max_tokens_per_batch"):
        model.encode_stream(texts, max_tokens_per_batch=0)


def test_failed_rows_are_as_wide_as_the_others_behind_any_module(tiny: VLM2Vec) -> None:
    from sentence_transformers.sentence_transformer.modules import Dense

    narrow = VLM2Vec(modules=[*list(tiny)[:2], Dense(64, 24)], device="cpu")
    vectors = narrow.encode(["a text", None], on_error="nan")
    assert vectors.shape == (2, 24)
    assert np.isnan(vectors).all(1).tolist() == [False, True]
    assert narrow.encode([]).shape == (0, 24)


@pytest.mark.parametrize("name", ["encode", "encode_query", "encode_document"])
def test_batches_are_bounded_by_tokens_alone_unless_asked(
    tiny: VLM2Vec, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    forward = tiny[0].forward
    monkeypatch.setattr(
        tiny[0],
        "forward",
        lambda features: sizes.append(len(features["packed"].offsets) - 1) or forward(features),
    )
    texts = [f"text number {number}" for number in range(50)]
    getattr(tiny, name)(texts)
    assert sizes == [50]
    sizes.clear()
    getattr(tiny, name)(texts, batch_size=20)
    assert sizes == [20, 20, 10]


def test_a_saved_model_gives_the_same_vectors(tiny: VLM2Vec, tmp_path: Path) -> None:
    tiny.save_pretrained(str(tmp_path))
    again = VLM2Vec(tmp_path, device="cpu")
    assert again.profile == tiny.profile
    np.testing.assert_allclose(again.encode(MIXED), tiny.encode(MIXED), atol=1e-6)


def test_a_model_is_saved_over_another_whose_weights_came_in_parts(
    tiny: VLM2Vec, embedded: VLM2Vec, tmp_path: Path
) -> None:
    embedded.save_pretrained(str(tmp_path))
    embedded[0].model.save_pretrained(tmp_path, max_shard_size="1MB")
    (tmp_path / "notes.txt").write_text("mine")
    assert len(list(tmp_path.glob("model-*-of-*.safetensors"))) > 1
    tiny.save_pretrained(str(tmp_path))
    assert [path.name for path in tmp_path.glob("model*")] == ["model.safetensors"]
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert not list(tmp_path.glob("*.part"))
    np.testing.assert_allclose(VLM2Vec(tmp_path, device="cpu").encode(MIXED), tiny.encode(MIXED), atol=1e-6)


def test_a_saved_folder_has_the_stock_layout(tiny: VLM2Vec, tmp_path: Path) -> None:
    tiny.save_pretrained(str(tmp_path))
    modules = json.loads((tmp_path / "modules.json").read_text())
    assert [module["type"].rpartition(".")[2] for module in modules] == [
        "Transformer",
        "Pooling",
        "Normalize",
    ]
    assert all(module["type"].startswith("sentence_transformers.") for module in modules)
    pooling = json.loads((tmp_path / "1_Pooling" / "config.json").read_text())
    assert pooling["pooling_mode"] == "lasttoken"
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["model_type"] == "qwen2_vl"
    image = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert image["size"] == {"shortest_edge": 3136, "longest_edge": 1003520}
    assert "1-D positions" in (tmp_path / "README.md").read_text()
    for name in ("model.safetensors", "tokenizer.json", "chat_template.jinja", "vlm2vec.json"):
        assert (tmp_path / name).is_file()


def test_without_a_path_nothing_is_saved(
    tiny: VLM2Vec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny.save(None)
    tiny.save_pretrained(None)
    assert not list(tmp_path.iterdir())


def test_the_card_calls_a_model_by_its_name_once_it_has_one(tiny: VLM2Vec, tmp_path: Path) -> None:
    model = VLM2Vec(modules=list(tiny), device="cpu")
    model.save(str(tmp_path / "unnamed"))
    card = (tmp_path / "unnamed" / "README.md").read_text(encoding="utf-8")
    assert 'VLM2Vec("this/folder")' in card
    assert 'SentenceTransformer("this/folder")' in card
    again = VLM2Vec(tmp_path / "unnamed", device="cpu")
    again.save(str(tmp_path / "named"), model_name="somebody/tiny")
    model.save(str(tmp_path / "named at once"), "somebody/tiny", True)
    model.save(str(tmp_path / "without"), None, False)
    assert not (tmp_path / "without" / "README.md").exists()
    for folder in ("named", "named at once"):
        card = (tmp_path / folder / "README.md").read_text(encoding="utf-8")
        assert 'VLM2Vec("somebody/tiny")' in card
        assert 'SentenceTransformer("somebody/tiny")' in card
        assert "this/folder" not in card
        assert "sentence_transformers_model_id" not in card


def test_unknown_checkpoints_need_a_profile(golden: Path) -> None:
    with pytest.raises(errors.ProfileError, match="vlm2vec-embedded, vlm2vec-v1-qwen2vl, vlm2vec-v2"):
        VLM2Vec(golden / "tiny_qwen2vl", device="cpu")
    with pytest.raises(errors.ProfileError, match="no profile 'v3'"):
        VLM2Vec("nobody/fetches-this", profile="v3", device="cpu")


def test_a_profile_of_another_family_is_warned_of(embedded: VLM2Vec, tmp_path: Path) -> None:
    both = r"follows the profile vlm2vec-embedded, and is loaded with gme-qwen2vl"
    with pytest.warns(errors.VLM2VecWarning, match=both):
        assert VLM2Vec(profile="gme-qwen2vl", device="cpu").profile == profiles.get("gme-qwen2vl")
    embedded.save(str(tmp_path))
    with pytest.warns(errors.VLM2VecWarning, match=both):
        VLM2Vec(tmp_path, profile="gme-qwen2vl", device="cpu")
    VLM2Vec(tmp_path, profile="vlm2vec-embedded", device="cpu")  # warnings are errors in these tests
    (tmp_path / "vlm2vec.json").write_text("damaged")
    VLM2Vec(tmp_path, profile="gme-qwen2vl", device="cpu")


def test_loading_leaves_no_warnings(golden: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        VLM2Vec(golden / "tiny_qwen2vl", profile="vlm2vec-v2", device="cpu")
    assert not caplog.records


def test_an_empty_name_of_a_model_is_an_error() -> None:
    with pytest.raises(errors.CheckpointError, match="the name of the model is empty"):
        VLM2Vec("", device="cpu")


@pytest.mark.parametrize(
    "name", [Path("nowhere"), "./nowhere", "/nowhere/at/all", "no/where/at_all", "no\\where"]
)
def test_a_path_that_is_no_folder_is_told_without_asking_the_hub(name: str | Path) -> None:
    with pytest.raises(errors.CheckpointError, match="there is no such folder"):
        VLM2Vec(name)


def test_a_file_is_no_model(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.touch()
    with pytest.raises(errors.CheckpointError, match="this is a file"):
        VLM2Vec(str(file))


def test_a_row_of_nan_is_never_the_best_match(embedded: VLM2Vec, tmp_path: Path) -> None:
    """Nor for sentence-transformers' own search, if it is given the model's similarity."""
    from sentence_transformers.util import semantic_search

    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    documents = embedded.encode_document(
        [tmp_path / "broken.png", "a red square", "a blue square"], on_error="nan"
    )
    query = embedded.encode_query("a red picture")
    right = int(np.nanargmax(documents @ query))
    assert int(embedded.similarity(query, documents).argmax()) == right
    (hits,) = semantic_search(
        torch.tensor(query)[None], torch.tensor(documents), top_k=3, score_function=embedded.similarity
    )
    assert hits[0]["corpus_id"] == right
    assert hits[-1]["corpus_id"] == 0
