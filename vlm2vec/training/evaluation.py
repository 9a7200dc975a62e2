"""Scoring a model on rows that were held out: does each query find its document among all of them."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, TypeAlias, Unpack

from sentence_transformers.base.evaluation import BaseEvaluator, SequentialEvaluator
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

from vlm2vec.errors import VLM2VecError
from vlm2vec.inputs.access import Allowed
from vlm2vec.inputs.parts import Input
from vlm2vec.sameness import identity
from vlm2vec.training.data.mixture import Mixture
from vlm2vec.training.data.rows import check_row, read_row
from vlm2vec.training.sources.data_frames import records_of
from vlm2vec.training.sources.lazy_rows import Records

__all__ = ["evaluator_of", "row_evaluator"]

_Known: TypeAlias = dict[Hashable, tuple[str, Input]]


def evaluator_of(given: Any, **allowed: Unpack[Allowed]) -> Any:
    """What `fit` is given to evaluate with, as one evaluator of sentence-transformers, or `None`.

    Args:
        given: An evaluator or several, or held-out rows as `Mixture.of` takes them.
        **allowed: `allow_urls` and `allow_files`, as `parse_input` takes them.
    """
    if given is None or isinstance(given, BaseEvaluator):
        return given
    if isinstance(given, (list, tuple)) and given and all(isinstance(one, BaseEvaluator) for one in given):
        return SequentialEvaluator(list(given))
    sources = Mixture.of(given, name="eval").sources
    evaluators = [
        row_evaluator(source, name=source.name if len(sources) > 1 else "", **allowed) for source in sources
    ]
    return evaluators[0] if len(evaluators) == 1 else SequentialEvaluator(evaluators)


def row_evaluator(rows: Records[Any], *, name: str = "", **allowed: Unpack[Allowed]) -> Any:
    """sentence-transformers' evaluator of retrieval, over rows.

    Documents that are equal are one, and queries that are equal have all their documents. Hard negatives
    are documents too.

    Args:
        rows: As for training.
        name: Leads the names of the scores.
        **allowed: `allow_urls` and `allow_files`, as `parse_input` takes them.

    Returns:
        An `InformationRetrievalEvaluator`: `evaluator(model)` gives accuracy, MRR, NDCG by name.

    Raises:
        VLM2VecError: A row is bad; it is named.

    Example:
        >>> from vlm2vec import VLM2Vec
        >>> rows = [{"query": f"a {c} circle", "document": f"one {c} circle"} for c in ("red", "blue")]
        >>> row_evaluator(rows)(VLM2Vec())["cosine_accuracy@1"]
        1.0
    """
    rows = records_of(rows)
    queries: _Known = {}
    corpus: _Known = {}
    relevant: dict[str, set[str]] = {}
    for number in range(len(rows)):
        source = name or "eval"
        try:
            read = read_row(rows, number)
        except VLM2VecError as error:
            raise error.under(f"{source}, row {number}") from error
        row = check_row(read, source=source, number=number, **allowed)
        query = _added(queries, row.query)
        document = _added(corpus, row.document)
        relevant.setdefault(query, set()).add(document)
        for negative in row.negatives:
            _added(corpus, negative)
    return InformationRetrievalEvaluator(
        dict(queries.values()),
        dict(corpus.values()),
        relevant,
        name=name,
        accuracy_at_k=[1, 5],
        precision_recall_at_k=[1],
        map_at_k=[10],
        write_csv=False,
    )


def _added(known: _Known, item: Input) -> str:
    """The number of an input among those that are known, which it joins if it is new."""
    return known.setdefault((identity(item), item.instruction), (str(len(known)), item))[0]
