"""Smart batches: groups near the best there are, nothing lost, and a sampler as exact as that of rows."""

from __future__ import annotations

import itertools
import json
import logging
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm2vec import VLM2Vec
from vlm2vec.errors import InputError, MediaError
from vlm2vec.training import Mixture, SmartBatches, SmartBatchSampler, SubBatchSampler, mine_sub_batches
from vlm2vec.training.batches.group_exchange import exchange_rows
from vlm2vec.training.batches.group_growth import grow_groups
from vlm2vec.training.batches.group_links import GroupLinks
from vlm2vec.training.batches.neighbour_graph import NeighbourGraph
from vlm2vec.training.batches.neighbour_search import EmbeddedRows, embed_rows, find_neighbours
from vlm2vec.training.batches.number_lists import NumberLists
from vlm2vec.training.batches.smart_batches import GroupedSource
from vlm2vec.training.mining.mining_vectors import Embedder
from vlm2vec.training.sources import TrainingSource

some = settings(max_examples=60)
COLOURS = ("red", "blue", "green", "yellow")
SHAPES = ("circle", "square", "triangle", "star", "heart")


# --- graphs -----------------------------------------------------------------------------------------------


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def answers_of(questions: np.ndarray, documents: np.ndarray, count: int) -> NumberLists:
    pairs = np.unique(np.stack([questions, documents], axis=1), axis=0)
    return NumberLists(pairs[:, 0], pairs[:, 1], size=count)


def embedded_rows(
    queries: np.ndarray,
    vectors: np.ndarray,
    questions: np.ndarray | None = None,
    documents: np.ndarray | None = None,
) -> EmbeddedRows:
    """Rows with these vectors; by default each has its own question and document."""
    own = np.arange(len(queries))
    questions = own if questions is None else questions
    documents = own if documents is None else documents
    answers = answers_of(questions, documents, int(questions.max()) + 1)
    return EmbeddedRows(own, queries, vectors, questions, documents, answers)


def mined(graph: NeighbourGraph, size: int, seed: int = 0) -> np.ndarray:
    return exchange_rows(graph, grow_groups(graph, size, seed=seed), seed=seed)


def naive_links(graph: NeighbourGraph, one: int, other: int) -> int:
    """How much links between two rows count, both ways."""
    total = 0
    for asker, holder in ((one, other), (other, one)):
        ranks = np.flatnonzero(graph.ranked[asker] == graph.documents[holder])
        total += sum(-1 if rank < graph.skip else 1 for rank in ranks)
    return total


def naive_clash(graph: NeighbourGraph, one: int, other: int) -> bool:
    return any(
        graph.documents[holder] in graph.answers[graph.questions[asker]]
        for asker, holder in ((one, other), (other, one))
    )


def worth(graph: NeighbourGraph, groups: Any) -> tuple[int, int]:
    """Clashing pairs within groups, and what links within them count."""
    pairs = [pair for group in groups for pair in itertools.combinations(group, 2)]
    return sum(naive_clash(graph, *pair) for pair in pairs), sum(naive_links(graph, *pair) for pair in pairs)


@st.composite
def graphs(
    draw: Any,
    copies: tuple[int, ...] = (1, 2, 5, 40),
    repeats: tuple[int, ...] = (1, 3),
    skips: tuple[int, ...] = (0, 1, 2, 4),
) -> NeighbourGraph:
    """Any graph: documents and questions that several rows have, rankings short or all skipped."""
    rng = np.random.default_rng(draw(st.integers(0, 2**30)))
    rows = draw(st.sampled_from([1, 2, 5, 12, 25, 40]))
    documents = rng.permutation(rows) // draw(st.sampled_from(copies))
    questions = rng.permutation(rows) // draw(st.sampled_from(repeats))
    vectors = unit(rng.normal(size=(documents.max() + 1, 3)))
    queries = unit(rng.normal(size=(rows, 3)))
    return find_neighbours(
        embedded_rows(queries, vectors, questions, documents),
        neighbours=draw(st.integers(1, 12)),
        skip=draw(st.sampled_from(skips)),
    )


@some
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), max_size=20), st.lists(st.integers(0, 5)))
def test_number_lists_are_lists(pairs: list[tuple[int, int]], asked: list[int]) -> None:
    keys, values = (np.array([pair[side] for pair in pairs], dtype=np.int64) for side in (0, 1))
    lists = NumberLists(keys, values, size=6)
    naive = [[value for key, value in pairs if key == wanted] for wanted in range(6)]
    assert [lists[key].tolist() for key in range(6)] == naive
    places, joined = lists.of(np.array(asked, dtype=np.int64))
    expected = [(place, value) for place, key in enumerate(asked) for value in naive[key]]
    assert list(zip(places.tolist(), joined.tolist(), strict=True)) == expected


@some
@given(graphs(), st.randoms(use_true_random=False))
def test_links_and_clashes_are_those_of_a_loop(graph: NeighbourGraph, random: Any) -> None:
    links = GroupLinks(graph)
    for _ in range(2):  # the second call finds the first one's scratch cleared
        rows = random.sample(range(len(graph)), random.randint(1, len(graph)))
        found, clashes = links.between(np.array(rows))
        for a, b in itertools.product(range(len(rows)), repeat=2):
            same = a == b
            assert found[a, b] == (0 if same else naive_links(graph, rows[a], rows[b]))
            assert clashes[a, b] == (not same and naive_clash(graph, rows[a], rows[b]))


@pytest.mark.parametrize(("neighbours", "skip"), [(3, 0), (3, 2), (50, 1)])
def test_neighbours_are_the_ranks_after_the_skipped_ones(neighbours: int, skip: int) -> None:
    rng = np.random.default_rng(5)
    documents, questions = rng.integers(0, 9, 30), rng.integers(0, 12, 30)
    documents[:9], questions[:12] = np.arange(9), np.arange(12)
    rows = embedded_rows(unit(rng.normal(size=(30, 4))), unit(rng.normal(size=(9, 4))), questions, documents)
    graph = find_neighbours(rows, neighbours=neighbours, skip=skip)
    for row in range(30):
        right = {documents[other] for other in range(30) if questions[other] == questions[row]}
        order = np.argsort(-(rows.vectors @ rows.queries[row])).tolist()
        order = [document for document in order if document not in right]
        expected = order[skip : skip + neighbours]
        assert graph.near[row, : len(expected)].tolist() == expected
        assert (graph.near[row, len(expected) :] == graph.document_count).all()


# --- groups -----------------------------------------------------------------------------------------------


@some
@given(graphs(), st.integers(2, 9), st.integers(0, 2**40))
def test_groups_are_of_one_size_and_have_no_row_twice(graph: NeighbourGraph, size: int, seed: int) -> None:
    grown = grow_groups(graph, size, seed=seed)
    better = exchange_rows(graph, grown, seed=seed)
    assert grown.shape == better.shape == (len(graph) // size, size)
    for groups in (grown, better):
        assert len(np.unique(groups)) == groups.size
        assert groups.size == 0 or (groups.min() >= 0 and groups.max() < len(graph))
    assert np.array_equal(np.sort(better, axis=None), np.sort(grown, axis=None))


@some
@given(graphs(), st.integers(2, 9), st.integers(0, 2**40))
def test_an_exchange_adds_links_or_takes_clashes_away(graph: NeighbourGraph, size: int, seed: int) -> None:
    grown = grow_groups(graph, size, seed=seed)
    better = exchange_rows(graph, grown, seed=seed)
    (clashes, links), (clashes_after, links_after) = worth(graph, grown), worth(graph, better)
    assert (clashes_after, -links_after) <= (clashes, -links)
    if np.array_equal(np.sort(grown), np.sort(better)):
        assert (clashes_after, links_after) == (clashes, links)


@some
@given(
    # Of rows with one document a group looks at one, so that where links count -1 it may miss the best.
    st.one_of(graphs(repeats=(1,), copies=(1,)), graphs(repeats=(1,), skips=(0,))),
    st.integers(2, 9),
    st.integers(0, 2**40),
)
def test_a_group_takes_the_free_row_with_most_links_to_it(
    graph: NeighbourGraph, size: int, seed: int
) -> None:
    rows = range(len(graph))
    links = np.array([[naive_links(graph, i, j) for j in rows] for i in rows])
    for so_far, row, choice in choices(graph, grow_groups(graph, size, seed=seed)):
        scores = links[so_far].sum(axis=0)
        best = scores[choice].max(initial=0)
        assert best == 0 or scores[row] == best


@some
@given(graphs(), st.integers(2, 9), st.integers(0, 2**40))
def test_a_group_takes_a_row_that_clashes_when_there_is_no_other(
    graph: NeighbourGraph, size: int, seed: int
) -> None:
    for _, row, choice in choices(graph, grow_groups(graph, size, seed=seed)):
        assert row in choice or not choice.size


def choices(graph: NeighbourGraph, groups: np.ndarray) -> Any:
    """For each row that was taken: the group before it, the row, the free rows that clash with none of it.

    A group ends here with the first clash in it.
    """
    rows = range(len(graph))
    clash = np.array([[naive_clash(graph, i, j) for j in rows] for i in rows])
    free = np.ones(len(graph), dtype=bool)
    for group in groups:
        clean = True
        for place, row in enumerate(group):
            so_far = group[:place]
            if clean:
                yield so_far, row, np.flatnonzero(free & ~clash[so_far].any(axis=0))
            clean = clean and not clash[so_far, row].any()
            assert free[row]
            free[row] = False


def test_groups_follow_from_the_seed() -> None:
    rng = np.random.default_rng(1)
    vectors = unit(rng.normal(size=(200, 4)))
    graph = find_neighbours(embedded_rows(vectors, vectors), neighbours=12, skip=1)
    assert np.array_equal(mined(graph, 8, seed=3), mined(graph, 8, seed=3))
    assert not np.array_equal(mined(graph, 8, seed=3), mined(graph, 8, seed=4))


def partitions(rows: tuple[int, ...], size: int) -> Any:
    """All ways to part rows into groups of a size."""
    if not rows:
        yield []
        return
    for others in itertools.combinations(rows[1:], size - 1):
        left = tuple(row for row in rows[1:] if row not in others)
        for rest in partitions(left, size):
            yield [(rows[0], *others), *rest]


@pytest.mark.parametrize("size", [3, 4])
def test_groups_are_nearly_the_best_of_all(size: int) -> None:
    """Of 12 rows there are 15,400 partitions into groups of 3, and 5,775 into groups of 4."""
    count = 12
    every = np.array([np.sort(groups, axis=1) for groups in partitions(tuple(range(count)), size)])
    a, b = (list(side) for side in zip(*itertools.combinations(range(size), 2), strict=True))
    ratios = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        places = rng.normal(size=(count, 3))
        queries, vectors = (unit(places + 0.3 * rng.normal(size=(count, 3))) for _ in range(2))
        graph = find_neighbours(embedded_rows(queries, vectors), neighbours=4, skip=seed % 2)
        links = np.array([[naive_links(graph, i, j) * (i != j) for j in range(count)] for i in range(count)])
        best = links[every[:, :, a], every[:, :, b]].sum(axis=(1, 2)).max()
        ratios.append(worth(graph, mined(graph, size, seed))[1] / best)
    assert max(ratios) <= 1
    assert np.mean(ratios) > 0.95
    assert np.mean(np.array(ratios) == 1) > 0.5


def planted(
    topics: int, each: int, *, noise: float, dim: int = 32, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The topic of each row in a random order, and the vectors of queries and documents."""
    rng = np.random.default_rng(seed)
    topic = rng.permutation(np.repeat(np.arange(topics), each))
    middle = unit(rng.normal(size=(topics, dim)))[topic]
    scale = noise / np.sqrt(dim)
    query, document = (unit(middle + scale * rng.normal(size=middle.shape)) for _ in range(2))
    return topic, query, document


@pytest.mark.parametrize(("neighbours", "skip"), [(31, 0), (20, 0), (24, 4), (60, 0)])
def test_planted_clusters_are_found(neighbours: int, skip: int) -> None:
    topic, queries, vectors = planted(20, 32, noise=0.8)
    graph = find_neighbours(embedded_rows(queries, vectors), neighbours=neighbours, skip=skip)
    groups = mined(graph, 32)
    assert all(len(set(topic[group])) == 1 for group in groups)


def test_a_cluster_of_several_groups_is_parted_into_whole_ones() -> None:
    topic, queries, vectors = planted(6, 48, noise=0.8)
    graph = find_neighbours(embedded_rows(queries, vectors), neighbours=30, skip=0)
    groups = mined(graph, 16)
    assert all(len(set(topic[group])) == 1 for group in groups)


def similarity(queries: np.ndarray, vectors: np.ndarray, groups: np.ndarray) -> float:
    blocks = np.einsum("gad,gbd->gab", queries[groups], vectors[groups])
    return float(blocks[:, ~np.eye(groups.shape[1], dtype=bool)].mean())


def greedy(scores: np.ndarray, size: int) -> np.ndarray:
    """The plain way with all similarities: begin anywhere, take what is most similar to all so far."""
    free = np.ones(len(scores), dtype=bool)
    groups = []
    for _ in range(len(scores) // size):
        group = [int(np.flatnonzero(free)[0])]
        free[group[0]] = False
        total = scores[group[0]].copy()
        while len(group) < size:
            group.append(int(np.where(free, total, -np.inf).argmax()))
            free[group[-1]] = False
            total += scores[group[-1]]
        groups.append(group)
    return np.array(groups)


def test_rows_in_a_group_are_more_alike_than_by_a_plain_greedy_way_or_at_random() -> None:
    # No clusters at all: rows lie evenly on a sphere, so that each group has to make do with what is left.
    rng = np.random.default_rng(0)
    places = rng.normal(size=(960, 6))
    queries, vectors = (unit(places + 0.3 * rng.normal(size=places.shape)) for _ in range(2))
    graph = find_neighbours(embedded_rows(queries, vectors), neighbours=40, skip=0)
    found = similarity(queries, vectors, mined(graph, 32))
    grown = similarity(queries, vectors, grow_groups(graph, 32))
    scores = queries @ vectors.T
    plain = similarity(queries, vectors, greedy(scores + scores.T, 32))
    chance = similarity(queries, vectors, rng.permutation(960).reshape(-1, 32))
    assert abs(chance) < 0.02
    assert found > plain > 0.3
    assert found > grown


def test_what_is_skipped_stays_out_of_the_group() -> None:
    """Topics of 64 rows, in which always four say nearly the same."""
    rng = np.random.default_rng(0)
    topic, base, _ = planted(8, 16, noise=0.8)
    family = np.repeat(np.arange(len(base)), 4)
    rows = unit(base[family] + 0.05 * rng.normal(size=(len(family), base.shape[1])) / 6)
    order = rng.permutation(len(family))
    family, rows, topic = family[order], rows[order], topic[family][order]

    def kin_and_purity(skip: int) -> tuple[float, float]:
        graph = find_neighbours(embedded_rows(rows, rows), neighbours=60, skip=skip)
        groups = mined(graph, 16)
        kin = [family[a] == family[b] for group in groups for a, b in itertools.combinations(group, 2)]
        pure = [topic[a] == topic[b] for group in groups for a, b in itertools.combinations(group, 2)]
        return float(np.mean(kin)), float(np.mean(pure))

    kin, pure = kin_and_purity(skip=0)
    kin_skipped, pure_skipped = kin_and_purity(skip=3)
    assert kin > 0.08
    assert kin_skipped == 0
    assert pure == pure_skipped == 1


def test_rows_with_equal_documents_or_questions_stay_apart() -> None:
    """Each document is that of three rows, and each question of two: it asks for two documents."""
    topic, queries, vectors = planted(6, 40, noise=0.8)
    rows = np.arange(240)
    documents, questions = np.repeat(np.arange(80), 3), rows // 2
    order = np.argsort(topic, kind="stable")  # copies are of one topic, so that links pull them together
    queries = unit(queries[order][np.repeat(np.arange(120), 2) * 2])
    vectors = vectors[order][::3]
    graph = find_neighbours(embedded_rows(queries, vectors, questions, documents), neighbours=30, skip=0)
    grown = grow_groups(graph, 12)
    groups = exchange_rows(graph, grown)
    assert worth(graph, grown)[0] < 10  # of 1,320 pairs
    assert worth(graph, groups)[0] == 0
    assert similarity(queries, vectors[documents], groups) > 0.3


def test_rows_that_clash_are_parted_where_nothing_is_linked() -> None:
    documents = np.repeat(np.arange(20), 2)
    vectors = unit(np.random.default_rng(0).normal(size=(40, 4)))
    graph = find_neighbours(embedded_rows(vectors, vectors[:20], None, documents), neighbours=1, skip=40)
    assert graph.links == 0
    together = np.arange(40).reshape(-1, 4)
    assert worth(graph, together)[0] == 20
    assert worth(graph, exchange_rows(graph, together))[0] == 0


def test_where_few_documents_differ_groups_are_filled_all_the_same() -> None:
    rng = np.random.default_rng(0)
    documents = rng.integers(0, 2, 100)  # yes and no
    queries, vectors = unit(rng.normal(size=(100, 4))), unit(rng.normal(size=(2, 4)))
    graph = find_neighbours(embedded_rows(queries, vectors, None, documents), neighbours=5, skip=0)
    groups = mined(graph, 10)
    assert sorted(groups.ravel().tolist()) == list(range(100))
    # As even as can be: the fewest clashes.
    assert all(3 <= documents[group].sum() <= 7 for group in groups)


# --- mining with a model ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pairs() -> list[dict[str, Any]]:
    rows = [
        {"query": f"a {colour} {shape} {place}", "document": f"{place}: {colour} {shape}"}
        for place in ("left", "right", "above")
        for colour in COLOURS
        for shape in SHAPES
    ]
    return [rows[place] for place in np.random.default_rng(2).permutation(len(rows))]


def test_each_row_is_in_a_group_or_left_over(embedded: VLM2Vec, pairs: list[dict[str, Any]]) -> None:
    mixture = Mixture(
        [
            TrainingSource("first", pairs),
            TrainingSource("second", pairs, cap=25, query_instruction="Find it."),
        ]
    )
    batches = mine_sub_batches(embedded, mixture, sub_batch_size=8, neighbours=10, skip=0)
    assert [source.name for source in batches.sources] == ["first", "second"]
    assert batches.sizes == mixture.sizes == [60, 25]
    assert [len(source.groups) for source in batches.sources] == [7, 3]
    for source in batches.sources:
        rows = [*source.groups.ravel().tolist(), *source.left_over.tolist()]
        assert sorted(rows) == list(range(source.rows))
    batches.check(mixture)
    again = mine_sub_batches(embedded, mixture, sub_batch_size=8, neighbours=10, skip=0)
    assert again.digest == batches.digest


def test_the_report_has_the_similarity_of_negatives(embedded: VLM2Vec, pairs: list[dict[str, Any]]) -> None:
    rows = [*pairs, {**pairs[0], "query": "something else"}]
    source = mine_sub_batches(embedded, rows, sub_batch_size=12, neighbours=12, skip=0).sources[0]
    queries = embedded.encode_query([row["query"] for row in rows])
    documents = embedded.encode_document([row["document"] for row in rows])
    assert source.similarity == pytest.approx(similarity(queries, documents, source.groups), abs=1e-5)
    shuffled = np.random.default_rng(0).permutation(61)[:60].reshape(5, 12)
    chance = similarity(queries, documents, shuffled)
    assert abs(source.random_similarity - chance) < 0.05
    assert source.similarity > source.random_similarity + 0.1
    assert source.clashing == 0


def test_equal_inputs_stay_apart_and_are_counted_where_they_cannot(embedded: VLM2Vec) -> None:
    """Two answers to one question; a document twice, once as a dict; a query that is another's document."""
    rows = [
        {"query": "red", "document": "a red circle"},
        {"query": "red", "document": "a red square"},
        {
            "query": "round and red",
            "document": {"text": "a red circle"},
            "document_instruction": "What is it?",
        },
        {"query": "a red square", "document": "cornered and red"},
        *(
            {"query": f"{colour} {shape}", "document": f"{shape}, {colour}"}
            for colour in COLOURS
            for shape in SHAPES
        ),
    ]
    for seed in range(3):
        batches = mine_sub_batches(embedded, rows, sub_batch_size=6, neighbours=9, skip=0, seed=seed)
        home = {row: place for place, group in enumerate(batches.sources[0].groups.tolist()) for row in group}
        assert set(home) == set(range(24))
        # In common have rows 0 and 1 the question, 0 and 2 the document, and the document of 1 is asked for
        # by row 3. The document of 2 answers the question of 1 too, as row 0 says.
        assert all(home[one] != home[other] for one, other in ((0, 1), (0, 2), (1, 3), (1, 2)))
        assert batches.sources[0].clashing == 0
    yes = [{"query": f"a {shape}", "document": "yes"} for shape in SHAPES]
    source = mine_sub_batches(embedded, yes, sub_batch_size=5, neighbours=3, skip=0).sources[0]
    assert source.clashing == 5
    assert np.isnan(source.similarity)


def test_rows_are_embedded_with_their_instructions_and_know_all_right_answers(embedded: VLM2Vec) -> None:
    rows = [
        {"query": "red", "document": "a red circle"},
        {"query": "red", "document": "a red square"},
        {"query": "red", "document": "a red star", "query_instruction": "Which has five points?"},
        {"query": "round", "document": {"text": "a red circle"}, "document_instruction": "What is it?"},
        {"query": "a red square", "document": "a red square"},
        {"query": {"text": "a red star"}, "document": "a blue star"},
    ]
    found = embed_rows(embedded, rows, Embedder({}, "raise"), "train")
    assert found.numbers.tolist() == list(range(6))
    assert found.documents.tolist() == [0, 1, 2, 3, 1, 4]
    for place, row in enumerate(rows):
        query = embedded.encode_query([row["query"]], instruction=row.get("query_instruction"))[0]
        document = embedded.encode_document([row["document"]], instruction=row.get("document_instruction"))[0]
        assert np.allclose(found.queries[place], query, atol=1e-6)
        assert np.allclose(found.vectors[found.documents[place]], document, atol=1e-6)
    answers = [set(found.answers[question].tolist()) for question in found.questions]
    # The circle counts with each instruction, and a query that equals a document is one with it.
    assert answers == [{0, 1, 3}, {0, 1, 3}, {2}, {0, 3}, {1}, {2, 4}]


def test_a_small_source_is_found_before_anything_is_embedded(embedded: VLM2Vec, pairs: list[Any]) -> None:
    unreadable = TrainingSource("first", [{"query": Path("none.png"), "document": "a"}] * 9)
    with pytest.raises(InputError, match='source "second": it has 5 usable rows'):
        mine_sub_batches(
            embedded, Mixture([unreadable, TrainingSource("second", pairs[:5])]), sub_batch_size=8
        )


def test_a_source_without_neighbours_is_said(embedded: VLM2Vec, pairs: list[Any], caplog: Any) -> None:
    with caplog.at_level(logging.WARNING):
        batches = mine_sub_batches(
            embedded, pairs[:12], sub_batch_size=4, neighbours=5, skip=30, source="pets"
        )
    assert "pets: its groups are random" in caplog.text
    assert batches.sources[0].groups.size == 12


def test_what_is_skipped_is_counted_and_the_rest_keeps_its_numbers(
    embedded: VLM2Vec, pairs: list[dict[str, Any]], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n broken")
    bad = [{"query": broken, "document": "blue"}, {"query": "blue", "document": broken}, {"query": "blue"}]
    rows = [bad[0], *pairs[:9], *bad[1:], *pairs[9:18]]
    options: dict[str, Any] = {"sub_batch_size": 4, "neighbours": 6, "skip": 0}
    batches = mine_sub_batches(embedded, rows, on_error="skip", **options)
    source = batches.sources[0]
    assert source.skipped == {
        "rows without a document": 1,
        "rows whose query cannot be embedded": 1,
        "documents that cannot be embedded": 1,
        "rows whose document cannot be embedded": 1,
    }
    used = [*source.groups.ravel().tolist(), *source.left_over.tolist()]
    assert sorted(used) == [*range(1, 10), *range(12, 21)]
    good = mine_sub_batches(embedded, pairs[:18], **options).sources[0]
    numbers = np.array([*range(1, 10), *range(12, 21)])
    assert numbers[good.groups].tolist() == source.groups.tolist()
    assert "skipped 1 rows without a document" in str(batches)
    with pytest.raises(MediaError, match="pets, row 0, query"):
        mine_sub_batches(embedded, rows[:4], source="pets", **options)
    with pytest.raises(InputError, match="it has 3 usable rows, and a group takes 4"):
        mine_sub_batches(embedded, rows[:4], on_error="skip", **options)
    with pytest.raises(InputError, match="no row could be embedded"):
        mine_sub_batches(embedded, [*bad[:2], *bad[:2]], on_error="skip", **options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sub_batch_size": 1}, "sub_batch_size is 1"),
        ({"sub_batch_size": 61}, 'source "train": it has 60 usable rows, and a group takes 61'),
        ({"neighbours": 0}, "neighbours is 0"),
        ({"skip": -1}, "skip is -1"),
        ({"seed": None}, "seed is None"),
        ({"on_error": "nan"}, "on_error"),
    ],
)
def test_settings_out_of_range_are_refused(
    embedded: VLM2Vec, pairs: list[Any], change: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        mine_sub_batches(embedded, pairs, **{"sub_batch_size": 8, **change})


# --- the file ---------------------------------------------------------------------------------------------


def grouped(name: str, rows: int, size: int, seed: int = 0) -> GroupedSource:
    order = np.random.default_rng([seed, rows]).permutation(rows)
    used = rows // size * size
    return GroupedSource(name, rows, order[:used].reshape(-1, size), order[used:])


def test_a_file_holds_all(tmp_path: Path) -> None:
    source = GroupedSource("pets", 7, np.array([[0, 3], [6, 4]]), np.array([2]), {"rows": 2}, 0.5, 0.25, 1)
    batches = SmartBatches((source, grouped("cars", 31, 2)), neighbours=9, skip=3)
    batches.save(tmp_path / "groups.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["groups.npz"]
    read = SmartBatches.load(tmp_path / "groups.npz")
    assert str(read) == str(batches)
    assert read.digest == batches.digest
    for one, other in zip(read.sources, batches.sources, strict=True):
        old, new = vars(other), vars(one)
        assert old.keys() == new.keys()
        assert all(np.array_equal(old[name], new[name]) for name in ("groups", "left_over"))
        assert all(old[name] == new[name] for name in old if name not in ("groups", "left_over"))


def test_the_table_says_where_all_rows_are() -> None:
    source = GroupedSource(
        "pets", 7, np.array([[0, 3], [6, 4]]), np.array([2]), {"rows lost": 2}, 0.5, 0.25, 1
    )
    assert str(SmartBatches((source,), neighbours=9, skip=3)).splitlines() == [
        "source       rows     groups  left over    skipped   clashing     cosine  at random",
        "pets            7          2          1          2          1      0.500      0.250",
        "groups of 2; neighbours are the documents at ranks 4 to 12 of a query",
        "pets: skipped 2 rows lost",
    ]


def test_what_is_no_such_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("groups")
    (tmp_path / "empty.npz").write_bytes(b"")
    np.savez(tmp_path / "other.npz", a=np.arange(3))
    SmartBatches((grouped("pets", 9, 2),), neighbours=1, skip=0).save(tmp_path / "cut.npz")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "cut.npz").read_bytes()[:-40])
    for name in ("text", "empty", "other", "cut"):
        with pytest.raises(InputError, match=rf"{name}\.npz: the file has no smart batches"):
            SmartBatches.load(tmp_path / f"{name}.npz")
    with pytest.raises(InputError, match=r"none\.npz: the file does not exist"):
        SmartBatches.load(tmp_path / "none.npz")


@pytest.mark.parametrize(
    ("groups", "left_over", "says"),
    [
        ([[0, 1], [1, 2]], [], "a row is in its groups twice"),
        ([[0, 1]], [1], "a row is in its groups twice"),
        ([[0, 5]], [], "a group has a row that is not one of its 5"),
        ([[0, -1]], [], "a group has a row that is not one of its 5"),
        (np.empty((0, 2), dtype=np.int64), [0], "it has no groups"),
    ],
)
def test_groups_that_are_none_are_refused(groups: Any, left_over: list[int], says: str) -> None:
    with pytest.raises(InputError, match=f'source "pets": {says}'):
        GroupedSource("pets", 5, np.array(groups), np.array(left_over, dtype=np.int64))


def test_groups_of_another_mixture_are_refused() -> None:
    rows = [{"query": "a", "document": "b"}] * 9
    batches = SmartBatches((grouped("pets", 9, 2), grouped("cars", 9, 2)), neighbours=1, skip=0)
    batches.check(Mixture([TrainingSource("pets", rows), TrainingSource("cars", rows)]))
    for sources, says in (
        ([TrainingSource("pets", rows), TrainingSource("cars", rows[1:])], 'source "cars": it has 8 rows'),
        ([TrainingSource("cars", rows), TrainingSource("pets", rows)], 'the groups are of "pets"'),
        ([TrainingSource("pets", rows)], "the mixture has 1 sources, and the groups are of 2"),
    ):
        with pytest.raises(InputError, match=says):
            batches.check(Mixture(sources))
    with pytest.raises(InputError, match="differ in size"):
        SmartBatches((grouped("pets", 9, 2), grouped("cars", 9, 3)), neighbours=1, skip=0)
    with pytest.raises(InputError, match="no sources"):
        SmartBatches((), neighbours=1, skip=0)


# --- the sampler ------------------------------------------------------------------------------------------

SIZES = st.lists(st.integers(4, 90), min_size=1, max_size=4)
BATCHES = st.sampled_from([(8, 2), (16, 4), (12, 3), (16, 2), (4, 4)])  # rows of a batch and of a group
SEEDS = st.integers(0, 2**40)


def drawn(sampler: Any, steps: int) -> list[list[tuple[int, int]]]:
    return list(itertools.islice(sampler, steps))


def batches_of(sizes: list[int], size: int, seed: int = 0) -> SmartBatches:
    sources = tuple(grouped(f"source {number}", rows, size, seed) for number, rows in enumerate(sizes))
    return SmartBatches(sources, neighbours=1, skip=0)


@some
@given(SIZES, BATCHES, SEEDS)
def test_each_sub_batch_is_a_group(sizes: list[int], shape: tuple[int, int], seed: int) -> None:
    batch_size, size = shape
    groups = batches_of(sizes, size)
    known = {
        (number, tuple(group.tolist()))
        for number, source in enumerate(groups.sources)
        for group in source.groups
    }
    for batch in drawn(SmartBatchSampler(groups, batch_size=batch_size, seed=seed), 6):
        assert len(batch) == batch_size
        for start in range(0, batch_size, size):
            sources, rows = zip(*batch[start : start + size], strict=True)
            assert len(set(sources)) == 1
            assert (sources[0], rows) in known


@some
@given(SIZES, BATCHES, SEEDS)
def test_no_row_comes_twice_in_a_batch_while_its_source_has_enough(
    sizes: list[int], shape: tuple[int, int], seed: int
) -> None:
    batch_size, size = shape
    for batch in drawn(SmartBatchSampler(batches_of(sizes, size), batch_size=batch_size, seed=seed), 12):
        taken = Counter(source for source, _ in batch)
        for source, _ in (pair for pair, count in Counter(batch).items() if count > 1):
            assert taken[source] > sizes[source]


@some
@given(SIZES, BATCHES, SEEDS)
def test_each_pass_over_a_source_has_each_group_once(
    sizes: list[int], shape: tuple[int, int], seed: int
) -> None:
    batch_size, size = shape
    groups = batches_of(sizes, size)
    stream: dict[int, list[int]] = {}
    for source, row in itertools.chain(
        *drawn(SmartBatchSampler(groups, batch_size=batch_size, seed=seed), 25)
    ):
        stream.setdefault(source, []).append(row)
    for source, rows in stream.items():
        whole = np.sort(groups.sources[source].groups, axis=None).tolist()
        for start in range(0, len(rows) - len(whole) + 1, len(whole)):
            assert sorted(rows[start : start + len(whole)]) == whole


@settings(some, max_examples=25)
@given(SIZES, st.sampled_from([(16, 2), (32, 4), (24, 3)]), SEEDS)
def test_the_parts_of_the_ranks_are_the_global_batch(
    sizes: list[int], shape: tuple[int, int], seed: int
) -> None:
    groups = batches_of(sizes, shape[1])

    def sampler(**ranks: int) -> SmartBatchSampler:
        return SmartBatchSampler(groups, batch_size=shape[0], seed=seed, **ranks)

    whole = drawn(sampler(), 6)
    for world in (2, 4, 8):
        ranks = [drawn(sampler(rank=rank, world_size=world), 6) for rank in range(world)]
        for batch, parts in zip(whole, zip(*ranks, strict=True), strict=True):
            assert {len(part) for part in parts} == {shape[0] // world}
            assert [pair for part in parts for pair in part] == batch


@some
@given(
    SIZES,
    SEEDS,
    st.integers(0, 20),
    st.integers(0, 9),
    st.sampled_from([1, 2, 4]),
    st.sampled_from([1, 2, 4]),
)
def test_a_saved_state_resumes_on_another_number_of_ranks(
    sizes: list[int], seed: int, steps: int, jump: int, world: int, later_world: int
) -> None:
    groups = batches_of(sizes, 4)

    def sampler(**ranks: int) -> SmartBatchSampler:
        return SmartBatchSampler(groups, batch_size=16, seed=seed, **ranks)

    straight = drawn(sampler(), steps + jump + 3)
    last = sampler(rank=world - 1, world_size=world)
    drawn(last, steps)
    last.advance(jump)
    assert last.step == steps + jump
    state = json.loads(json.dumps(last.state_dict()))
    parts = []
    for rank in range(later_world):
        resumed = sampler(rank=rank, world_size=later_world)
        resumed.load_state_dict(state)
        parts.append(drawn(resumed, 3))
    assert [list(itertools.chain(*part)) for part in zip(*parts, strict=True)] == straight[steps + jump :]


def test_a_state_of_an_earlier_step_goes_back() -> None:
    sampler = SmartBatchSampler(batches_of([40, 9], 4), batch_size=8)
    drawn(sampler, 3)
    state = sampler.state_dict()
    after = drawn(sampler, 20)
    sampler.load_state_dict(state)
    assert drawn(sampler, 20) == after


def test_sources_are_drawn_as_by_the_sampler_of_rows() -> None:
    groups = batches_of([40, 80, 20], 4)
    ours = drawn(SmartBatchSampler(groups, [1, 2, 0.5], batch_size=16, seed=3), 50)
    theirs = drawn(SubBatchSampler([40, 80, 20], [1, 2, 0.5], 16, 4, seed=3), 50)
    assert [[source for source, _ in batch] for batch in ours] == [[s for s, _ in batch] for batch in theirs]
    by_size = drawn(SmartBatchSampler(groups, batch_size=16, seed=3), 50)
    assert by_size == drawn(SmartBatchSampler(groups, [10, 20, 5], batch_size=16, seed=3), 50)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on machines with few cores
@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_keeps_the_order_of_batches_for_any_number_of_workers(workers: int) -> None:
    class Echo(torch.utils.data.Dataset):  # type: ignore[type-arg]
        def __getitem__(self, index: Any) -> Any:
            return index

    groups = batches_of([100, 9], 2)
    sampler = SmartBatchSampler(groups, batch_size=8, rank=1, world_size=2)
    loader = torch.utils.data.DataLoader(Echo(), batch_sampler=sampler, num_workers=workers, collate_fn=list)
    straight = drawn(SmartBatchSampler(groups, batch_size=8, rank=1, world_size=2), 24)
    assert drawn(loader, 24) == straight


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"groups": [[1, 2]]}, "groups is of the type list. Pass what mine_sub_batches returned"),
        ({"weights": [1]}, "1 weights for 2 sources"),
        ({"batch_size": 10}, "Make batch_size 8 or 12, or choose a sub_batch_size that divides 10"),
        ({"world_size": 3}, "4 sub-batches .* among 3 processes. Make batch_size 24"),
        ({"rank": 2, "world_size": 2}, "rank 2 does not exist"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_a_bad_setting_is_named_with_the_fix(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        SmartBatchSampler(**{"groups": batches_of([100, 50], 4), "batch_size": 16, **arguments})


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"groups": batches_of([100, 50], 4, seed=1)}, "other groups. Resume with the settings and groups"),
        ({"groups": batches_of([100, 54], 4)}, "other source_sizes"),
        ({"seed": 1}, "other seed"),
        ({"weights": [1, 1]}, "other weights"),
        ({"batch_size": 32}, "other batch_size"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(other: dict[str, Any], says: str) -> None:
    arguments = {"groups": batches_of([100, 50], 4), "batch_size": 16}
    state = SmartBatchSampler(**{**arguments, **other}).state_dict()
    with pytest.raises(InputError, match=says):
        SmartBatchSampler(**arguments).load_state_dict(state)
    own = SmartBatchSampler(**arguments)
    with pytest.raises(InputError, match="step of the state is None"):
        own.load_state_dict({**own.state_dict(), "step": None})


def test_batches_are_drawn_without_torch(tmp_path: Path) -> None:
    batches_of([20], 4).save(tmp_path / "groups.npz")
    script = f"""
import sys
from vlm2vec.training import SmartBatches, SmartBatchSampler
next(SmartBatchSampler(SmartBatches.load({str(tmp_path / "groups.npz")!r}), batch_size=8))
sys.exit("torch was loaded" if "torch" in sys.modules else 0)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
