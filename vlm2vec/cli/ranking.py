"""Items -> vectors -> ranked items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlm2vec.cli.files import Item, reason
from vlm2vec.errors import VLM2VecError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from vlm2vec import VLM2Vec

__all__ = ["Corpus", "Ranked", "embed", "rank"]


@dataclass(frozen=True)
class Ranked:
    """An item and how well it fits a query; rank 1 is the best, a score is a cosine."""

    rank: int
    score: float
    item: Item


@dataclass(frozen=True)
class Corpus:
    """Items that could be embedded, their `(n, dim)` vectors, and why others could not: name -> reason."""

    items: Sequence[Item]
    vectors: npt.NDArray[np.float32]
    broken: dict[str, str]


def embed(
    model: VLM2Vec, items: Sequence[Item], *, show_progress_bar: bool, truncate: bool = False
) -> Corpus:
    """The documents' vectors; a broken one costs nothing but itself."""
    failed: dict[int, str] = {}

    def note(index: int, error: VLM2VecError) -> None:
        failed[index] = reason(error)

    vectors = model.encode_document(
        [item.content for item in items],
        on_error=note,
        truncate=truncate,
        show_progress_bar=show_progress_bar,
    )
    good = [index for index in range(len(items)) if index not in failed]
    broken = {items[index].full_name: why for index, why in sorted(failed.items())}
    return Corpus([items[index] for index in good], vectors[good], broken)


def rank(model: VLM2Vec, query: npt.NDArray[np.float32], corpus: Corpus) -> list[Ranked]:
    """All items of the corpus, the best for a query first; equal scores keep the order of the items."""
    scores = model.similarity(query, corpus.vectors)[0].tolist()
    order = sorted(range(len(scores)), key=lambda index: -scores[index])
    return [Ranked(place, scores[index], corpus.items[index]) for place, index in enumerate(order, start=1)]
