"""One run of mining: rows by number in, the same rows with hard negatives out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vlm2vec.errors import InputError, VLM2VecError
from vlm2vec.training.data.row_inputs import identity
from vlm2vec.training.mining.block_search import nearest
from vlm2vec.training.mining.mining_report import MiningReport
from vlm2vec.training.mining.mining_vectors import Embedder
from vlm2vec.training.mining.negative_choice import NegativeChoice

if TYPE_CHECKING:
    from vlm2vec import VLM2Vec

__all__ = ["MiningRun"]

Vectors = npt.NDArray[np.float32]


class MiningRun:
    """One run of mining.

    Args:
        model: Embeds and ranks.
        choice: Which documents become negatives.
        embedder: How inputs are embedded, and what was skipped.
        rows: Checked rows, by number.
        source: Their name.
    """

    def __init__(
        self,
        model: VLM2Vec,
        choice: NegativeChoice,
        embedder: Embedder,
        rows: Mapping[int, dict[str, Any]],
        source: str,
    ) -> None:
        self.model, self.choice, self.embedder = model, choice, embedder
        self.rows, self.source = rows, source
        self.mined: dict[int, dict[str, Any]] = {}
        self._answers: dict[Hashable, set[Hashable]] = defaultdict(set)
        self._positives: list[float] = []
        self._negatives: list[float] = []
        self._documents = self._false_negatives = self._short = 0

    def run(self, corpus: list[Any] | None) -> None:
        """Fill `mined`.

        Raises:
            VLM2VecError: An input cannot be embedded, or no row can.
        """
        groups: dict[str | None, dict[int, Vectors]] = defaultdict(dict)
        vectors = self.embedder.embed(
            self.model.encode_query,
            [row["query"] for row in self.rows.values()],
            [f"{self.source}, row {number}, query" for number in self.rows],
            instruction=[row.get("query_instruction") for row in self.rows.values()],
            reason="rows whose query cannot be embedded",
        )
        for (number, row), vector in zip(self.rows.items(), vectors, strict=True):
            self._answers[_question(row)].add(identity(row["document"]))
            if not np.isnan(vector[0]):
                groups[row.get("document_instruction")][number] = vector
        for instruction, queries in groups.items():
            self._mine(queries, instruction, corpus)
        if not self.mined:
            raise InputError(
                "no row could be embedded", fix="The log has the first errors.", source=self.source
            )

    def report(self) -> MiningReport:
        """What came of it."""
        return MiningReport(
            rows=len(self.mined),
            documents=self._documents,
            mined=len(self._negatives),
            short_rows=self._short,
            false_negatives=self._false_negatives,
            positive_similarity=_mean(self._positives),
            negative_similarity=_mean(self._negatives),
            skipped=dict(self.embedder.skipped),
        )

    def _mine(
        self, queries: Mapping[int, Vectors], instruction: str | None, corpus: list[Any] | None
    ) -> None:
        """Mine for the rows of one document instruction, by number."""
        known: dict[Hashable, int] = {}
        inputs: list[Any] = []
        names: list[str] = []
        for position, document in enumerate(corpus or ()):
            _add(document, f"corpus, document {position}", known, inputs, names)
        from_corpus = len(inputs)
        for number in queries:
            name = f"{self.source}, row {number}, document"
            _add(self.rows[number]["document"], name, known, inputs, names)
        vectors = self.embedder.embed(
            self.model.encode_document,
            inputs,
            names,
            instruction=instruction,
            reason="documents that cannot be embedded",
        )
        good = ~np.isnan(vectors[:, 0])
        own = {number: known[identity(self.rows[number]["document"])] for number in queries}
        kept = [number for number in queries if good[own[number]]]
        self.embedder.count("rows whose document cannot be embedded", len(queries) - len(kept))
        if not kept:
            return
        candidates = np.flatnonzero(good if corpus is None else good[:from_corpus])
        self._documents += len(candidates)
        asked = np.stack([queries[number] for number in kept])
        positives = np.einsum("nd,nd->n", asked, vectors[[own[number] for number in kept]])
        columns = {int(place): column for column, place in enumerate(candidates)}

        def excluded(row: int) -> list[int]:
            places = (known.get(key) for key in self._not_negative(self.rows[kept[row]]))
            return [columns[place] for place in places if place in columns]

        found = nearest(
            asked,
            vectors[candidates],
            k=self.choice.depth,
            limits=self.choice.limits(positives),
            excluded=excluded,
            device=self.model.device,
            show_progress_bar=self.embedder.settings.get("show_progress_bar"),
        )
        self._positives += positives.tolist()
        self._false_negatives += int(found.above.sum())
        for place, number in enumerate(kept):
            taken = self.choice.chosen(found, place, number)
            self._negatives += found.scores[place, taken].tolist()
            self._short += len(taken) < self.choice.num_negatives
            row = self.rows[number]
            mined = [inputs[candidates[column]] for column in found.places[place, taken]]
            self.mined[number] = {**row, "negatives": [*(row.get("negatives") or ()), *mined]}

    def _not_negative(self, row: Mapping[str, Any]) -> set[Hashable]:
        """What is surely no new negative for a row."""
        given = (identity(negative) for negative in row.get("negatives") or ())
        return {identity(row["query"]), *self._answers[_question(row)], *given}


def _question(row: Mapping[str, Any]) -> Hashable:
    """What rows have in common that ask for the same."""
    return identity(row["query"]), row.get("query_instruction")


def _add(value: Any, name: str, known: dict[Hashable, int], inputs: list[Any], names: list[str]) -> None:
    """Append an input, unless it is known."""
    try:
        key = identity(value)
    except VLM2VecError:  # said where it is embedded
        key = ("object", id(value))
    if key not in known:
        known[key] = len(inputs)
        inputs.append(value)
        names.append(name)


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return float(np.mean(numbers)) if numbers else float("nan")
