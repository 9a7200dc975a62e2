"""Scores on held-out draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vlm2vec.training.held_out_scores import held_out_scores


class Oracle:
    """Knows that query i and candidate i belong together, but cannot tell one kind from another."""

    def __init__(self) -> None:
        self.queries: list[list[str]] = []

    def encode_query(self, queries):
        self.queries.append(queries)
        return np.eye(len(queries))

    def encode_document(self, inputs):
        if isinstance(inputs[0], Path):
            assert all(path.stat().st_size for path in inputs)
        return np.eye(len(inputs))


def test_scores_are_the_share_of_queries_that_find_their_candidate_first():
    oracle = Oracle()
    scores = held_out_scores(oracle, seeds=(1,))
    assert [len(set(queries)) for queries in oracle.queries] == [100, 100, 100]
    assert {name: scores[name] for name in ("text to image", "text to clip", "text to page")} == {
        "text to image": [100.0],
        "text to clip": [100.0],
        "text to page": [100.0],
    }
    assert scores["text to all three"] == [pytest.approx(100 / 3)]


def test_every_clip_has_its_reverse_among_the_candidates():
    oracle = Oracle()
    held_out_scores(oracle, seeds=(2,))
    clips = set(oracle.queries[1])
    swapped = {"left": "right", "right": "left", "up": "down", "down": "up"}
    reverses = {" ".join(swapped.get(word, word) for word in text.split()) for text in clips}
    assert clips == reverses
