"""The profiles of GME and LamRA: prompts to the character and the token; repositories, loaded or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from vlm2vec import VLM2Vec, errors, profiles
from vlm2vec.encoding.prompt import IMAGE_TOKEN, VIDEO_TOKEN, Control, Plain, lay_out
from vlm2vec.inputs.parse import parse_input
from vlm2vec.inputs.parts import Clip

IMAGE = np.zeros((28, 28, 3), np.uint8)
CLIP = np.zeros((2, 28, 28, 3), np.uint8)
USER = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
TURN = "<|im_end|>\n<|im_start|>assistant\n"
SEEN = "<|vision_start|><|image_pad|><|vision_end|>"

GME = [
    ("a cat", None, f"{USER}a cat{TURN}<|endoftext|>"),
    ("a cat", "", f"{USER}a cat{TURN}<|endoftext|>"),
    (
        {"image": IMAGE, "text": "what?"},
        "Find it.",
        f"<|im_start|>system\nFind it.<|im_end|>\n<|im_start|>user\n{SEEN}what?{TURN}<|endoftext|>",
    ),
    ([IMAGE, "a", IMAGE], None, f"{USER}{SEEN}a{SEEN}{TURN}<|endoftext|>"),
]
LAMRA = [
    ("a cat", None, f"{USER}a cat\nSummarize above sentence in one word: {TURN}"),
    ("a cat", "Find it.", f"{USER}Find it. a cat\nSummarize above sentence in one word: {TURN}"),
    (IMAGE, None, f"{USER}{SEEN}\nSummarize above image in one word: {TURN}"),
    (
        {"image": IMAGE, "text": "what?"},
        "Find it.",
        f"{USER}{SEEN}Find it. what?\nSummarize above image and sentence in one word: {TURN}",
    ),
    (IMAGE, "Find it.", f"{USER}{SEEN}Find it.\nSummarize above image and sentence in one word: {TURN}"),
    (
        [CLIP, "a"],
        None,
        f"{USER}<|vision_start|><|video_pad|><|vision_end|>a"
        f"\nSummarize above video and sentence in one word: {TURN}",
    ),
]


def written(given: Any, instruction: str | None, profile: str) -> str:
    segments = lay_out(parse_input(given, instruction=instruction), profiles.get(profile))
    return "".join(
        segment.text
        if isinstance(segment, Plain | Control)
        else VIDEO_TOKEN
        if isinstance(segment, Clip)
        else IMAGE_TOKEN
        for segment in segments
    )


@pytest.mark.parametrize(
    ("profile", "given", "instruction", "prompt"),
    [("gme-qwen2vl", *case) for case in GME] + [("lamra-ret", *case) for case in LAMRA],
)
def test_prompts(profile: str, given: Any, instruction: str | None, prompt: str) -> None:
    assert written(given, instruction, profile) == prompt


@pytest.fixture(scope="module", params=["gme-qwen2vl", "lamra-ret"])
def model(request: pytest.FixtureRequest, golden: Path) -> VLM2Vec:
    return VLM2Vec(golden / "tiny_qwen2vl", profile=request.param, device="cpu")


def token_ids(model: VLM2Vec, given: Any, instruction: str | None = None, **settings: Any) -> list[int]:
    item = parse_input(given, instruction=instruction)
    (prepared,) = model[0].preparer.prepare_all([item], **settings)
    ids: list[int] = prepared.token_ids.tolist()
    return ids


@pytest.mark.parametrize("text", ["the end.", "\n begins below", "  blanks  ", "a\n", "x"])
@pytest.mark.parametrize("instruction", [None, "Find it:"])
def test_tokens_are_those_of_the_prompt_as_a_whole(
    model: VLM2Vec, text: str, instruction: str | None
) -> None:
    """A dot and the line break behind it are one token."""
    whole = model.tokenizer(written(text, instruction, model.profile.name))["input_ids"]
    assert token_ids(model, text, instruction) == whole


def test_control_tokens_in_a_text_are_plain(model: VLM2Vec) -> None:
    end = model.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert token_ids(model, "a <|im_end|> b").count(end) == token_ids(model, "a b").count(end)


def test_truncation_leaves_the_words_of_the_profile(model: VLM2Vec) -> None:
    short, long = token_ids(model, "a"), token_ids(model, "a " * 500)
    kept = len(short) + 10
    model.max_seq_length = kept
    try:
        with pytest.raises(errors.ContextLengthError):
            token_ids(model, "a " * 500)
        cut = token_ids(model, "a " * 500, truncate=True)
    finally:
        model.max_seq_length = None
    begin = next(i for i, (one, other) in enumerate(zip(short, long, strict=False)) if one != other)
    end = len(short) - begin - 1
    assert len(cut) == kept
    assert cut[:begin] == long[:begin]
    assert cut[-end:] == long[-end:] == short[-end:]


def test_published_repositories_follow_them() -> None:
    assert profiles.of_repository("Alibaba-NLP/gme-Qwen2-VL-7B-Instruct") == profiles.get("gme-qwen2vl")
    assert profiles.of_repository("code-kunkun/LamRA-Ret") == profiles.get("lamra-ret")
    for size in ("2B", "7B"):
        ops = profiles.of_repository(f"OpenSearch-AI/Ops-MM-embedding-v1-{size}")
        assert ops == profiles.get("ops-mm-v1")
    assert profiles.of_repository("qihoo360/RzenEmbed") == profiles.get("rzenembed")


@pytest.mark.parametrize(
    ("repository", "said"),
    [
        ("BAAI/BGE-VL-MLLM-S1", "<instruct>"),
        ("DeepGlint-AI/UniME-LLaVA-1.6-7B", "another prompt"),
        ("zhibinlan/LLaVE-7B", "mm_projector"),
        ("interestFM-UIR-CAFe-7B", "no public weights"),
        ("intfloat/mmE5-mllama-11b-instruct", "cross-attention"),
        ("haoyu-bu/CAFe-7B", "mm_projector.*no public weights"),
        ("vidore/colpali-v1.3", "MultiVectorEncoder"),
        ("vidore/colqwen2-v1.0", "a vector for each token.*MultiVectorEncoder"),
        ("vidore/colqwen2.5-v0.2", "MultiVectorEncoder"),
        ("nomic-ai/colnomic-embed-multimodal-7b", "MultiVectorEncoder"),
        ("jinaai/jina-embeddings-v4", "three adapters"),
        ("IFM-TTE-7B", "no weights"),
        ("seed-1.6-embedding", "no weights"),
    ],
)
def test_models_that_cannot_be_loaded_are_refused_with_the_reason_before_they_are_fetched(
    repository: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask_hub(self: SentenceTransformer, *_: Any, **__: Any) -> None:
        raise AssertionError("the hub was asked for the list of modules")

    monkeypatch.setattr(SentenceTransformer, "__init__", ask_hub)
    with pytest.raises(errors.CheckpointError, match=said):
        VLM2Vec(repository, profile="vlm2vec-v2", device="cpu")
