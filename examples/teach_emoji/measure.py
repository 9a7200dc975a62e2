"""How well names find their drawings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import binomtest

from teach_emoji.drawings import HELD_OUT, TRAINED, Concept
from teach_emoji.rows import plain_rows
from vlm2vec import VLM2Vec
from vlm2vec.training import row_evaluator

__all__ = ["Scores", "asked_for", "cell", "scores", "scores_table"]

VENDORS = (*TRAINED, HELD_OUT)
Scores = dict[str, tuple[float, float]]


def asked_for(concepts: Sequence[Concept]) -> list[Concept]:
    """A thousand of them, the same in each run: scores are of these names among these drawings."""
    chosen = np.random.default_rng(0).permutation(len(concepts))[:1000]
    return [concepts[number] for number in chosen]


def scores(model: VLM2Vec, concepts: Sequence[Concept]) -> Scores:
    """Hit@1 and Hit@5 by vendor: how often a name's own drawing comes first, and among the first five."""
    found = {vendor: row_evaluator(plain_rows(concepts, vendor))(model) for vendor in VENDORS}
    return {vendor: (at["cosine_accuracy@1"], at["cosine_accuracy@5"]) for vendor, at in found.items()}


def scores_table(before: Scores, after: Scores, count: int) -> str:
    """Before and after in Markdown, per cent, with Wilson's 95 % intervals of `count` names."""
    lines = ["| drawn by | Hit@1 | Hit@5 |", "|---|---|---|"]
    for vendor in VENDORS:
        pairs = zip(before[vendor], after[vendor], strict=True)
        cells = " | ".join(f"{100 * old:.1f} → {cell(new, count)}" for old, new in pairs)
        lines.append(f"| {vendor}{', never seen' if vendor == HELD_OUT else ''} | {cells} |")
    return "\n".join(lines)


def cell(share: float, count: int) -> str:
    """A share of `count` in per cent, and its interval."""
    interval = binomtest(round(share * count), count).proportion_ci(method="wilson")
    return f"{100 * share:.1f} ({100 * interval.low:.1f} to {100 * interval.high:.1f})"
