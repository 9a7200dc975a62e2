"""Equal scores: which candidate comes first must have nothing to do with which one is right."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from vlm2vec.mmeb.metrics import mean_scores, query_scores
from vlm2vec.mmeb.ranking import rank_task
from vlm2vec.mmeb.samples import Content, Key, Query, TaskData

QUERIES, CHOICES = 400, 4


def rows(right: int = 0, *, shared: bool = False, numbers: bool = False, pool: bool = False) -> TaskData:
    """Queries with candidates of their own, of which the one at `right` is right.

    Args:
        right: The same place in each row.
        shared: Whether rows have the same candidates, and turn them so that each is right as often.
        numbers: Whether keys are numbers and not texts.
        pool: Whether a query ranks all candidates, as in retrieval.
    """
    queries: list[Query] = []
    candidates: dict[Key, Content] = {}
    for row in range(QUERIES):
        names = [
            row % CHOICES - right + place if shared else CHOICES * row + place for place in range(CHOICES)
        ]
        names = [name % CHOICES if shared else name for name in names]
        keys: list[Key] = [name if numbers else f"answer {name}" for name in names]
        candidates |= {key: Content(f"{key}", text=f"{key}") for key in keys if key not in candidates}
        own = None if pool else tuple(keys)
        queries.append(Query(Content(f"question {row}"), (keys[right],), candidates=own))
    return TaskData(queries, candidates)


def hit_rate(
    data: TaskData,
    queries: Sequence[np.ndarray],
    candidates: Sequence[np.ndarray | None],
    *,
    compat: str | None = None,
    tokens: bool = False,
) -> float:
    top = rank_task(data, queries, candidates, late_interaction=tokens, compat=compat)  # type: ignore[arg-type]
    scores = [
        query_scores(found, query.labels, compat=compat)  # type: ignore[arg-type]
        for found, query in zip(top, data.queries, strict=True)
    ]
    return mean_scores(scores)["hit@1"]


def same(data: TaskData, shape: tuple[int, ...] = (8,)) -> tuple[list[np.ndarray], list[np.ndarray]]:
    ones = np.ones(shape, np.float32)
    return [ones] * len(data.queries), [ones] * len(data.candidates)


def near(share: float, *, of: int = QUERIES) -> object:
    """Within four deviations."""
    return pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / of))


@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.parametrize("numbers", [False, True])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("right", range(CHOICES))
def test_a_constant_scorer_is_at_chance_wherever_the_right_answer_stands(
    right: int, shared: bool, numbers: bool, tokens: bool
) -> None:
    data = rows(right, shared=shared, numbers=numbers)
    vectors = same(data, (3, 8) if tokens else (8,))
    assert hit_rate(data, *vectors, tokens=tokens) == near(1 / CHOICES)


def test_a_constant_scorer_finds_one_query_of_a_task_that_shares_its_pool() -> None:
    data = rows(pool=True)
    assert hit_rate(data, *same(data)) in (0, 1 / QUERIES)


def test_a_scorer_that_knows_two_answers_alone_is_at_their_chance() -> None:
    """Half of the candidates are alike, and better than the others: a tie of two, one of which is right."""
    data = rows()
    queries, _ = same(data, (2,))
    good = [np.array([1.0, index % CHOICES < 2], np.float32) for index in range(len(data.candidates))]
    assert hit_rate(data, queries, good) == near(1 / 2)


def test_equal_pictures_under_two_names_are_a_tie() -> None:
    """A right answer that wins alone wins; its copy under another name takes half of the hits."""
    data = rows()
    queries, _ = same(data, (2,))
    alone = [
        np.array([1.0, float(index % CHOICES == 0)], np.float32) for index in range(len(data.candidates))
    ]
    assert hit_rate(data, queries, alone) == 1.0
    copied = [
        alone[index - index % CHOICES] if index % CHOICES == 3 else alone[index]
        for index in range(len(alone))
    ]
    assert hit_rate(data, queries, copied) == near(1 / 2)


def test_the_order_of_rows_and_of_candidates_decides_nothing() -> None:
    data = rows(shared=True)
    turned = TaskData(
        [replace(query, candidates=tuple(reversed(query.candidates or ()))) for query in data.queries],
        dict(reversed(data.candidates.items())),
    )
    found = rank_task(data, *same(data), late_interaction=False)
    assert found == rank_task(turned, *same(turned), late_interaction=False)


def test_a_candidate_that_failed_leaves_the_order_of_the_others() -> None:
    data = rows()
    queries, candidates = same(data)
    whole = rank_task(data, queries, candidates, late_interaction=False)
    missing = list(data.candidates)[::5]
    left = [None if key in missing else row for key, row in zip(data.candidates, candidates, strict=True)]
    for before, after in zip(whole, rank_task(data, queries, left, late_interaction=False), strict=True):
        assert after == tuple(key for key in before if key not in missing)


def test_compat_takes_the_earlier_of_the_pool_as_before() -> None:
    data = rows()
    assert hit_rate(data, *same(data), compat="v2.0") == 1.0
    for found, query in zip(
        rank_task(data, *same(data), late_interaction=False, compat="v2.0"), data.queries, strict=True
    ):
        assert found == query.candidates


def test_scores_without_ties_are_the_same_by_both_rules() -> None:
    data, random = rows(), np.random.default_rng(5)
    queries = list(random.standard_normal((QUERIES, 16)).astype(np.float32))
    candidates = list(random.standard_normal((len(data.candidates), 16)).astype(np.float32))
    assert rank_task(data, queries, candidates, late_interaction=False) == rank_task(
        data, queries, candidates, late_interaction=False, compat="v2.0"
    )
