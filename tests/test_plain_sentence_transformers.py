"""A saved folder opens in plain `SentenceTransformer` and gives the same vectors there.

Plain sentence-transformers loads Qwen2-VL's processor, which needs torchvision. Where that is missing, the
test hands it the same processor built around transformers' PIL backend; everything else runs as it ships.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from golden_families import CHECKPOINTS, PROFILES
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import transformer as stock_module
from transformers import (
    AutoTokenizer,
    ProcessorMixin,
    Qwen2_5_VLProcessor,
    Qwen2VLProcessor,
    Qwen3VLProcessor,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.utils import is_torchvision_available

from vlm2vec import VLM2Vec, profiles
from vlm2vec.model_card import usage

PICTURES = [
    PIL.Image.fromarray(np.random.default_rng(seed).integers(0, 256, (84, 112, 3), dtype=np.uint8))
    for seed in range(2)
]
TEXTS = ["a red circle", "two words\n", "text with <|im_end|> inside"]
WITH_PICTURES = [
    PICTURES[0],
    {"image": PICTURES[0], "text": "what is this"},
    {"text": "first the text", "image": PICTURES[1]},
]


class _NoVideoProcessor:
    model_input_names: tuple[str, ...] = ()

    def __init__(self, **_: object) -> None: ...


STOCK = {one.__name__: one for one in (Qwen2VLProcessor, Qwen2_5_VLProcessor, Qwen3VLProcessor)}


def without_video(stock: type[ProcessorMixin]) -> type[ProcessorMixin]:
    """The stock processor without its video half, which is what needs torchvision."""

    class PilProcessor(stock):  # type: ignore[valid-type,misc]
        def check_argument_for_proper_class(self, argument_name: str, argument: object) -> type:
            return type(argument)

    return PilProcessor


class _AutoProcessor:
    @staticmethod
    def from_pretrained(path: str, **_: object) -> ProcessorMixin:
        tokenizer = AutoTokenizer.from_pretrained(path)
        named = json.loads((Path(path) / "preprocessor_config.json").read_text())["processor_class"]
        return without_video(STOCK[named])(
            image_processor=Qwen2VLImageProcessorPil.from_pretrained(path),
            tokenizer=tokenizer,
            video_processor=_NoVideoProcessor(),
            chat_template=tokenizer.chat_template,
        )


def plain(model: VLM2Vec, folder: Path, monkeypatch: pytest.MonkeyPatch) -> SentenceTransformer:
    model.save_pretrained(str(folder))
    monkeypatch.setattr(stock_module, "AutoProcessor", _AutoProcessor)
    opened = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": "float32"})
    assert type(opened[0]) is stock_module.Transformer
    return opened


@pytest.mark.parametrize("instruction", [None, "Represent this:"])
def test_the_embedded_model_gives_the_same_vectors(
    embedded: VLM2Vec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instruction: str | None
) -> None:
    stock = plain(embedded, tmp_path, monkeypatch)
    for inputs in (TEXTS, WITH_PICTURES, [*TEXTS, *WITH_PICTURES]):
        theirs = stock.encode(inputs, prompt=instruction)
        np.testing.assert_allclose(embedded.encode(inputs, instruction=instruction), theirs, atol=2e-6)


def test_query_and_document_instructions_are_saved(
    embedded: VLM2Vec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock = plain(embedded, tmp_path, monkeypatch)
    np.testing.assert_allclose(embedded.encode_query(TEXTS), stock.encode_query(TEXTS), atol=2e-6)
    np.testing.assert_allclose(embedded.encode_document(PICTURES), stock.encode_document(PICTURES), atol=2e-6)


def test_texts_agree_where_positions_are_1d(
    tiny: VLM2Vec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock = plain(tiny, tmp_path, monkeypatch)
    np.testing.assert_allclose(
        tiny.encode(TEXTS, instruction="Find:"), stock.encode(TEXTS, prompt="Find:"), atol=2e-6
    )


@pytest.mark.parametrize("instruction", [None, "Find it", "Find it!"])
def test_qwen3_vl_embedding_gives_the_same_vectors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instruction: str | None
) -> None:
    model = VLM2Vec(CHECKPOINTS["qwen3_vl"], profile=PROFILES["qwen3_vl"], device="cpu", dtype="float32")
    stock = plain(model, tmp_path, monkeypatch)
    for inputs in (TEXTS, WITH_PICTURES):
        theirs = stock.encode(inputs, prompt=instruction)
        np.testing.assert_allclose(model.encode(inputs, instruction=instruction), theirs, atol=2e-6)


def test_texts_of_nomic_agree_but_for_queries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = VLM2Vec(CHECKPOINTS["biqwen"], profile=PROFILES["biqwen"], device="cpu", dtype="float32")
    stock = plain(model, tmp_path, monkeypatch)
    np.testing.assert_allclose(model.encode_document(TEXTS), stock.encode_document(TEXTS), atol=2e-6)
    assert np.abs(model.encode_query(TEXTS) - stock.encode_query(TEXTS)).max() > 1e-3


def test_the_card_says_what_plain_sentence_transformers_needs(embedded: VLM2Vec, tmp_path: Path) -> None:
    """True where the processor has a half for videos, and of no other."""
    assert "`pip install torchvision`" in usage(embedded.profile)
    assert "torchvision" not in usage(profiles.get("vlm2vec-v1-llava-next"))
    embedded.save_pretrained(str(tmp_path))
    if not is_torchvision_available():
        with pytest.raises(ImportError, match="Torchvision"):
            SentenceTransformer(str(tmp_path), device="cpu")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("qwen3_vl", ["vectors of videos are not."]),
        ("biqwen", ["vectors of videos are not.", "vectors of `encode_query` are not the same there."]),
        ("plain_1d", ["vectors of images, videos and pages are not."]),
    ],
)
def test_the_card_says_where_they_differ(name: str, said: list[str]) -> None:
    note = usage(PROFILES[name])
    assert all(sentence in note for sentence in said)
    assert note.count(" are not") == len(said)
