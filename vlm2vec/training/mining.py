"""Hard negatives: for each row, the documents that the model takes for its own and that are not."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers.util import dot_score, semantic_search
from tqdm import tqdm

from vlm2vec.arguments import is_number, one_of, whole_number
from vlm2vec.describe import describe_value, literal
from vlm2vec.errors import InputError, VLM2VecError
from vlm2vec.inputs.parse import is_single
from vlm2vec.training.data.mixture import Mixture
from vlm2vec.training.data.row_inputs import identity
from vlm2vec.training.data.rows import check_rows
from vlm2vec.training.protocol import EmbeddingModel
from vlm2vec.training.sources.data_frames import records_of
from vlm2vec.training.sources.lazy_rows import Records

__all__ = ["MinedRows", "MiningReport", "mine_hard_negatives"]

logger = logging.getLogger(__name__)

_SEARCHED = 10  # ranks for each negative that is asked for, as in sentence-transformers' mine_hard_negatives
_BLOCK = 1024  # queries whose hits are in memory, as Python objects

Vector: TypeAlias = npt.NDArray[np.float32]  # (dim,)
Ranked: TypeAlias = list[tuple[Any, float]]  # documents and their cosines, the greatest first
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class MiningReport:
    """What came of mining; `str()` of it is a summary.

    Attributes:
        rows: Rows that came back.
        documents: Distinct documents that were ranked.
        mined: Negatives that were added to them.
        short_rows: Rows that got fewer than asked for.
        false_negatives: Pairs of a row and a document, of those searched, too near its query to be called a
            negative.
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


class MinedRows(NamedTuple):
    """Rows with hard negatives, and what came of mining."""

    rows: list[dict[str, Any]]
    report: MiningReport


def mine_hard_negatives(
    model: EmbeddingModel,
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

    It is sentence-transformers' `mine_hard_negatives` for rows of anything that `encode` takes. A document is
    no candidate for a row if it equals the row's query, its document, one of its negatives, or the document
    of another row with the same query and query instruction. Files are equal by path, what is in memory by
    its content, and a picture that is still to be decoded by its file: other copies of the row's document are
    left to the margins.

    Mined negatives follow those that a row has. A document is embedded with the instruction it will have as a
    negative of the row, so without a corpus the candidates of a row are documents of rows that have the same
    document instruction; a corpus is embedded once for each of those instructions. `write_rows` makes a file
    of the rows.

    Args:
        model: The model that ranks.
        rows: Training rows, all kept in memory. Mine the sources of a mixture one by one.
        corpus: Where negatives come from: anything that `encode` takes, or a column of pandas or pyarrow,
            held in memory as it is given; by default the rows' documents.
        num_negatives: How many to add to each row.
        absolute_margin: A negative's cosine to the query is at most that of the document minus this.
        relative_margin: It is at most that of the document minus this part of it: 0.05 asks for at most 95 %.
            `None` for both margins takes whatever is nearest.
        range_min: How many of the nearest candidates to pass over, those within a margin included.
        range_max: The rank at which to stop, counted in the same way; by default
            `range_min + 10 * num_negatives`. Higher, it finds more where many are within a margin.
        sampling_strategy: "top" takes the nearest that are left, "random" draws from all that are.
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
    choice = _Choice(
        num_negatives, absolute_margin, relative_margin, range_min, range_max, sampling_strategy, seed
    )
    if isinstance(rows, Mixture):
        raise InputError(
            "rows is a Mixture", fix="Mine one of its sources at a time, as in mixture.sources[0]."
        )
    documents: Any = None if corpus is None else records_of(corpus)
    if documents is not None and is_single(documents):
        raise InputError(f"the corpus is {describe_value(corpus)}", fix="Pass a list of documents.")
    rows = records_of(rows)
    checked = check_rows(
        rows,
        source=source,
        on_error=on_error,
        show_progress_bar=show_progress_bar is not False,
        **model[0].allowed,
    )
    settings = {
        "batch_size": batch_size,
        "max_tokens_per_batch": max_tokens_per_batch,
        "truncate": truncate,
        "show_progress_bar": show_progress_bar,
    }
    skipped = Counter({f"rows {reason}": count for reason, count in checked.skipped.items()})
    kept = {number: dict(rows[number]) for number in checked.kept}
    miner = _Miner(model, choice, kept, source, on_error, settings, skipped)
    found = {result.row: result for result in miner.mine(None if documents is None else list(documents))}
    if not found:
        raise InputError("no row could be embedded", fix="The log has the first errors.", source=source)
    cosines = [cosine for result in found.values() for _, cosine in result.negatives]
    report = MiningReport(
        rows=len(found),
        documents=miner.documents,
        mined=len(cosines),
        short_rows=sum(len(result.negatives) < num_negatives for result in found.values()),
        false_negatives=sum(result.too_near for result in found.values()),
        positive_similarity=float(np.mean([result.positive for result in found.values()])),
        negative_similarity=float(np.mean(cosines)) if cosines else float("nan"),
        skipped=dict(skipped),
    )
    logger.info("%s: %s", source, report)
    mined = []
    for number in sorted(found):
        added = [document for document, _ in found[number].negatives]
        mined.append({**kept[number], "negatives": [*(kept[number].get("negatives") or ()), *added]})
    return MinedRows(mined, report)


@dataclass(frozen=True)
class _Choice:
    """Which of the ranked documents become negatives; `mine_hard_negatives` says what the settings mean."""

    num_negatives: int
    absolute_margin: float | None
    relative_margin: float | None
    range_min: int
    range_max: int | None
    sampling_strategy: Literal["top", "random"]
    seed: int

    def __post_init__(self) -> None:
        for name, minimum in (("num_negatives", 1), ("range_min", 0), ("range_max", 1), ("seed", 0)):
            if getattr(self, name) is not None:
                whole_number(name, getattr(self, name), minimum=minimum)
        if self.range_max is not None and self.range_max <= self.range_min:
            raise InputError(
                f"range_max, {self.range_max}, is not above range_min, {self.range_min}",
                fix="Raise range_max.",
            )
        for name in ("absolute_margin", "relative_margin"):
            value = getattr(self, name)
            if value is not None and not (is_number(value) and 0 <= value <= 1):
                raise InputError(f"{name} is {literal(value)}", fix="Pass a number from 0 to 1, or None.")
        one_of("sampling_strategy", self.sampling_strategy, ("top", "random"))

    @property
    def searched(self) -> int:
        """How many ranks are searched; beyond `range_max` only to count what lies within a margin."""
        return max(self.range_max or 0, self.range_min + _SEARCHED * self.num_negatives)

    def limit(self, positive: float) -> float:
        """Greatest cosine of a negative, from that of the document.

        These are TopK-MarginPos and TopK-PercPos of NV-Retriever (arXiv:2407.15831).
        """
        limits = [float("inf")]
        if self.absolute_margin is not None:
            limits.append(positive - self.absolute_margin)
        if self.relative_margin is not None:
            limits.append(positive - self.relative_margin * abs(positive))
        return min(limits)

    def chosen(self, ranked: Ranked, limit: float, row: int) -> Ranked:
        """The negatives of the row at a number, among its candidates."""
        left = [candidate for candidate in ranked[self.range_min : self.range_max] if candidate[1] <= limit]
        if self.sampling_strategy == "random" and len(left) > self.num_negatives:
            rng = np.random.default_rng([self.seed, row])  # of the row alone, whatever the other rows are
            drawn = np.sort(rng.choice(len(left), self.num_negatives, replace=False))
            return [left[rank] for rank in drawn]
        return left[: self.num_negatives]


class _Found(NamedTuple):
    row: int
    positive: float  # cosine of query and document
    negatives: Ranked
    too_near: int  # candidates above the limit, of those that were searched


@dataclass
class _Miner:
    model: EmbeddingModel
    choice: _Choice
    rows: Mapping[int, Mapping[str, Any]]  # by number
    source: str
    on_error: Literal["raise", "skip"]
    settings: Mapping[str, Any]  # of `encode`
    skipped: Counter[str]
    documents: int = 0  # that were ranked

    def mine(self, corpus: list[Any] | None) -> Iterator[_Found]:
        """What is found for each row that can be embedded."""
        queries = self._embedded(
            self.model.encode_query,
            {
                number: (row["query"], f"{self.source}, row {number}, query")
                for number, row in self.rows.items()
            },
            instruction=[row.get("query_instruction") for row in self.rows.values()],
            reason="rows whose query cannot be embedded",
        )
        answers: dict[Hashable, set[Hashable]] = defaultdict(set)
        for row in self.rows.values():
            answers[_question(row)].add(_identity(row["document"]))
        by_instruction: dict[str | None, dict[int, Vector]] = defaultdict(dict)
        for number, query in queries.items():
            by_instruction[self.rows[number].get("document_instruction")][number] = query
        for instruction, asked in by_instruction.items():
            yield from self._mine(asked, instruction, corpus, answers)

    def _mine(
        self,
        queries: Mapping[int, Vector],
        instruction: str | None,
        corpus: list[Any] | None,
        answers: Mapping[Hashable, set[Hashable]],
    ) -> Iterator[_Found]:
        """The same for the rows of one document instruction."""
        named = [(document, f"corpus, document {index}") for index, document in enumerate(corpus or ())]
        named += [
            (self.rows[number]["document"], f"{self.source}, row {number}, document") for number in queries
        ]
        inputs: dict[Hashable, tuple[Any, str]] = {}
        for value, name in named:
            inputs.setdefault(_identity(value), (value, name))
        vectors = self._embedded(
            self.model.encode_document,
            inputs,
            instruction=instruction,
            reason="documents that cannot be embedded",
        )
        own = {number: _identity(self.rows[number]["document"]) for number in queries}
        kept = [number for number in queries if own[number] in vectors]
        self._count("rows whose document cannot be embedded", len(queries) - len(kept))
        if not kept:
            return
        if corpus is not None:
            allowed = {_identity(document) for document in corpus}
            candidates = {key: vector for key, vector in vectors.items() if key in allowed}
        else:
            candidates = vectors
        self.documents += len(candidates)
        excluded = [_not_negative(self.rows[number], answers) for number in kept]
        ranked = self._ranked([queries[number] for number in kept], candidates, excluded)
        for number, keys in zip(kept, ranked, strict=True):
            positive = float(queries[number] @ vectors[own[number]])
            limit = self.choice.limit(positive)
            documents = [(inputs[key][0], cosine) for key, cosine in keys]
            too_near = sum(cosine > limit for _, cosine in keys)
            yield _Found(number, positive, self.choice.chosen(documents, limit, number), too_near)

    def _ranked(
        self,
        queries: Sequence[Vector],
        documents: Mapping[Hashable, Vector],
        excluded: Sequence[set[Hashable]],
    ) -> Iterator[Ranked]:
        """Of each query, the keys of the nearest documents but those that are excluded."""
        if not documents:
            yield from ([] for _ in queries)
            return
        keys, device = list(documents), self.model.device
        corpus = torch.from_numpy(np.stack(list(documents.values()))).to(device)
        enough = self.choice.searched + max(map(len, excluded))  # whatever is excluded
        show = self.settings["show_progress_bar"]
        disable = None if show is None else not show
        for start in tqdm(range(0, len(queries), _BLOCK), desc="Ranking", disable=disable, delay=2):
            block = torch.from_numpy(np.stack(queries[start : start + _BLOCK])).to(device)
            found = semantic_search(block, corpus, top_k=enough, score_function=dot_score)
            for hits, left_out in zip(found, excluded[start : start + _BLOCK], strict=True):
                ranked = [(keys[hit["corpus_id"]], hit["score"]) for hit in hits]
                yield [pair for pair in ranked if pair[0] not in left_out][: self.choice.searched]

    def _embedded(
        self,
        encode: Callable[..., Any],
        inputs: Mapping[Key, tuple[Any, str]],
        *,
        instruction: Any,
        reason: str,
    ) -> dict[Key, Vector]:
        """Unit vectors of inputs, each of which has a name; one that is skipped is counted under a reason."""
        failed: list[VLM2VecError] = []
        names = [name for _, name in inputs.values()]

        def note(_: int | None, error: VLM2VecError) -> None:
            failed.append(_named(error, names))

        try:
            vectors = encode(
                [value for value, _ in inputs.values()],
                instruction=instruction,
                on_error="raise" if self.on_error == "raise" else note,
                normalize_embeddings=True,
                **self.settings,
            )
        except VLM2VecError as error:
            raise _named(error, names) from error
        if failed:
            self._count(reason, len(failed))
            logger.warning("skipped %s %s; the first is %s", f"{len(failed):,}", reason, failed[0])
        return {key: vector for key, vector in zip(inputs, vectors, strict=True) if not np.isnan(vector[0])}

    def _count(self, reason: str, number: int) -> None:
        if number:
            self.skipped[reason] += number


def _not_negative(row: Mapping[str, Any], answers: Mapping[Hashable, set[Hashable]]) -> set[Hashable]:
    """What is surely no new negative for a row."""
    own = [row["query"], *(row.get("negatives") or ())]
    return answers[_question(row)] | {_identity(value) for value in own}


def _question(row: Mapping[str, Any]) -> Hashable:
    """What rows have in common that ask for the same."""
    return _identity(row["query"]), row.get("query_instruction")


def _identity(value: Any) -> Hashable:
    try:
        return identity(value)
    except VLM2VecError:  # said where it is embedded
        return "object", id(value)


def _named(error: VLM2VecError, names: Sequence[str]) -> VLM2VecError:
    return error if error.index is None else error.under(names[error.index])
