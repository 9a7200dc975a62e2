"""`MiningReport`: what came of mining hard negatives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["MiningReport"]


@dataclass(frozen=True)
class MiningReport:
    """What came of mining; `str()` of it is a summary.

    Attributes:
        rows: Rows that came back.
        documents: Distinct documents that were ranked.
        mined: Negatives that were added to them.
        short_rows: Rows that got fewer than asked for.
        false_negatives: Pairs of a row and a document too near its query to be called a negative.
        positive_similarity: Mean cosine of query and document.
        negative_similarity: Mean cosine of query and mined negative; NaN if there is none.
        skipped: Number of rows and documents left out, by reason.
    """

    rows: int
    documents: int
    mined: int
    short_rows: int
    false_negatives: int
    positive_similarity: float
    negative_similarity: float
    skipped: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [
            f"{self.mined:,} negatives for {self.rows:,} rows, from {self.documents:,} documents",
            f"mean similarity: {self.positive_similarity:.3f} to the document, "
            f"{self.negative_similarity:.3f} to the negatives",
            f"too near to be negatives: {self.false_negatives:,}",
        ]
        if self.short_rows:
            lines.append(f"rows with fewer negatives than asked for: {self.short_rows:,}")
        lines += [f"skipped: {count:,} {reason}" for reason, count in self.skipped.items()]
        return "\n".join(lines)
