import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm2vec.errors import InputError
from vlm2vec.mmeb import ranking
from vlm2vec.mmeb.ranking import max_sim, rank


def naive_max_sim(query, candidate):
    total = 0.0
    for q in query:
        total += max(sum(float(a) * float(b) for a, b in zip(q, c, strict=True)) for c in candidate)
    return np.float32(total)


def naive_rank(queries, candidates, pools, k):
    """All scores by loops over single numbers, and Python's sort, which is stable."""
    ranked = []
    for index, query in enumerate(queries):
        pool = range(len(candidates)) if pools is None else pools[index]
        scored = [
            (place, naive_max_sim(np.atleast_2d(query), np.atleast_2d(candidates[place]))) for place in pool
        ]
        scored.sort(key=lambda pair: (np.isnan(pair[1]), 0.0 if np.isnan(pair[1]) else -pair[1]))
        ranked.append([place for place, _ in scored[:k]])
    return ranked


def as_lists(ranked):
    return [places.tolist() for places in ranked]


@st.composite
def problems(draw):
    """Vectors of few small integers, so that ties are common; some rows NaN; some queries with own pools."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    tokens = draw(st.sampled_from([None, 1, 4]))
    count = draw(st.integers(1, 25))

    def items(n):
        if tokens is None:
            values = rng.integers(-1, 2, (n, 3)).astype(np.float32)
            values[rng.random(n) < 0.1] = np.nan
            return values
        made = [rng.integers(-1, 2, (rng.integers(1, tokens + 1), 3)).astype(float) for _ in range(n)]
        return [item * (np.nan if rng.random() < 0.1 else 1) for item in made]

    queries = items(draw(st.integers(1, 6)))
    pools = None
    if draw(st.booleans()):
        pools = [rng.integers(0, count, rng.integers(0, 30)).tolist() for _ in queries]
    return queries, items(count), pools, draw(st.integers(1, 30))


@pytest.mark.filterwarnings("error")
@given(problems(), st.integers(1, 40), st.integers(1, 8))
@settings(deadline=None)
def test_rankings_equal_naive_ones_for_any_size_of_block(problem, candidate_block, query_block):
    queries, candidates, pools, k = problem
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "_CANDIDATE_BLOCK", candidate_block)
        patch.setattr(ranking, "_QUERY_BLOCK", query_block)
        ranked = rank(queries, candidates, pools, k=k)
    assert as_lists(ranked) == naive_rank(queries, candidates, pools, k)
    assert all(places.dtype == np.int64 for places in ranked)


@pytest.mark.parametrize("tokens", [None, 1, 3])
@pytest.mark.parametrize("local", [False, True])
def test_equal_items_are_ties_wherever_they_stand(local, tokens):
    rng = np.random.default_rng(0)
    shape = (768,) if tokens is None else (tokens, 768)
    item = rng.standard_normal(shape).astype(np.float32)
    for count in (7, 101, 1003):
        pools = [np.arange(count)] * 5 if local else None
        ranked = rank(rng.standard_normal((5, *shape)), np.array([item] * count), pools, k=count)
        assert as_lists(ranked) == [list(range(count))] * 5


def test_ties_go_to_the_earlier_of_the_pool_and_not_of_the_candidates():
    assert as_lists(rank(np.ones((1, 2)), np.ones((4, 2)), [[2, 0, 3]])) == [[2, 0, 3]]


def test_a_candidate_that_is_twice_in_a_pool_has_two_places():
    vectors = np.array([[1.0, 0], [0, 1], [0.5, 0]])
    assert as_lists(rank(np.array([[1.0, 0]]), vectors, [[2, 0, 2, 0, 1]])) == [[0, 0, 2, 2, 1]]


def test_nan_scores_are_last_even_behind_the_worst():
    vectors = np.array([[np.nan, 0], [-9.0, 0], [np.nan, np.nan], [1, 0]])
    assert as_lists(rank(np.array([[1.0, 0]]), vectors)) == [[3, 1, 0, 2]]
    assert as_lists(rank(np.array([[np.nan, 0]]), vectors)) == [[0, 1, 2, 3]]


def test_a_query_ranks_the_same_alone_and_among_others():
    rng = np.random.default_rng(0)
    queries, candidates = rng.standard_normal((40, 64)), rng.standard_normal((500, 64))
    together = as_lists(rank(queries, candidates))
    assert together == [as_lists(rank(query[None], candidates))[0] for query in queries]
    assert together == as_lists(rank(queries, candidates, [range(500)] * 40))


def test_vectors_in_float64_count_as_float32():
    query, close = np.array([[1.0, -1.0]]), np.array([[1.0, 1.0], [1.0 + 1e-9, 1.0]])
    assert as_lists(rank(query, close)) == [[0, 1]]
    assert as_lists(rank([query], [close[:1], close[1:]])) == [[0, 1]]


def test_scores_are_compared_in_float32():
    # 1 + 2**-30 is exact as a sum in float64, and 1 in float32.
    candidates = np.array([[1.0, 0.0], [1.0, 2.0**-30]])
    assert as_lists(rank(np.array([[1.0, 1.0]]), candidates)) == [[0, 1]]


def test_no_array_of_all_scores_exists():
    rng = np.random.default_rng(0)
    queries = rng.standard_normal((3000, 4)).astype(np.float32)
    candidates = rng.standard_normal((6000, 4)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "_CANDIDATE_BLOCK", 512)
        patch.setattr(ranking, "_QUERY_BLOCK", 64)
        tracemalloc.start()
        rank(queries, candidates, k=1)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < len(queries) * len(candidates) * 4 / 10


@pytest.mark.parametrize("pools", [None, [[], []]])
@pytest.mark.parametrize("candidates", [[], np.empty((0, 3))])
def test_nothing_to_rank_gives_empty_rankings(candidates, pools):
    assert as_lists(rank(np.ones((2, 3)), candidates, pools)) == [[], []]


def test_an_empty_pool_stands_beside_full_ones():
    assert as_lists(rank(np.ones((2, 3)), np.ones((4, 3)), [[], np.array([3])])) == [[], [3]]


def test_no_queries_give_no_rankings():
    assert rank([], np.ones((4, 3))) == []
    assert rank(np.empty((0, 3)), np.ones((4, 3)), []) == []


def test_one_candidate_is_first():
    assert as_lists(rank(-np.ones((1, 3)), np.ones((1, 3)))) == [[0]]


def test_late_interaction_of_single_tokens_is_the_dot_product():
    rng = np.random.default_rng(0)
    queries, candidates = rng.standard_normal((9, 16)), rng.standard_normal((70, 16))
    assert as_lists(rank(queries[:, None], list(candidates[:, None]))) == as_lists(rank(queries, candidates))


def test_max_sim_equals_naive_sums():
    rng = np.random.default_rng(0)
    queries, candidates = (
        [rng.standard_normal((n, 8)).astype(np.float32) for n in counts]
        for counts in ((1, 5, 3), (4, 1, 9, 2))
    )
    scores = max_sim(queries, candidates)
    assert scores.dtype == np.float32
    expected = [[naive_max_sim(query, candidate) for candidate in candidates] for query in queries]
    np.testing.assert_array_max_ulp(scores, np.array(expected), maxulp=1)


def test_vectors_that_do_not_fit_together_are_errors():
    with pytest.raises(InputError, match="one vector of 3 dimensions and candidates one vector of 4"):
        rank(np.ones((1, 3)), np.ones((1, 4)))
    with pytest.raises(InputError, match="one vector of 3 dimensions and candidates tokens of 3"):
        rank(np.ones((1, 3)), np.ones((1, 2, 3)))
    with pytest.raises(InputError, match=r"input 1: .*4 dimensions, those of the first item 3"):
        rank([np.ones((2, 3)), np.ones((2, 4))], [np.ones((2, 3))])


@pytest.mark.parametrize("item", [np.ones(3), np.empty((0, 3)), np.ones((1, 2, 3))])
def test_an_item_that_is_not_tokens_by_dim_is_an_error_with_its_index(item):
    with pytest.raises(InputError, match=r"input 1: .*Pass \(tokens, dim\)"):
        rank([np.ones((2, 3)), item], [np.ones((2, 3))])


@pytest.mark.parametrize("pool", [[4], [-1], [0, 1, 7]])
def test_a_pool_that_points_outside_is_an_error_with_its_query(pool):
    with pytest.raises(InputError, match=r"input 1: .*of 4"):
        rank(np.ones((2, 3)), np.ones((4, 3)), [[0], pool])


def test_other_wrong_settings_are_errors():
    with pytest.raises(InputError, match="2 queries have 1 pools"):
        rank(np.ones((2, 3)), np.ones((4, 3)), [[0]])
    with pytest.raises(InputError, match="k is int 0"):
        rank(np.ones((2, 3)), np.ones((4, 3)), k=0)
