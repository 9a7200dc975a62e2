import math
import os
import subprocess
import sys

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given
from hypothesis import strategies as st

from vlm2vec.errors import InputError
from vlm2vec.mmeb import metrics
from vlm2vec.mmeb.metrics import mean_scores, ndcg_at_k, query_scores

CUTS = (1, 5, 10)
NAMES = ("hit", "ndcg_linear", "ndcg_exponential", "precision", "recall", "f1", "map", "mrr")

# Few keys and rankings longer than ten: labels are within, behind and outside of the places that count.
rankings = st.permutations(range(16)).flatmap(lambda keys: st.integers(0, 16).map(lambda n: keys[:n]))
labels = st.lists(st.integers(0, 18), unique=True, max_size=14)
graded = st.dictionaries(st.integers(0, 18), st.integers(0, 4), max_size=14)


def naive(name, ranking, grades, k):
    """Each metric by counting, written for rankings without repeated keys."""
    first = list(ranking)[:k]
    right = [key for key in first if key in grades]
    if name == "hit":
        return 1.0 if right else 0.0
    if name == "precision":
        return len(right) / k
    if name == "recall":
        return len(right) / len(grades) if grades else 1.0
    if name == "f1":
        precision, recall = naive("precision", ranking, grades, k), naive("recall", ranking, grades, k)
        return 0.0 if precision + recall == 0 else 2 / (1 / precision + 1 / recall) if right else 0.0
    if name == "mrr":
        return max((1 / (first.index(key) + 1) for key in right), default=0.0)
    if name == "map":
        precisions = [
            len([key for key in first[: i + 1] if key in grades]) / (i + 1)
            for i in range(len(first))
            if first[i] in grades
        ]
        return sum(precisions) / min(len(grades), k) if grades else 0.0
    worth = {"ndcg_linear": lambda g: g, "ndcg_exponential": lambda g: 2**g - 1}[name]
    dcg = sum(worth(grades.get(first[i], 0)) / math.log2(i + 2) for i in range(len(first)))
    ideal = sorted(grades.values(), reverse=True)
    best = sum(worth(ideal[i]) / math.log2(i + 2) for i in range(min(k, len(ideal))))
    return dcg / best if best else 0.0


def expected(ranking, grades):
    return {f"{name}@{k}": naive(name, ranking, grades, k) for name in NAMES for k in CUTS}


@given(rankings, labels)
def test_all_24_metrics_equal_naive_ones(ranking, right):
    scores = query_scores(ranking, right)
    assert len(scores) == 24
    assert scores == pytest.approx(expected(ranking, dict.fromkeys(right, 1)))


@given(rankings, graded, st.randoms())
def test_all_24_metrics_equal_naive_ones_with_grades_in_any_order(ranking, grades, shuffler):
    right = list(grades)
    shuffler.shuffle(right)
    scores = query_scores(ranking, right, [grades[key] for key in right])
    assert scores == pytest.approx(expected(ranking, grades))


@given(rankings, labels, st.integers(1, 20))
def test_functions_take_any_k_and_any_collection_or_key_type(ranking, right, k):
    grades = {str(key): 1 for key in right}
    words = np.array([str(key) for key in ranking], dtype=object)
    for name in ("hit", "precision", "recall", "f1", "map", "mrr"):
        score = getattr(metrics, f"{name}_at_k")(words, set(grades), k)
        assert score == pytest.approx(naive(name, list(words), grades, k))
    assert ndcg_at_k(words, tuple(grades), k) == pytest.approx(naive("ndcg_linear", list(words), grades, k))


@given(st.dictionaries(st.integers(), st.floats(0.5, 5), min_size=1, max_size=30), st.sampled_from(CUTS))
def test_a_perfect_ranking_has_an_ndcg_of_exactly_one(grades, k):
    best_first = sorted(grades, key=grades.get, reverse=True)
    assert ndcg_at_k([*best_first, "other"], grades, k) == 1.0
    assert ndcg_at_k([*best_first, "other"], grades, k, gain="exponential") == 1.0


PAGES = list(range(120, 144))
PAGE_GRADES = [3 if page == 125 else 2 for page in PAGES]
PERFECT = [125, *(page for page in PAGES if page != 125), *range(120)]


def test_a_perfect_ranking_of_a_document_with_one_page_of_grade_3_scores_one():
    scores = query_scores(PERFECT, PAGES, PAGE_GRADES)
    assert scores["ndcg_linear@5"] == scores["ndcg_exponential@5"] == 1.0


def test_compat_gives_the_same_ranking_the_score_of_the_original():
    scores = query_scores(PERFECT, PAGES, PAGE_GRADES, compat="v2.0")
    assert scores["ndcg_linear@5"] == pytest.approx(0.855, abs=5e-4)
    assert scores["ndcg_exponential@5"] == pytest.approx(0.689, abs=5e-4)


def test_compat_moves_grades_only():
    correct = query_scores(PERFECT[::-1], PAGES, PAGE_GRADES)
    compat = query_scores(PERFECT[::-1], PAGES, PAGE_GRADES, compat="v2.0")
    assert {name for name in correct if correct[name] != compat[name]} <= {
        f"ndcg_{gain}@{k}" for gain in ("linear", "exponential") for k in CUTS
    }
    assert query_scores(PERFECT, PAGES, compat="v2.0") == query_scores(PERFECT, PAGES)


@pytest.mark.parametrize(("compat", "distinct"), [(None, 1), ("v2.0", 2)])
def test_scores_of_string_keys_depend_on_the_hash_seed_with_compat_only(compat, distinct):
    code = (
        "from vlm2vec.mmeb.metrics import query_scores\n"
        "keys = [f'page {i}' for i in range(24)]\n"
        f"scores = query_scores(keys, keys, range(24, 0, -1), compat={compat!r})\n"
        "print(scores['ndcg_linear@5'])"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == distinct


def test_a_repeated_key_takes_places_but_counts_once():
    scores = query_scores(["b", "b", "a", "a"], ["a", "b"])
    assert scores["map@5"] == pytest.approx((1 + 2 / 3) / 2)
    assert scores["ndcg_linear@5"] == pytest.approx((1 + 1 / 2) / (1 + 1 / math.log2(3)))
    assert scores["precision@5"] == 2 / 5
    assert scores["recall@5"] == 1.0


def test_compat_counts_a_repeated_key_each_time_in_map_and_ndcg():
    correct = query_scores(["a", "a"], "a")
    compat = query_scores(["a", "a"], "a", compat="v2.0")
    assert compat["map@5"] == 2.0
    assert compat["ndcg_linear@5"] == pytest.approx(1 + 1 / math.log2(3))
    changed = {name.split("@")[0] for name in correct if correct[name] != compat[name]}
    assert changed == {"map", "ndcg_linear", "ndcg_exponential"}


@given(st.lists(st.integers(0, 6), max_size=14), graded)
def test_no_score_leaves_the_range_of_0_to_1_whatever_repeats(ranking, grades):
    scores = query_scores(ranking, list(grades), list(grades.values()))
    assert all(0 <= score <= 1 + 1e-12 for score in scores.values())


def test_repeated_labels_are_one():
    assert query_scores(["a", "b"], ["b", "b"]) == query_scores(["a", "b"], ["b"])


def test_a_key_alone_is_a_label_and_not_its_letters():
    assert query_scores(["a", "cat"], "cat") == query_scores(["a", "cat"], ["cat"])
    assert metrics.hit_at_k(["a"], "cat", 1) == 0
    assert ndcg_at_k([3, 7], 7, 5) == pytest.approx(1 / math.log2(3))


def test_without_labels_recall_is_1_and_all_else_0():
    scores = query_scores(["a", "b"], [])
    assert {name for name, score in scores.items() if score} == {"recall@1", "recall@5", "recall@10"}
    assert scores["recall@1"] == 1.0


def test_an_empty_ranking_scores_0():
    assert not any(query_scores([], ["a"]).values())


def test_precision_is_over_k_where_there_are_fewer_candidates():
    assert query_scores(["yes", "no"], "yes")["precision@5"] == 0.2


@pytest.mark.parametrize(
    ("labels", "grades"), [(["a", "b"], [1]), (["a"], [1, 2]), (["a", "a"], [1, 2]), ([], [1])]
)
def test_labels_and_grades_that_do_not_pair_up_are_an_error(labels, grades):
    with pytest.raises(InputError, match="Give each label once and with one grade"):
        query_scores(["a"], labels, grades)


@pytest.mark.parametrize("grade", [-1, math.nan])
def test_a_grade_that_is_negative_or_nan_is_an_error(grade):
    with pytest.raises(InputError, match="negative or NaN"):
        ndcg_at_k(["a"], {"a": grade}, 5)


def test_unknown_settings_are_errors():
    with pytest.raises(InputError, match=r"compat is 'v1'.*v2\.0"):
        query_scores(["a"], ["a"], compat="v1")
    with pytest.raises(InputError, match="gain is 'log'"):
        ndcg_at_k(["a"], ["a"], 5, gain="log")
    for name in ("hit", "precision", "recall", "f1", "map", "mrr", "ndcg"):
        with pytest.raises(InputError, match="k is int 0"):
            getattr(metrics, f"{name}_at_k")(["a"], ["a"], 0)


def test_means_weigh_queries_alike_and_do_not_depend_on_their_order():
    rng = np.random.default_rng(0)
    rows = [query_scores(rng.permutation(9).tolist(), [0, 1, 2], [3, 2, 1]) for _ in range(50)]
    means = mean_scores(iter(rows))
    assert means == mean_scores(rows[::-1])
    assert means == pytest.approx({name: np.mean([row[name] for row in rows]) for name in rows[0]})


def test_the_mean_of_nothing_is_an_error():
    with pytest.raises(InputError, match="no queries"):
        mean_scores([])


def test_metrics_equal_those_of_trec_eval():
    rng = np.random.default_rng(0)
    for _ in range(50):
        ranking = [f"d{i}" for i in rng.permutation(20)]
        grades = {f"d{i}": int(rng.integers(1, 4)) for i in rng.permutation(20)[: rng.integers(1, 11)]}
        run = {"q": {key: float(20 - place) for place, key in enumerate(ranking)}}
        wanted = {"ndcg_cut.1,5,10", "P.1,5,10", "recall.1,5,10", "success.1,5,10"}
        theirs = pytrec_eval.RelevanceEvaluator({"q": grades}, wanted).evaluate(run)["q"]
        ours = query_scores(ranking, list(grades), list(grades.values()))
        for k in CUTS:
            assert ours[f"ndcg_linear@{k}"] == pytest.approx(theirs[f"ndcg_cut_{k}"])
            assert ours[f"precision@{k}"] == pytest.approx(theirs[f"P_{k}"])
            assert ours[f"recall@{k}"] == pytest.approx(theirs[f"recall_{k}"])
            assert ours[f"hit@{k}"] == pytest.approx(theirs[f"success_{k}"])
