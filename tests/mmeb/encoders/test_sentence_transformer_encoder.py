"""Any `SentenceTransformer`: its own vectors, in order, with the instruction as prompt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding

from vlm2vec import VLM2Vec
from vlm2vec.errors import MediaError
from vlm2vec.mmeb.encoders import encoder_of
from vlm2vec.mmeb.samples import Content


def model() -> SentenceTransformer:
    tokenizer = VLM2Vec(device="cpu").tokenizer.backend_tokenizer
    return SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=8)], device="cpu")


def test_vectors_are_the_model_s_own_and_in_order(tmp_path: Path) -> None:
    static = model()
    (tmp_path / "broken.png").write_bytes(b"no picture")
    contents = [
        Content("", text="a red circle", instruction="Find it:"),
        Content("", image=tmp_path / "broken.png"),
        Content("", text="a blue star"),
        Content("", text="a green ring", instruction="Find it:"),
    ]
    rows = encoder_of(static, name="static").encode(contents, role="query")
    assert isinstance(rows[1], MediaError)
    for place in (0, 2, 3):
        given = contents[place]
        prompt = f"{given.instruction} " if given.instruction else ""
        expected = static.encode(given.text, prompt=prompt, normalize_embeddings=True)
        np.testing.assert_allclose(rows[place], expected, atol=1e-6)


def test_other_weights_are_another_model() -> None:
    static = model()
    before = encoder_of(static).identity()
    assert encoder_of(static).identity() == before
    assert encoder_of(static, truncate_dim=4).identity() != before
    next(static.parameters()).data[0] += 1
    assert encoder_of(static).identity() != before
