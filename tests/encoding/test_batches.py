"""Batches: nothing lost, nothing twice, and what they may cost."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm2vec.encoding.batches import Batch, batches
from vlm2vec.encoding.engine import Budget
from vlm2vec.encoding.pieces import MediaPiece, TextPiece
from vlm2vec.encoding.plan import Planned
from vlm2vec.inputs.parts import Image, Input
from vlm2vec.media.source import Source

PICTURE = Image(Source.from_bytes(b"\x89PNG\r\n\x1a\n"))


def text(*tokens: int) -> TextPiece:
    return TextPiece(tokens, 0)


def picture(key: str, side: int = 4) -> MediaPiece:
    return MediaPiece(PICTURE, key, (1, side, side), side * side // 4)


def planned(place: int, *pieces: TextPiece | MediaPiece) -> Planned:
    return Planned(place, Input((), index=place), pieces, sum(piece.tokens for piece in pieces), False)


def cut(inputs: Sequence[Planned], cost: int, max_inputs: int | None = None) -> list[Batch]:
    return list(batches(inputs, budget=Budget(cost), max_inputs=max_inputs))


def places(batch: Batch) -> list[int]:
    return [one.index for one in batch.inputs]


def whole_cost(batch: Batch) -> int:
    """Tokens and patches with nothing shared but media."""
    patches = {key: piece.patches for one in batch.inputs for key, piece in one.media.items()}
    return sum(one.tokens for one in batch.inputs) + sum(patches.values())


@st.composite
def inputs(draw: st.DrawFn) -> list[Planned]:
    words = st.lists(st.integers(0, 3), min_size=1, max_size=40).map(lambda some: text(*some))
    pictures = st.sampled_from([picture("a"), picture("b", 8), picture("c", 12)])
    many = st.lists(st.lists(st.one_of(words, pictures), min_size=1, max_size=3), max_size=25)
    return [planned(place, *pieces) for place, pieces in enumerate(draw(many))]


@given(inputs(), st.integers(1, 300), st.none() | st.integers(1, 9))
def test_each_input_is_in_one_batch(many: list[Planned], cost: int, max_inputs: int | None) -> None:
    found = [place for batch in cut(many, cost, max_inputs) for place in places(batch)]
    assert sorted(found) == list(range(len(many)))


@given(inputs(), st.integers(1, 300))
def test_a_batch_costs_no_more_than_the_budget_unless_it_is_one_input(many: list[Planned], cost: int) -> None:
    for batch in cut(many, cost):
        assert batch.cost <= cost or len(batch.inputs) == 1
        assert 0 < batch.cost <= whole_cost(batch)


@given(inputs(), st.integers(1, 300), st.integers(1, 9))
def test_a_batch_has_no_more_inputs_than_allowed(many: list[Planned], cost: int, max_inputs: int) -> None:
    assert all(len(batch.inputs) <= max_inputs for batch in cut(many, cost, max_inputs))


@given(inputs(), st.integers(1, 300))
def test_a_batch_is_cut_only_where_the_next_input_does_not_fit(many: list[Planned], cost: int) -> None:
    found = cut(many, cost)
    for batch, following in pairwise(found):
        assert batch.cost + whole_cost(Batch(following.inputs[:1], 0)) > cost


def test_costs_are_tokens_and_patches() -> None:
    (batch,) = cut([planned(0, text(1, 2, 3), picture("a")), planned(1, text(7))], 100)
    assert batch.cost == 3 + 4 + 16 + 1


def test_questions_about_one_picture_stand_together_and_pay_for_it_once() -> None:
    questions = [planned(i, picture("ab"[i % 2], 16), text(100 + i)) for i in range(10)]
    found = cut(questions, 256 + 64 + 20)
    assert sorted(sorted(places(batch)) for batch in found) == [[0, 2, 4, 6, 8], [1, 3, 5, 7, 9]]
    assert {batch.cost for batch in found} == {256 + 64 + 5}


def test_a_picture_behind_different_texts_pays_for_its_patches_once() -> None:
    (batch,) = cut([planned(i, text(i), picture("a", 16)) for i in range(3)], 1000)
    assert batch.cost == 256 + 3 * (1 + 64)


def test_a_picture_twice_in_an_input_pays_for_its_patches_once() -> None:
    (batch,) = cut([planned(0, picture("a"), picture("a"))], 1000)
    assert batch.cost == 16 + 2 * 4


def test_a_medium_pays_again_in_the_next_batch() -> None:
    found = cut([planned(i, picture("a"), text(i)) for i in range(4)], 1000, max_inputs=2)
    assert [batch.cost for batch in found] == [16 + 2 * 5] * 2


def test_an_instruction_pays_once() -> None:
    (batch,) = cut([planned(i, text(*range(20), 100 + i)) for i in range(5)], 1000)
    assert batch.cost == 20 + 5


def test_what_is_too_short_to_be_shared_pays_each_time() -> None:
    (batch,) = cut([planned(i, text(1, 2, 3, 100 + i)) for i in range(5)], 1000)
    assert batch.cost == 4 * 5


def test_a_budget_that_changes_applies_to_the_next_cut() -> None:
    budget = Budget(10)
    many = [planned(i, text(i)) for i in range(40)]
    found = batches(many, budget=budget, max_inputs=None)
    sizes = [len(next(found).inputs)]
    budget.cost = 3
    sizes += [len(batch.inputs) for batch in found]
    assert sizes == [10, *[3] * 10]


def test_no_inputs_are_no_batch() -> None:
    assert cut([], 10) == []


@pytest.mark.parametrize("cost", [1, 50])
def test_inputs_that_begin_alike_are_neighbours_whatever_their_order(cost: int) -> None:
    rng = np.random.default_rng(3)
    starts = rng.integers(0, 3, 30)
    many = [planned(i, text(*[int(start)] * 20, 10 + i)) for i, start in enumerate(starts)]
    order = [starts[place] for batch in cut(many, cost) for place in places(batch)]
    assert (np.diff(order) != 0).sum() == 2


def test_texts_that_are_shortened_to_what_they_share_still_cost_something() -> None:
    """Longer than the context, the same but for their ends: 20 tokens each once they are shortened."""
    long = [
        Planned(i, Input((), index=i), (TextPiece([*range(1000), 5000 + i], 0),), 20, True) for i in range(5)
    ]
    others = [
        Planned(5 + i, Input((), index=5 + i), (TextPiece([2000 + i], 0),), 1, True) for i in range(500)
    ]
    found = list(batches([*long, *others], budget=Budget(50), max_inputs=None))
    assert all(batch.cost > 0 for batch in found)
    assert max(sum(one.tokens for one in batch.inputs) for batch in found) <= 50 + 4 * 20
