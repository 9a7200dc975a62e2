"""Shared prefixes against what they mean: each sequence is the path to its end."""

from __future__ import annotations

import random
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm2vec.encoding.prefixes import MIN_SAVED, Node, paths, shared_prefixes


def rebuilt(sequences: list[np.ndarray], nodes: list[Node]) -> list[list[int]]:
    """The sequences, read from the tokens of the nodes alone."""
    tokens = np.concatenate([sequences[node.sequence][node.start : node.end] for node in nodes])
    return [tokens[rows].tolist() for rows in paths(nodes, [len(some) for some in sequences])]


def computed(nodes: list[Node]) -> int:
    return sum(node.end - node.start for node in nodes)


def array(*tokens: int) -> np.ndarray:
    return np.array(tokens, dtype=np.int64)


@st.composite
def families(draw: st.DrawFn) -> list[np.ndarray]:
    """Sequences of which many begin alike, are equal, or are prefixes of each other."""
    sequences = [
        draw(st.lists(st.integers(0, 2), min_size=1, max_size=30)) for _ in range(draw(st.integers(1, 4)))
    ]
    for _ in range(draw(st.integers(0, 10))):
        parent = draw(st.sampled_from(sequences))
        kept = draw(st.integers(0, len(parent)))
        own = draw(st.lists(st.integers(0, 2**41), min_size=not kept, max_size=20))
        sequences.append(parent[:kept] + own)
    return [array(*some) for some in draw(st.permutations(sequences))]


@given(families())
def test_each_sequence_is_the_path_to_its_end(sequences: list[np.ndarray]) -> None:
    assert rebuilt(sequences, shared_prefixes(sequences)) == [some.tolist() for some in sequences]


@given(families())
def test_all_users_of_a_node_have_its_tokens_and_all_before_them(sequences: list[np.ndarray]) -> None:
    for node in shared_prefixes(sequences):
        assert node.sequence in node.users
        prefixes = {tuple(sequences[user][: node.end].tolist()) for user in node.users}
        assert len(prefixes) == 1
        assert len(prefixes.pop()) == node.end


@given(families())
def test_no_token_is_computed_that_would_not_be_without_sharing(sequences: list[np.ndarray]) -> None:
    nodes = shared_prefixes(sequences)
    assert computed(nodes) <= sum(len(some) for some in sequences)
    assert all(node.end > node.start for node in nodes)


@given(families())
def test_a_shared_node_saves_what_its_attention_call_costs(sequences: list[np.ndarray]) -> None:
    for node in shared_prefixes(sequences):
        saved = (len(node.users) - 1) * (node.end - node.start)
        assert len(node.users) == 1 or saved >= MIN_SAVED


@given(families(), st.integers(0, 2**16))
def test_what_is_saved_does_not_depend_on_the_order(sequences: list[np.ndarray], seed: int) -> None:
    shuffled = random.Random(seed).sample(sequences, len(sequences))  # noqa: S311
    assert computed(shared_prefixes(shuffled)) == computed(shared_prefixes(sequences))


@given(families())
def test_a_node_lies_behind_its_ancestors(sequences: list[np.ndarray]) -> None:
    """Keys of a node's tokens are computed before, or with, the tokens themselves."""
    nodes = shared_prefixes(sequences)
    offsets = [0, *accumulate(node.end - node.start for node in nodes)]
    for rows in paths(nodes, [len(some) for some in sequences]):
        assert (np.diff(rows) > 0).all()
        assert rows[-1] < offsets[-1]


@pytest.mark.parametrize("swapped", [False, True])
def test_a_sequence_that_begins_another_is_computed_once(swapped: bool) -> None:
    short = np.arange(MIN_SAVED)
    long = np.arange(MIN_SAVED + 5)
    sequences = [long, short] if swapped else [short, long]
    nodes = shared_prefixes(sequences)
    assert computed(nodes) == len(long)
    assert rebuilt(sequences, nodes) == [some.tolist() for some in sequences]


def test_equal_sequences_are_one_node() -> None:
    nodes = shared_prefixes([np.arange(20)] * 3)
    assert [(node.start, node.end, node.users) for node in nodes] == [(0, 20, (0, 1, 2))]


def test_prefixes_within_prefixes_are_found() -> None:
    instruction, picture = np.arange(30), np.arange(100, 200)
    questions = [np.concatenate([instruction, picture, array(1000 + i)]) for i in range(3)]
    others = [np.append(instruction, 2000 + i) for i in range(2)]
    nodes = shared_prefixes([others[0], questions[0], questions[1], others[1], questions[2]])
    assert [(node.start, node.end, node.users) for node in nodes if len(node.users) > 1] == [
        (0, 30, (0, 1, 2, 3, 4)),
        (30, 130, (1, 2, 4)),
    ]
    assert computed(nodes) == 30 + 100 + 5


@pytest.mark.parametrize(
    ("common", "count", "shares"),
    [
        (MIN_SAVED - 1, 2, False),
        (MIN_SAVED, 2, True),
        (MIN_SAVED // 4, 4, False),
        (MIN_SAVED // 4, 5, True),
    ],
)
def test_sharing_begins_where_it_saves_enough(common: int, count: int, shares: bool) -> None:
    sequences = [np.append(np.arange(common), 100 + i) for i in range(count)]
    expected = common + count if shares else count * (common + 1)
    assert computed(shared_prefixes(sequences)) == expected


def test_thousands_of_nested_sequences_need_no_deep_stack() -> None:
    text = np.arange(3000)
    sequences = [text[: i + 1] for i in range(len(text))]
    nodes = shared_prefixes(sequences)
    # The few shortest save too little.
    assert computed(nodes) < len(text) + MIN_SAVED**2
