"""The ANN index over the rows: how it is built, and how much of what is there it finds."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vlm2vec.errors import InputError
from vlm2vec.index.rows import Rows
from vlm2vec.index.search import PROBES, nearest_ids

__all__ = ["AnnReport", "build", "drop", "is_built", "recall"]

_LEAST = 1_000  # rows that there must be to learn from
_SAMPLE = 200  # rows that recall is measured with
_TOP = 10
_ENOUGH = 0.95  # recall


@dataclass(frozen=True)
class AnnReport:
    """What came of building an ANN index.

    Attributes:
        rows: That it is over.
        seconds: That it took.
        recall: Share of the ten nearest that a search finds, with rows of the index as queries.
        queries: How many these were.
        probes: Parts of it that a search looks into: for a recall of 95 %, or half of all.
        parts: How many it has.
    """

    rows: int
    seconds: float
    recall: float
    queries: int
    probes: int
    parts: int

    def __str__(self) -> str:
        return (
            f"ANN index over {self.rows:,} rows in {self.seconds:.1f} s; it finds "
            f"{100 * self.recall:.1f} % of the {_TOP} nearest ({self.queries} queries)"
        )


def build(rows: Rows) -> AnnReport:
    """Build the ANN index anew, and measure it against the exact search.

    Raises:
        InputError: There are too few rows to learn from.
    """
    total = len(rows)
    if total < _LEAST:
        raise InputError(
            f"there are {total:,} rows, and an ANN index needs {_LEAST:,}",
            fix="Leave it out: with so few rows an exact search takes milliseconds.",
        )
    start, parts = time.perf_counter(), round(total**0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that change in the next version of LanceDB
        rows.table.create_index(
            metric="dot",
            vector_column_name="vector",
            index_type="IVF_SQ",
            num_partitions=parts,
            replace=True,
        )
    seconds = time.perf_counter() - start
    probes = min(PROBES, parts)
    found, queries = recall(rows, probes)
    while found < _ENOUGH and 2 * probes <= parts:
        probes *= 2
        found, queries = recall(rows, probes)
    return AnnReport(total, seconds, found, queries, probes, parts)


def drop(rows: Rows) -> None:
    """Take the ANN index away."""
    for index in rows.table.list_indices():
        rows.table.drop_index(index.name)


def is_built(rows: Rows) -> bool:
    """Whether there is one."""
    return bool(rows.table.list_indices())


def recall(rows: Rows, probes: int, *, sample: int = _SAMPLE) -> tuple[float, int]:
    """Share of the ten nearest rows that a search with so many probes finds, and with how many queries."""
    queries = _some_vectors(rows, sample)
    shares = []
    for query in queries:
        exact = nearest_ids(rows, query, _TOP, exact=True)
        shares.append(len(exact & nearest_ids(rows, query, _TOP, exact=False, probes=probes)) / len(exact))
    return float(np.mean(shares)), len(queries)


def _some_vectors(rows: Rows, count: int) -> npt.NDArray[np.float32]:
    """`(n, dim)`, vectors near rows of the whole table: one that is a row finds itself in any case."""
    total = len(rows)
    places = np.unique(np.linspace(0, total - 1, min(count, total)).astype(int)).tolist()
    table = rows.table.take_offsets(places).select(["vector"]).to_arrow()
    vectors = np.array(table.column("vector").to_pylist(), dtype=np.float32)
    noise = np.random.default_rng(0).normal(size=vectors.shape).astype(np.float32)
    moved = vectors + 0.3 * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    unit: npt.NDArray[np.float32] = moved / np.linalg.norm(moved, axis=1, keepdims=True)
    return unit
