"""A saved folder opens in plain `SentenceTransformer` and gives the same vectors there.

Plain sentence-transformers loads Qwen2-VL's processor, which needs torchvision. Where that is missing, the
test hands it the same processor built around transformers' PIL backend; everything else runs as it ships.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import transformer as stock_module
from transformers import AutoTokenizer, Qwen2VLProcessor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from vlm2vec import VLM2Vec

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


class _PilProcessor(Qwen2VLProcessor):
    """The stock processor without its video half, which is what needs torchvision."""

    def check_argument_for_proper_class(self, argument_name: str, argument: object) -> type:
        return type(argument)


class _AutoProcessor:
    @staticmethod
    def from_pretrained(path: str, **_: object) -> Qwen2VLProcessor:
        tokenizer = AutoTokenizer.from_pretrained(path)
        return _PilProcessor(
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
