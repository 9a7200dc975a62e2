"""What the ranking of one query is worth: the 24 metrics of MMEB-V2, and their means over queries.

Formulas and denominators are those of the benchmark's public scores (TIGER-AI-Lab/VLM2Vec,
`src/utils/eval_utils/metrics.py`). None reads more than the first ten ranks of a ranking. A key that
stands in a ranking more than once takes a rank each time and counts where it stands first, so that no score
passes 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Literal, TypeAlias

from vlm2vec.arguments import one_of, whole_number
from vlm2vec.errors import InputError
from vlm2vec.mmeb.samples import Key

__all__ = [
    "Compat",
    "Gain",
    "hit_at_k",
    "precision_at_k",
    "recall_at_k",
    "f1_at_k",
    "map_at_k",
    "mrr_at_k",
    "ndcg_at_k",
    "query_scores",
    "mean_scores",
]

Gain: TypeAlias = Literal["linear", "exponential"]
Compat: TypeAlias = Literal["v2.0"]

_CUTS = (1, 5, 10)


def hit_at_k(ranking: Sequence[Key], relevant: Collection[Key] | Key, k: int) -> float:
    """1 if a right candidate is among the first `k`, else 0.

    Args:
        ranking: Keys of candidates, best first.
        relevant: Keys of the right candidates; one alone may be given as it is.
        k: How many ranks count.

    Raises:
        InputError: `k` is below 1.

    Example:
        >>> hit_at_k(["a", "b", "c"], ["c"], 2)
        0.0
    """
    return float(any(_hits(ranking, set(_listed(relevant)), k)))


def precision_at_k(ranking: Sequence[Key], relevant: Collection[Key] | Key, k: int) -> float:
    """Right candidates among the first `k`, over `k`, even where there are fewer than `k` candidates.

    Arguments and errors are those of `hit_at_k`.

    Example:
        >>> precision_at_k(["yes", "no"], "yes", 5)
        0.2
    """
    return sum(_hits(ranking, set(_listed(relevant)), k)) / k


def recall_at_k(ranking: Sequence[Key], relevant: Collection[Key] | Key, k: int) -> float:
    """Right candidates among the first `k`, over all right ones; 1 where nothing is right.

    Arguments and errors are those of `hit_at_k`.

    Example:
        >>> recall_at_k(["a", "b", "c"], ["a", "c"], 2)
        0.5
    """
    keys = set(_listed(relevant))
    found = sum(_hits(ranking, keys, k))
    return found / len(keys) if keys else 1.0


def f1_at_k(ranking: Sequence[Key], relevant: Collection[Key] | Key, k: int) -> float:
    """Harmonic mean of precision and recall at `k`; 0 without a hit.

    Arguments and errors are those of `hit_at_k`.

    Example:
        >>> f1_at_k(["a", "b", "c"], ["a", "c"], 3)
        0.8
    """
    precision, recall = precision_at_k(ranking, relevant, k), recall_at_k(ranking, relevant, k)
    return 2 * precision * recall / (precision + recall) if precision else 0.0


def map_at_k(
    ranking: Sequence[Key], relevant: Collection[Key] | Key, k: int, *, repeats: bool = False
) -> float:
    """Precision at the rank of each hit among the first `k`, summed, over the maximum of possible hits.

    The denominator is the smaller of `k` and the number of right candidates, not the latter as in textbooks.

    Args:
        ranking: Keys of candidates, best first.
        relevant: Keys of the right candidates.
        k: How many ranks count.
        repeats: Whether a key that stands in the ranking more than once is a hit each time.

    Raises:
        InputError: `k` is below 1.

    Example:
        >>> map_at_k(["b", "a"], ["a", "c", "d"], 2)
        0.25
    """
    keys = set(_listed(relevant))
    found, total = 0, 0.0
    for rank, hit in enumerate(_hits(ranking, keys, k, repeats=repeats), start=1):
        if hit:
            found += 1
            total += found / rank
    return total / min(len(keys), k) if found else 0.0


def mrr_at_k(ranking: Sequence[Key], relevant: Collection[Key] | Key, k: int) -> float:
    """One over the rank of the first right candidate; 0 if it is not among the first `k`.

    Arguments and errors are those of `hit_at_k`.

    Example:
        >>> mrr_at_k(["b", "a"], ["a"], 5)
        0.5
    """
    hits = _hits(ranking, set(_listed(relevant)), k)
    return 1 / (hits.index(True) + 1) if True in hits else 0.0


def ndcg_at_k(
    ranking: Sequence[Key],
    grades: Mapping[Key, float] | Collection[Key] | Key,
    k: int,
    gain: Gain = "linear",
    *,
    repeats: bool = False,
) -> float:
    """Gain of the first `k`, discounted by the logarithm of the rank, over that of the best ranking.

    Args:
        ranking: Keys of candidates, best first.
        grades: How right each right candidate is; keys without grades are all of grade 1.
        k: How many ranks count.
        gain: What a grade g is worth: g, or 2^g - 1.
        repeats: Whether a key that stands in the ranking more than once is a gain each time.

    Raises:
        InputError: `k` is below 1, `gain` has another name, or a grade is negative or NaN.

    Example:
        >>> ndcg_at_k(["a", "b"], {"b": 3, "a": 2}, 5) < ndcg_at_k(["b", "a"], {"b": 3, "a": 2}, 5)
        True
    """
    by_key = grades if isinstance(grades, Mapping) else dict.fromkeys(_listed(grades), 1.0)
    if not all(grade >= 0 for grade in by_key.values()):
        raise InputError("a grade is negative or NaN", fix="Leave out candidates that are not right.")
    hits = _hits(ranking, by_key, k, repeats=repeats)
    gained = [by_key[key] if hit else 0.0 for key, hit in zip(ranking, hits, strict=False)]
    best = _discounted(sorted(by_key.values(), reverse=True)[:k], gain)
    return _discounted(gained, gain) / best if best else 0.0


def query_scores(
    ranking: Sequence[Key],
    labels: Collection[Key] | Key,
    grades: Sequence[float] = (),
    *,
    compat: Compat | None = None,
) -> dict[str, float]:
    """All 24 metrics of one query, from "hit@1" to "mrr@10".

    Args:
        ranking: Keys of candidates, best first; the first ten are enough.
        labels: Keys of the right candidates; one alone may be given as it is.
        grades: How right each label is, in the order of the labels; empty where all are alike.
        compat: "v2.0" repeats two mistakes of the original code, which public scores contain. It puts labels
            into the order of a Python set but leaves grades in theirs, so that grades move to other
            labels; for keys that are strings that order, and so the score, is another in each process
            unless PYTHONHASHSEED is set. And a repeated key counts each time in map and ndcg.

    Raises:
        InputError: Labels and grades do not pair up, a grade is negative, or `compat` is unknown.

    Example:
        >>> scores = query_scores(["a", "b", "c"], ["c", "b"], [3, 2])
        >>> scores["hit@1"], scores["mrr@5"], round(scores["ndcg_linear@5"], 3)
        (0.0, 0.5, 0.648)
    """
    if compat is not None:
        one_of("compat", compat, ["v2.0"], or_else="or None for correct scores")
    in_order = _listed(labels)
    keys = set(in_order)
    if len(grades) and len({len(grades), len(in_order), len(keys)}) > 1:
        raise InputError(
            f"{len(in_order)} labels, {len(keys)} of them different, have {len(grades)} grades",
            fix="Give each label once and with one grade.",
        )
    # A set, made anew, holds the order in which the original code pairs labels with grades.
    paired = keys if compat == "v2.0" else in_order
    graded = dict(zip(paired, grades if len(grades) else [1.0] * len(in_order), strict=False))
    repeats = compat == "v2.0"
    metrics: dict[str, Callable[[int], float]] = {
        "hit": lambda k: hit_at_k(ranking, keys, k),
        "ndcg_linear": lambda k: ndcg_at_k(ranking, graded, k, "linear", repeats=repeats),
        "ndcg_exponential": lambda k: ndcg_at_k(ranking, graded, k, "exponential", repeats=repeats),
        "precision": lambda k: precision_at_k(ranking, keys, k),
        "recall": lambda k: recall_at_k(ranking, keys, k),
        "f1": lambda k: f1_at_k(ranking, keys, k),
        "map": lambda k: map_at_k(ranking, keys, k, repeats=repeats),
        "mrr": lambda k: mrr_at_k(ranking, keys, k),
    }
    return {f"{name}@{k}": metric(k) for name, metric in metrics.items() for k in _CUTS}


def mean_scores(per_query: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Means over queries, each query weighing the same.

    Args:
        per_query: Scores of each query, as of `query_scores`.

    Raises:
        InputError: There are no queries.

    Example:
        >>> mean_scores([{"hit@1": 1.0}, {"hit@1": 0.0}])
        {'hit@1': 0.5}
    """
    rows = list(per_query)
    if not rows:
        raise InputError("there are no queries to take the mean of", fix="Pass the scores of at least one.")
    return {name: math.fsum(row[name] for row in rows) / len(rows) for name in rows[0]}


def _hits(ranking: Sequence[Key], relevant: Collection[Key], k: int, *, repeats: bool = False) -> list[bool]:
    """Whether each of the first `k` ranks holds a right candidate, each candidate once unless `repeats`."""
    whole_number("k", k)
    hits, seen = [], set()
    for key in ranking[:k]:
        hits.append(key in relevant and (repeats or key not in seen))
        seen.add(key)
    return hits


def _discounted(grades: Sequence[float], gain: Gain) -> float:
    one_of("gain", gain, ("linear", "exponential"))
    gains = grades if gain == "linear" else [2.0**grade - 1 for grade in grades]
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, start=1))


def _listed(keys: Iterable[Key] | Key) -> list[Key]:
    return list(keys) if isinstance(keys, Iterable) and not isinstance(keys, str) else [keys]
