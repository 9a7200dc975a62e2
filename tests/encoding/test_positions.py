"""Positions against transformers' own, which counts them on padded batches."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm2vec import VLM2Vec
from vlm2vec.encoding.positions import token_positions

grids = st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4))


@settings(max_examples=40)
@given(spans=st.lists(st.tuples(st.integers(1, 5), grids, st.booleans()), max_size=3), tail=st.integers(1, 4))
def test_mrope_equals_transformers(tiny: VLM2Vec, spans: list, tail: int) -> None:
    network = tiny[0].model
    given_spans: list = []
    types: list[int] = []
    merged = {1: [], 2: []}
    for text, grid, is_clip in spans:
        given_spans += [text, grid]
        types += [0] * text + [2 if is_clip else 1] * int(np.prod(grid))
        merged[2 if is_clip else 1].append([grid[0], 2 * grid[1], 2 * grid[2]])
    given_spans.append(tail)
    types += [0] * tail
    expected, _ = network.get_rope_index(
        torch.zeros(1, len(types), dtype=torch.long),
        torch.tensor([types]),
        torch.tensor(merged[1]) if merged[1] else None,
        torch.tensor(merged[2]) if merged[2] else None,
    )
    assert token_positions(given_spans, "mrope").T.tolist() == expected[:, 0].tolist()


def test_1d_counts_every_token_by_its_place() -> None:
    positions = token_positions([2, (2, 3, 1), 4], "1d")
    assert positions.tolist() == [[i, i, i] for i in range(12)]


def test_nothing_has_no_positions() -> None:
    assert token_positions([], "mrope").shape == (0, 3)
