"""Whether a batch can have a negative is told of any mixture, without reading more rows than it takes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import pytest

from vlm2vec.errors import InputError
from vlm2vec.training import FitSettings, Mixture, TrainingSource
from vlm2vec.training.data.negatives import check_negatives

A = {"query": "a cat", "document": "a photo of a cat"}
B = {"query": "a dog", "document": "a photo of a dog"}
SAME_DOCUMENT = {"query": "a dog", "document": "a photo of a cat"}
SAME_QUERY = {"query": "a cat", "document": "a photo of a dog"}
WITH_NEGATIVE = {**A, "negatives": ["a photo of a dog"]}
BROKEN = {"query": ""}


def mixture(*sources: Sequence[Any]) -> Mixture:
    return Mixture([TrainingSource(f"source {place}", rows) for place, rows in enumerate(sources)])


@pytest.mark.parametrize(
    ("sources", "settings", "why"),
    [
        ([[A]], {}, "there is one row. Pass more rows, or give"),
        ([[A]], {"batch_size": 8}, "there is one row"),
        ([[A, B]], {"batch_size": 1}, "a batch is one row. Pass a batch_size of at least 2"),
        ([[A, A]], {}, "the same query, or all the same document"),
        ([[A, SAME_DOCUMENT]], {}, "the same query, or all the same document"),
        ([[A, SAME_QUERY]], {}, "the same query, or all the same document"),
        ([[A], [A]], {}, "the same query, or all the same document"),
        (
            [[A], [B]],
            {"batch_size": 4, "sub_batch_size": 4},
            "all rows of a source .* several sub_batch_size",
        ),
        ([[A, BROKEN]], {}, "nothing to learn"),
    ],
)
def test_a_mixture_without_negatives_is_refused(
    sources: list[list[Any]], settings: dict[str, Any], why: str
) -> None:
    with pytest.raises(InputError, match=f"no batch can have a negative.*{why}"):
        check_negatives(mixture(*sources), FitSettings(**settings))


@pytest.mark.parametrize(
    ("sources", "settings"),
    [
        ([[WITH_NEGATIVE]], {}),
        ([[A, WITH_NEGATIVE]], {"batch_size": 1}),
        ([[A, B]], {}),
        ([[A, A, SAME_DOCUMENT, SAME_QUERY]], {}),
        ([[A, {**B, "query": A["query"], "query_instruction": "Find a dog."}]], {}),
        ([[A], [B]], {"batch_size": 4, "sub_batch_size": 2}),
        ([[A], [A, B]], {"batch_size": 4, "sub_batch_size": 4}),
        ([[BROKEN, BROKEN]], {}),  # of these, what is wrong with a row is what helps
    ],
)
def test_a_mixture_with_negatives_is_taken(sources: list[list[Any]], settings: dict[str, Any]) -> None:
    check_negatives(mixture(*sources), FitSettings(**settings))


def test_negatives_that_are_not_used_do_not_count() -> None:
    with pytest.raises(InputError, match="there is one row"):
        check_negatives(Mixture([TrainingSource("pets", [WITH_NEGATIVE], negatives=False)]), FitSettings())


class Counted(list[Any]):
    """Rows that count how often they are read."""

    read = 0

    def __getitem__(self, place: Any) -> Any:
        self.read += 1
        return super().__getitem__(place)


def test_few_rows_are_read() -> None:
    rows = Counted({"query": f"{n}", "document": f"number {n}"} for n in range(1000))
    check_negatives(mixture(rows), FitSettings())
    assert rows.read == 2


def test_what_is_refused_has_the_same_loss_whatever_the_vectors_are() -> None:
    """Against the masks that training makes, for all pairs of a few rows."""
    import torch

    from vlm2vec.training.batches import RowParser
    from vlm2vec.training.data.rows import check_row
    from vlm2vec.training.loss.grad_cache import _as_right

    for rows in product([A, B, SAME_DOCUMENT, SAME_QUERY], repeat=2):
        pairs = RowParser()([check_row(row) for row in rows])
        numbers = (pairs.query_ids, pairs.query_contents, pairs.document_ids, pairs.positives)
        right = _as_right(*(torch.tensor(list(each)) for each in numbers))
        try:
            check_negatives(mixture(rows), FitSettings())
        except InputError:
            assert right.all()
        else:
            assert not right.all()
