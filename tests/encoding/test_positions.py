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


def behind_the_largest(spans: list, ticks: int) -> list[list[int]]:
    """Row by row: text counts on behind the largest position of any axis, time steps are `ticks` apart."""
    rows: list[list[int]] = []
    for span in spans:
        start = max((max(row) for row in rows), default=-1) + 1
        if isinstance(span, int):
            rows += [[start + i] * 3 for i in range(span)]
        else:
            rows += [
                [start + ticks * t, start + h, start + w]
                for t in range(span[0])
                for h in range(span[1])
                for w in range(span[2])
            ]
    return rows


mixed_spans = st.lists(st.one_of(st.integers(1, 5), grids), min_size=1, max_size=6)


@given(spans=mixed_spans)
def test_mrope_max_goes_on_behind_the_largest_of_all_axes(spans: list) -> None:
    assert token_positions(spans, "mrope_max").tolist() == behind_the_largest(spans, 1)


@given(spans=mixed_spans, ticks=st.integers(0, 9))
def test_mrope_time_counts_ticks_from_step_to_step(spans: list, ticks: int) -> None:
    ticking = [span if isinstance(span, int) else (*span, ticks) for span in spans]
    assert token_positions(ticking, "mrope_time").tolist() == behind_the_largest(spans, ticks)


def test_schemes_agree_on_pictures() -> None:
    """Which have one time step; a long clip tells "mrope" from the others."""
    pictures: list = [3, (1, 2, 5), (1, 4, 1), 2]
    schemes: tuple = ("mrope", "mrope_max", "mrope_time")
    found = [token_positions(pictures, scheme).tolist() for scheme in schemes]
    assert found[0] == found[1] == found[2]
    behind = [token_positions([(6, 2, 3, 4), 1], scheme)[-1, 0] for scheme in schemes]
    assert behind == [3, 6, 21]


def test_1d_counts_every_token_by_its_place() -> None:
    positions = token_positions([2, (2, 3, 1), 4], "1d")
    assert positions.tolist() == [[i, i, i] for i in range(12)]


def test_nothing_has_no_positions() -> None:
    assert token_positions([], "mrope").shape == (0, 3)
