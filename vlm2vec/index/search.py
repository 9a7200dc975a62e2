"""`Hit`, and the search for some in the rows of an index."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vlm2vec.errors import InputError
from vlm2vec.index.rows import COLUMNS, Rows, quoted
from vlm2vec.index.segments import clock

__all__ = [
    "EXACT_ROWS",
    "Hit",
    "PROBES",
    "below",
    "find",
    "find_row",
    "first_rows",
    "nearest_ids",
    "query_vector",
]

EXACT_ROWS = 100_000
"""With fewer rows a search compares with each; with more it may use an ANN index, where there is one."""

PROBES = 20
"""Parts of an ANN index that a search looks into at least; more where recall asks for it."""

_REFINED = 5  # times as many candidates as asked for are compared exactly


@dataclass(frozen=True)
class Hit:
    """A row that was found.

    Attributes:
        score: Cosine of its vector with the query's.
        id: Of the row.
        kind: "image", "video", "pdf" or "text"; "mixed" for an input of several.
        path: The file; `None` for what was added without one.
        name: The file below the folder that was indexed; else the id.
        page: Of a PDF, the first being 1.
        start: Of a moment in a video, in seconds.
        end: The same.
        text: Of a passage, or of a text that was added.
        metadata: What the caller said of it.
    """

    score: float
    id: str
    kind: str
    path: Path | None = None
    name: str = ""
    page: int | None = None
    start: float | None = None
    end: float | None = None
    text: str | None = field(default=None, repr=False)
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """What of the file it is: the page, the moment, or the kind.

        Example:
            >>> Hit(0.5, "a.mp4#t=10,20", "video", start=10.0, end=20.0).label
            'video 0:10-0:20'
        """
        if self.page is not None:
            return f"page {self.page}"
        if self.start is not None and self.end is not None:
            return f"{self.kind} {clock(self.start)}-{clock(self.end)}"
        return self.kind


def below(folder: str, root: int) -> str:
    """The condition for files below a folder.

    Args:
        folder: Below the root, with forward slashes; empty for the root itself.
        root: Number of the folder that was indexed.

    Example:
        >>> below("2024/may", 1)
        "root = 1 AND starts_with(path, '2024/may/')"
    """
    return f"root = {root} AND starts_with(path, {quoted(f'{folder}/')})" if folder else f"root = {root}"


def find(
    rows: Rows,
    query: npt.NDArray[np.float32],
    roots: Mapping[int, Path],
    *,
    k: int,
    where: str | None,
    per_file: int | None,
    exact: bool | None,
    probes: int = PROBES,
) -> list[Hit]:
    """The rows with the greatest cosines, best first; equal ones by path and place.

    Args:
        rows: Of the index.
        query: `(dim,)`, of unit length.
        roots: The folders that are indexed, by number.
        k: How many.
        where: Condition in SQL.
        per_file: How many of one file at most.
        exact: Whether each row is compared; `None` does so below `EXACT_ROWS`.
        probes: Parts of an ANN index that are looked into.

    Raises:
        InputError: The condition cannot be understood.
    """
    total = len(rows)
    if not total:
        return []
    exact = total < EXACT_ROWS if exact is None else exact
    wanted = min(total, k if per_file is None else 4 * k)
    while True:
        found = _nearest(rows, query, wanted, where, exact=exact, probes=probes)
        hits = [_hit(values, roots, rows.metadata_columns) for values in found]
        hits.sort(key=lambda hit: (-hit.score, str(hit.path or ""), hit.page or 0, hit.start or 0.0, hit.id))
        if per_file is not None:
            hits = _of_each_file(hits, per_file)
        if len(hits) >= k or len(found) < wanted or wanted >= total:
            return hits[:k]
        wanted = min(total, 4 * wanted)


def _nearest(
    rows: Rows, query: npt.NDArray[np.float32], k: int, where: str | None, *, exact: bool, probes: int
) -> list[dict[str, Any]]:
    names = [name for name in rows.schema.names if name not in ("vector", "file", "modified")]
    search = _search(rows, query, k, exact=exact, probes=probes).select([*names, "_distance"])
    if where:
        search = search.where(where, prefilter=True)
    try:
        found: list[dict[str, Any]] = search.to_arrow().to_pylist()
    except (RuntimeError, ValueError, OSError) as error:
        if not where:
            raise
        columns = ", ".join(
            name for name in (*COLUMNS, *rows.metadata_columns) if name not in ("vector", "file")
        )
        raise InputError(
            f"where is not understood ({_reason(error)})",
            fix=f"Write a condition in SQL, such as where=\"kind = 'pdf'\"; there are the columns {columns}.",
        ) from error
    return found


def query_vector(vector: npt.ArrayLike, dimensions: int) -> npt.NDArray[np.float32]:
    """A vector to search with, of unit length.

    Args:
        vector: `(dim,)`, of any length but 0.
        dimensions: Components that the index has.

    Raises:
        InputError: It has another number of components, or is no direction.

    Example:
        >>> query_vector([3, 4], 2).tolist()
        [0.6000000238418579, 0.800000011920929]
    """
    try:
        wanted = np.asarray(vector, dtype=np.float32)
    except (TypeError, ValueError):
        raise InputError("the vector is no array of numbers", fix="Pass what encode_query gives.") from None
    if wanted.shape != (dimensions,):
        raise InputError(
            f"the vector has the shape {wanted.shape}, and the index has {dimensions:,} components",
            fix="Pass what encode_query gives for one query, with the index's own model and dimensions.",
        )
    length = float(np.linalg.norm(wanted))
    if not (math.isfinite(length) and length > 0):
        raise InputError("the vector is zero, or not finite", fix="Pass what encode_query gives.")
    return wanted / np.float32(length)


def find_row(rows: Rows, name: str, roots: Mapping[int, Path]) -> Hit | None:
    """The row of an id, with a score of NaN; `None` where there is none."""
    if any(character == "\0" or "\ud800" <= character <= "\udfff" for character in name):
        return None  # which no id has, and no condition can say
    names = [column for column in rows.schema.names if column not in ("vector", "file", "modified")]
    found = rows.table.search().where(f"id = {quoted(name)}").select(names).limit(1).to_arrow().to_pylist()
    return _hit({**found[0], "_distance": math.nan}, roots, rows.metadata_columns) if found else None


def first_rows(rows: Rows, count: int, roots: Mapping[int, Path]) -> list[Hit]:
    """One row of each of the files that come first, with a score of NaN: of them, the first page or moment.

    Args:
        rows: The table.
        count: How many files at most; fewer where the first ones are texts of many passages.
        roots: The folders that are indexed.
    """
    names = [column for column in rows.schema.names if column not in ("vector", "file", "modified")]
    begins = "(page IS NULL OR page = 1) AND (start IS NULL OR start = 0)"
    found = (
        rows.table.search()
        .where(begins)
        .select(names)
        .limit(4 * min(len(rows), count))
        .to_arrow()
        .to_pylist()
    )
    hits = [_hit({**values, "_distance": math.nan}, roots, rows.metadata_columns) for values in found]
    return _of_each_file(hits, 1)[:count]


def nearest_ids(
    rows: Rows, query: npt.NDArray[np.float32], k: int, *, exact: bool, probes: int = PROBES
) -> set[str]:
    """Ids of the nearest rows."""
    found = _search(rows, query, k, exact=exact, probes=probes).select(["id", "_distance"]).to_arrow()
    return set(found.column("id").to_pylist())


def _search(rows: Rows, query: npt.NDArray[np.float32], k: int, *, exact: bool, probes: int) -> Any:
    search = rows.table.search(query, vector_column_name="vector").distance_type("dot").limit(k)
    return search.bypass_vector_index() if exact else search.nprobes(probes).refine_factor(_REFINED)


def _reason(error: BaseException) -> str:
    text = str(error).partition("\n")[0]
    return text.partition(", /")[0].removeprefix("lance error: ")[:200]


def _hit(values: Mapping[str, Any], roots: Mapping[int, Path], metadata: list[str]) -> Hit:
    path = values["path"]
    folder = roots.get(values["root"])
    return Hit(
        score=1.0 - values["_distance"],
        id=values["id"],
        kind=values["kind"],
        path=None if path is None else folder / path if folder is not None else Path(path),
        name=path or values["id"],
        page=values["page"],
        start=values["start"],
        end=values["end"],
        text=values["text"],
        metadata={name: values[name] for name in metadata if values[name] is not None},
    )


def _of_each_file(hits: list[Hit], most: int) -> list[Hit]:
    seen: dict[Any, int] = {}
    kept = []
    for hit in hits:
        name = hit.path or hit.id
        seen[name] = seen.get(name, 0) + 1
        if seen[name] <= most:
            kept.append(hit)
    return kept
