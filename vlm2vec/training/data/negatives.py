"""Whether any batch can have a negative: without one, the loss is 0 whatever the model gives."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import TYPE_CHECKING

from vlm2vec.errors import InputError, VLM2VecError
from vlm2vec.sameness import identity
from vlm2vec.training.data.rows import Row, check_row, read_row

if TYPE_CHECKING:
    from vlm2vec.training.data.mixture import Mixture
    from vlm2vec.training.settings import FitSettings
    from vlm2vec.training.sources.source import TrainingSource

__all__ = ["check_negatives"]


def check_negatives(mixture: Mixture, settings: FitSettings) -> None:
    """Raise where no batch can have a negative; few rows are read where one can.

    A negative is the document of another query, or one of a row's own `negatives`. What is equal to a right
    document is none. Rows that cannot be used are passed over: other checks report them.

    Args:
        mixture: The rows.
        settings: Say how many of them, and of how many sources, make a batch.

    Raises:
        InputError: There would be nothing to learn from.

    Example:
        >>> from vlm2vec.training import FitSettings, Mixture, TrainingSource
        >>> pets = TrainingSource("pets", [{"query": "a cat", "document": "a photo of a cat"}])
        >>> check_negatives(Mixture([pets]), FitSettings())
        Traceback (most recent call last):
        vlm2vec.errors.InputError: no batch can have a negative, so there is nothing to learn: ...
    """
    batch_size = settings.rows_per_batch(len(mixture))
    sub_batch_size = settings.rows_per_sub_batch(batch_size, sources=len(mixture.sources)) or 1
    mixed = batch_size > sub_batch_size
    # Rows of which some make a batch: of all sources, or of one.
    pools = [mixture.sources] if mixed else [(source,) for source in mixture.sources]
    if any(_can_have_negative(pool, alone=batch_size == 1) for pool in pools):
        return
    if any(True for _ in _usable(mixture.sources)):
        raise _nothing_to_learn(len(mixture), batch_size, of_one_source=len(pools) > 1)


def _can_have_negative(sources: Sequence[TrainingSource], *, alone: bool) -> bool:
    queries: set[Hashable] = set()
    documents: set[Hashable] = set()
    for row in _usable(sources):
        if row.negatives:
            return True
        if alone:
            continue
        queries.add((identity(row.query), row.query.instruction))
        documents.add(identity(row.document))
        if len(queries) > 1 and len(documents) > 1:
            return True
    return False


def _usable(sources: Sequence[TrainingSource]) -> Iterator[Row]:
    for source in sources:
        for number in range(len(source)):
            try:
                yield check_row(read_row(source, number), allow_urls=True)
            except VLM2VecError:
                continue


def _nothing_to_learn(rows: int, batch_size: int, *, of_one_source: bool) -> InputError:
    if rows > 1 and batch_size == 1:
        why, fix = "a batch is one row", "Pass a batch_size of at least 2"
    elif rows == 1:
        why, fix = "there is one row", "Pass more rows"
    else:
        where = "of a source " if of_one_source else ""
        why = f"all rows {where}have the same query, or all the same document"
        fix = "Pass rows of other queries and documents"
        if of_one_source:
            fix += ", or a batch_size of several sub_batch_size"
    return InputError(
        f"no batch can have a negative, so there is nothing to learn: {why}",
        fix=f'{fix}, or give rows "negatives": [...].',
    )
