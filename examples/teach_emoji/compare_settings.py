"""What settings do: the training of the tutorial, shorter, with one thing changed at a time.

PYTHONPATH=examples python -m teach_emoji.compare_settings --steps 600
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from teach_emoji.drawings import HELD_OUT, TRAINED, Concept, read_concepts
from teach_emoji.measure import asked_for, cell, scores
from teach_emoji.rows import VariedRows, drawn, plain_rows, vary
from teach_emoji.settings import SETTINGS
from vlm2vec import VLM2Vec
from vlm2vec.training import mine_hard_negatives


class RowsWithNegatives(VariedRows):
    """Rows as others, and in each the drawing that a model takes for the right one."""

    def __init__(self, concepts: Sequence[Concept], mistaken: dict[str, Concept]) -> None:
        super().__init__(concepts)
        self.mistaken = mistaken

    def __getitem__(self, number: int) -> dict[str, Any]:
        concept, vendor = self.pairs[number % len(self.pairs)]
        row = super().__getitem__(number)
        if concept.name in self.mistaken:
            other = drawn(self.mistaken[concept.name].drawings[vendor])
            row["negatives"] = [vary(other, np.random.default_rng((number, 1)))]
        return row


def with_negatives(model: VLM2Vec, concepts: Sequence[Concept]) -> RowsWithNegatives:
    """For each name the wrong drawing, of the first vendor's, that `model` finds nearest to it."""
    rows = plain_rows(concepts, TRAINED[0])
    of = {id(row["document"]): concept for row, concept in zip(rows, concepts, strict=True)}
    mined, _ = mine_hard_negatives(model, rows, num_negatives=1, relative_margin=None)
    mistaken = {row["query"]: of[id(row["negatives"][0])] for row in mined if row.get("negatives")}
    return RowsWithNegatives(concepts, mistaken)


def by_kind(concepts: Sequence[Concept]) -> dict[str, VariedRows]:
    """A source for each category, so that a sub-batch holds faces alone, or food."""
    kinds = sorted({concept.kind for concept in concepts})
    return {kind: VariedRows([concept for concept in concepts if concept.kind == kind]) for kind in kinds}


def line(name: str, model: VLM2Vec, asked: Sequence[Concept], rows: Any, settings: dict[str, Any]) -> str:
    """A line of the table: what a training came to."""
    started = time.process_time()
    model.fit(rows, **settings)
    minutes = (time.process_time() - started) / 60
    found = scores(model, asked)
    trained = sum(found[vendor][0] for vendor in TRAINED) / len(TRAINED)
    unseen = (cell(share, len(asked)) for share in found[HELD_OUT])
    return f"| {name} | {minutes:.1f} | {100 * trained:.1f} | {' | '.join(unseen)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packages", type=Path, default=Path("emoji-packages"), help="of drawings")
    parser.add_argument("--steps", type=int, default=600)
    options = parser.parse_args()
    concepts, steps, batch = read_concepts(options.packages), options.steps, SETTINGS["batch_size"]
    asked, rows, settings = asked_for(concepts), VariedRows(concepts), {**SETTINGS, "max_steps": steps}

    print("| training | minutes of a core | Hit@1, trained vendors | Hit@1, unseen | Hit@5, unseen |")
    print("|---|---:|---:|---:|---:|")
    first = VLM2Vec()
    print(line(f"{steps} steps of {batch} rows", first, asked, rows, settings), flush=True)
    larger = {"max_steps": max(1, steps // 4), "batch_size": 4 * batch}
    changes: dict[str, tuple[Any, dict[str, Any]]] = {
        "twice the steps": (rows, {"max_steps": 2 * steps}),
        "batches four times as large, a quarter of the steps": (rows, larger),
        "sub-batches of one kind": (by_kind(concepts), {"sub_batch_size": batch // 4}),
        "vision tower frozen": (rows, {"freeze_vision": True}),
        "a hard negative in each row": (with_negatives(first, concepts), {}),
    }
    for name, (changed_rows, changed) in changes.items():
        print(line(name, VLM2Vec(), asked, changed_rows, {**settings, **changed}), flush=True)


if __name__ == "__main__":
    main()
