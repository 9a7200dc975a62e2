"""Smart batches: rows grouped so that their documents are hard negatives of each other.

After B3, "Breaking the batch barrier of contrastive learning through smart batch mining"
(arXiv:2505.11293): a teacher ranks the documents for each query, the first ranks are passed over as likely
right answers, the next ones are links of a sparse graph over rows, and that is cut into groups of one size.
B3 cuts with METIS; here groups are grown and then improved by exchanges, in numpy.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from vlm2vec.errors import InputError
from vlm2vec.training.batches.group_exchange import exchange_rows
from vlm2vec.training.batches.group_growth import grow_groups
from vlm2vec.training.batches.group_links import GroupLinks
from vlm2vec.training.batches.neighbour_graph import NeighbourGraph
from vlm2vec.training.batches.neighbour_search import EmbeddedRows, embed_rows, find_neighbours
from vlm2vec.training.batches.number_lists import Numbers
from vlm2vec.training.batches.smart_batches import GroupedSource, SmartBatches
from vlm2vec.training.batches.sub_batch_settings import whole_number
from vlm2vec.training.data.mixture import Mixture
from vlm2vec.training.mining.mining_vectors import Embedder
from vlm2vec.training.sources.lazy_rows import Records

if TYPE_CHECKING:
    from vlm2vec import VLM2Vec

__all__ = ["mine_sub_batches"]

logger = logging.getLogger(__name__)


def mine_sub_batches(
    model: VLM2Vec,
    train: Mixture | Records[Any],
    *,
    sub_batch_size: int = 64,
    neighbours: int = 100,
    skip: int = 30,
    seed: int = 0,
    on_error: Literal["raise", "skip"] = "raise",
    source: str = "train",
    batch_size: int | None = None,
    max_tokens_per_batch: int | None = None,
    truncate: bool = False,
    show_progress_bar: bool | None = None,
) -> SmartBatches:
    """Group the rows of each source so that their documents are hard negatives of each other.

    For each query the different documents of its source are ranked, without its right answers: its document,
    the documents of rows with the same query and query instruction, and whatever equals the query. Rows do
    not get into a group with those, as long as others are there. Files are equal by path, and pictures in
    memory only as the same object; copies are left to `skip`.

    Sources are mined one by one. In memory are the rows of one, its vectors, and `skip + neighbours` numbers
    for each row, but never all similarities.

    Args:
        model: The teacher: any model, often the one that training starts from.
        train: A mixture, or rows, which are its only source.
        sub_batch_size: Rows of each group.
        neighbours: How many documents of the ranking are hard negatives. The data published with B3 were made
            with 100 for groups of 8 to 32, 300 for groups of 128 and 2,000 for groups of 1,024.
        skip: How many documents before those are passed over, for they may be right answers that nobody
            marked. There it is 30 for retrieval and 70 for question answering. With few documents, or with
            answers that are marked in full, less is better.
        seed: Decides between rows that are equally good.
        on_error: "raise" stops at what cannot be embedded; "skip" leaves such rows out and counts them.
        source: Name of the rows, if they are no mixture.
        batch_size: As in `encode`.
        max_tokens_per_batch: As in `encode`.
        truncate: As in `encode`.
        show_progress_bar: As in `encode`; for all else by default where there is a terminal.

    Returns:
        The groups of each source, and what came of it.

    Raises:
        InputError: A setting is out of range, a row is no training row, or a source has too few for a group.
        VLM2VecError: An input cannot be embedded; it names the row.

    Example:
        >>> from vlm2vec import VLM2Vec
        >>> clips = [f"a red circle moving {way}" for way in ("left", "right", "up")]
        >>> pages = [f"a page titled river {word}" for word in ("apple", "bridge", "silver")]
        >>> rows = [{"query": f"find {text}", "document": text} for text in (*clips, *pages)]
        >>> mined = mine_sub_batches(VLM2Vec(), rows, sub_batch_size=3, neighbours=2, skip=0)
        >>> sorted(sorted(group) for group in mined.sources[0].groups.tolist())
        [[0, 1, 2], [3, 4, 5]]
    """
    size = whole_number("sub_batch_size", sub_batch_size, least=2)
    neighbours = whole_number("neighbours", neighbours, least=1)
    skip, seed = whole_number("skip", skip, least=0), whole_number("seed", seed, least=0)
    settings = {
        "batch_size": batch_size,
        "max_tokens_per_batch": max_tokens_per_batch,
        "truncate": truncate,
        "show_progress_bar": show_progress_bar,
    }
    parts = {part.name: part for part in train.sources} if isinstance(train, Mixture) else {source: train}
    for name, rows in parts.items():
        _check_size(len(rows), size, name)  # before hours of embedding
    found = []
    for name, rows in parts.items():
        embedder = Embedder(settings, on_error)
        embedded = embed_rows(model, rows, embedder, name)
        _check_size(len(embedded), size, name)
        graph = find_neighbours(
            embedded,
            neighbours=neighbours,
            skip=skip,
            device=model.device,
            show_progress_bar=show_progress_bar,
        )
        grown = grow_groups(graph, size, seed=seed, show_progress_bar=show_progress_bar)
        groups = exchange_rows(graph, grown, seed=seed, show_progress_bar=show_progress_bar)
        left_over = np.setdiff1d(np.arange(len(embedded)), groups)
        similarity, clashing = _within(embedded, graph, groups)
        shuffled = np.random.default_rng(seed).permutation(len(embedded))[: groups.size]
        found.append(
            GroupedSource(
                name=name,
                rows=len(rows),
                groups=np.sort(embedded.numbers[groups], axis=1),
                left_over=embedded.numbers[left_over],
                skipped=embedder.skipped,
                similarity=similarity,
                random_similarity=_within(embedded, graph, shuffled.reshape(groups.shape))[0],
                clashing=clashing,
            )
        )
        if not graph.links:
            logger.warning(
                "%s: its groups are random. A query has no neighbours beyond the %s documents that skip "
                "passes over.",
                name,
                skip,
            )
    batches = SmartBatches(tuple(found), neighbours=neighbours, skip=skip)
    logger.info("%s", batches)
    return batches


def _check_size(rows: int, size: int, source: str) -> None:
    if rows < size:
        raise InputError(
            f"it has {rows:,} usable rows, and a group takes {size:,}",
            fix="Lower sub_batch_size, or leave the source out.",
            source=f'source "{source}"',
        )


def _within(rows: EmbeddedRows, graph: NeighbourGraph, groups: Numbers) -> tuple[float, int]:
    """Mean cosine of queries and their negatives in groups, and how many rows clash with another."""
    links = GroupLinks(graph)
    total, pairs, clashing = 0.0, 0, 0
    for group in groups:
        clashes = links.between(group)[1]
        negative = ~clashes
        np.fill_diagonal(negative, False)
        cosines = rows.queries[group] @ rows.vectors[rows.documents[group]].T
        total += float(cosines[negative].sum())
        pairs += int(negative.sum())
        clashing += int(clashes.any(axis=1).sum())
    return total / pairs if pairs else float("nan"), clashing
