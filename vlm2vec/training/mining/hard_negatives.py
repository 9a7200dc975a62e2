"""Hard negatives: for each row, the documents that the model takes for its own and that are not."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from vlm2vec.errors import InputError
from vlm2vec.inputs.describe import describe_value
from vlm2vec.inputs.parse import is_single
from vlm2vec.training.data.mixture import Mixture
from vlm2vec.training.data.rows import check_rows
from vlm2vec.training.mining.mining_report import MiningReport
from vlm2vec.training.mining.mining_run import MiningRun
from vlm2vec.training.mining.mining_vectors import Embedder
from vlm2vec.training.mining.negative_choice import NegativeChoice
from vlm2vec.training.sources.lazy_rows import Records

if TYPE_CHECKING:
    from vlm2vec import VLM2Vec

__all__ = ["MinedRows", "mine_hard_negatives"]

logger = logging.getLogger(__name__)


class MinedRows(NamedTuple):
    """Rows with hard negatives, and what came of mining."""

    rows: list[dict[str, Any]]
    report: MiningReport


def mine_hard_negatives(
    model: VLM2Vec,
    rows: Records[Any],
    corpus: Iterable[Any] | None = None,
    *,
    num_negatives: int = 3,
    absolute_margin: float | None = None,
    relative_margin: float | None = 0.05,
    range_min: int = 0,
    range_max: int | None = None,
    sampling_strategy: Literal["top", "random"] = "top",
    seed: int = 0,
    on_error: Literal["raise", "skip"] = "raise",
    source: str = "train",
    batch_size: int | None = None,
    max_tokens_per_batch: int | None = None,
    truncate: bool = False,
    show_progress_bar: bool | None = None,
) -> MinedRows:
    """Give each row the documents most similar to its query that are not right answers to it.

    A document is no candidate for a row if it equals the row's query, its document, one of its negatives, or
    the document of another row with the same query and query instruction. Files are equal by path, and
    pictures in memory only as the same object: copies of the row's document are left to the margins.

    Mined negatives follow those that a row has. A document is embedded with the instruction it will have as a
    negative of the row, so without a corpus the candidates of a row are documents of rows that have the same
    document instruction; a corpus is embedded once for each of those instructions. `write_rows` makes a file
    of the rows.

    Args:
        model: The model that ranks.
        rows: Training rows, all kept in memory. Mine the sources of a mixture one by one.
        corpus: Where negatives come from: anything that `encode` takes, held in memory as it is given; by
            default the rows' documents.
        num_negatives: How many to add to each row.
        absolute_margin: A negative's cosine to the query is at most that of the document minus this.
        relative_margin: It is at most that of the document minus this part of it: 0.05 asks for at most 95 %.
            `None` for both margins takes whatever is nearest.
        range_min: How many of the nearest candidates to pass over, those within a margin included.
        range_max: The rank at which to stop, counted in the same way.
        sampling_strategy: "top" takes the nearest that are left, "random" draws from the first
            `10 * num_negatives` of them, or from all before `range_max`.
        seed: For "random".
        on_error: "raise" stops at what cannot be embedded; "skip" leaves such rows and documents out and
            counts them.
        source: Name of the rows, for errors.
        batch_size: As in `encode`.
        max_tokens_per_batch: As in `encode`.
        truncate: As in `encode`.
        show_progress_bar: As in `encode`; for the ranking by default where there is a terminal.

    Returns:
        New rows in the order of the old ones, and a report. Negatives stand in the order of similarity. Rows
        may have fewer than asked for.

    Raises:
        InputError: A setting is out of range, or a row is no training row.
        VLM2VecError: An input cannot be embedded, or no row can; it names the row.

    Example:
        >>> from vlm2vec import VLM2Vec
        >>> rows = [{"query": f"a {colour} circle", "document": colour} for colour in ("red", "blue")]
        >>> mined, report = mine_hard_negatives(VLM2Vec(), rows, num_negatives=1, relative_margin=None)
        >>> mined[0]
        {'query': 'a red circle', 'document': 'red', 'negatives': ['blue']}
        >>> report.mined
        2
    """
    choice = NegativeChoice(
        num_negatives, absolute_margin, relative_margin, range_min, range_max, sampling_strategy, seed
    )
    if isinstance(rows, Mixture):
        raise InputError(
            "rows is a Mixture", fix="Mine one of its sources at a time, as in mixture.sources[0]."
        )
    if corpus is not None and is_single(corpus):
        raise InputError(f"the corpus is {describe_value(corpus)}", fix="Pass a list of documents.")
    checked = check_rows(
        rows,
        source=source,
        on_error=on_error,
        allow_urls=model[0].allow_urls,
        show_progress_bar=show_progress_bar is not False,
    )
    batches = {"batch_size": batch_size, "max_tokens_per_batch": max_tokens_per_batch, "truncate": truncate}
    skipped = {f"rows {reason}": count for reason, count in checked.skipped.items()}
    embedder = Embedder({**batches, "show_progress_bar": show_progress_bar}, on_error, skipped)
    kept = {number: dict(rows[number]) for number in checked.kept}
    run = MiningRun(model, choice, embedder, kept, source)
    run.run(None if corpus is None else list(corpus))
    report = run.report()
    logger.info("%s: %s", source, report)
    return MinedRows([run.mined[number] for number in sorted(run.mined)], report)
