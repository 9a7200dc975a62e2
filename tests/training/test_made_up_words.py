"""240 rows of made-up words and drawn shapes teach the embedded model those words."""

from __future__ import annotations

import itertools

import numpy as np
import PIL.Image
import pytest

from vlm2vec import VLM2Vec
from vlm2vec.world.scenes import Scene, random_paper, render_scene
from vlm2vec.world.shapes import Thing
from vlm2vec.world.vocabulary import COLOURS, SHAPES

KINDS = list(itertools.product(list(COLOURS)[:6], SHAPES[:4]))
WORDS = [f"{first}{second}" for first in ("flim", "zor", "quab", "nelt") for second in "aeiouy"]


def drawing(kind: tuple[str, str], rng: np.random.Generator) -> PIL.Image.Image:
    """The one shape, of any size and anywhere."""
    diameter = float(rng.uniform(0.2, 0.4))
    x, y = rng.uniform(diameter / 2 + 0.02, 0.98 - diameter / 2, 2).tolist()
    size = "large" if diameter > 0.3 else "small"
    return render_scene(Scene((Thing(*kind, size, x, y, diameter),), random_paper(rng)), 112)


@pytest.mark.slow
def test_new_words_are_told_apart_on_drawings_never_seen() -> None:
    rng = np.random.default_rng(0)
    rows = [
        {"query": word, "document": drawing(kind, rng)}
        for word, kind in zip(WORDS, KINDS, strict=True)
        for _ in range(10)
    ]
    unseen = [drawing(kind, rng) for kind in KINDS for _ in range(5)]
    meant = np.repeat(np.arange(len(KINDS)), 5)

    def share_right() -> float:
        scores = model.encode_document(unseen) @ model.encode_query(WORDS).T
        return float((scores.argmax(axis=1) == meant).mean())

    model = VLM2Vec()
    assert len(rows) == 240
    assert share_right() < 0.2
    model.fit(rows, max_steps=60, temperature=0.05, freeze_vision=True, show_progress_bar=False)
    assert share_right() >= 0.8
