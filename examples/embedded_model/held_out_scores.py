"""Scores on draws of the world that no training has seen, through the public API."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from embedded_model.confidence import wilson_interval
from embedded_model.held_out_draws import candidates, write_files
from embedded_model.world_sources.rows import WorldRows
from embedded_model.world_sources.sources import TASKS
from vlm2vec.world.captions import full_caption
from vlm2vec.world.items import Item, Kind
from vlm2vec.world.scenes import Pairs, Scene, random_paper, random_thing
from vlm2vec.world.tasks.classification import INSTRUCTIONS
from vlm2vec.world.vocabulary import COLOURS, SHAPES

__all__ = ["HELD_OUT_SEEDS", "Pools", "Score", "held_out_scores", "scores_table"]

logger = logging.getLogger(__name__)

HELD_OUT_SEEDS = (1_000_001, 1_000_003, 1_000_005)
"""Seeds of held-out draws: odd, where those of training are even."""

_NAMES: tuple[tuple[Kind, str], ...] = (("scene", "image"), ("clip", "clip"), ("page", "page"))


@dataclass(frozen=True)
class Pools:
    """How many candidates, or rows, each draw has.

    Attributes:
        image: Pictures; a tenth of them are twins of others, which differ in one thing.
        clip: Clips; half of them are twins, which differ in the direction or order of motion.
        page: Pages; half of them are twins, which differ in one word, number or chart.
        unseen: Pictures of pairs of colour and shape that were never trained; a tenth are twins.
        instructed: Pictures that are asked for their colour and for their shape.
        rows: Rows of each other task.
    """

    image: int = 500
    clip: int = 200
    page: int = 200
    unseen: int = 200
    instructed: int = 200
    rows: int = 200


@dataclass(frozen=True)
class Score:
    """How often the right candidate came first.

    Attributes:
        hits: Queries whose first-ranked candidate is the right one.
        total: Queries.
        pool: Candidates of a query.
    """

    hits: int
    total: int
    pool: int

    @property
    def percent(self) -> float:
        """Hit@1."""
        return 100 * self.hits / self.total

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of `percent`."""
        low, high = wilson_interval(self.hits, self.total)
        return 100 * low, 100 * high


def held_out_scores(
    model: Any, *, seeds: Sequence[int] = HELD_OUT_SEEDS, pools: Pools | None = None
) -> dict[str, Score]:
    """Hit@1 on draws that no training has: retrieval both ways, unseen pairs, instructions, other tasks.

    In retrieval every query describes one candidate in full, and fits no other. Images are PNG files, clips
    are MP4 files, pages are those of a PDF; queries and documents have the model's own instructions. For an
    image with two instructions to count, both answers must come first among all colours and shapes.
    Questions have all answers of their task as candidates; parts of pictures, parts of clips and pages that
    answer a question are ranked against their hard negatives alone.

    Args:
        model: A `VLM2Vec`.
        seeds: One draw each; their queries are counted together.
        pools: Sizes of the draws.

    Returns:
        Scores by task.
    """
    pools = Pools() if pools is None else pools
    counted: dict[str, list[Score]] = {}
    for number, seed in enumerate(seeds, start=1):
        for name, score in _draw_scores(model, seed, pools):
            counted.setdefault(name, []).append(score)
            logger.info("draw %d of %d, %s: %.1f", number, len(seeds), name, score.percent)
    return {
        name: Score(sum(score.hits for score in scores), sum(score.total for score in scores), scores[0].pool)
        for name, scores in counted.items()
    }


def scores_table(scores: Mapping[str, Score]) -> str:
    """Scores as a Markdown table, with their confidence intervals.

    Example:
        >>> print(scores_table({"text to image": Score(95, 100, 500)}))
        | task | among | queries | Hit@1, percent | 95 % interval |
        |---|---|---|---|---|
        | text to image | 500 | 100 | 95.0 | 88.8 to 97.8 |
    """
    lines = ["| task | among | queries | Hit@1, percent | 95 % interval |", "|---|---|---|---|---|"]
    for name, score in scores.items():
        low, high = score.interval
        cells = (name, score.pool, score.total, f"{score.percent:.1f}", f"{low:.1f} to {high:.1f}")
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def _draw_scores(model: Any, seed: int, pools: Pools) -> Iterator[tuple[str, Score]]:
    queries, documents = [], []
    for number, (kind, name) in enumerate(_NAMES):
        count = getattr(pools, name)
        twins = count // 10 if kind == "scene" else count // 2
        items = candidates(kind, np.random.default_rng([seed, number]), count=count, twins=twins)
        vectors = yield from _both_ways(model, items, name)
        queries.append(vectors[0])
        documents.append(vectors[1])
    yield "text to all three", _hits(np.concatenate(queries), np.concatenate(documents))
    rng = np.random.default_rng([seed, len(_NAMES)])
    unseen = candidates("scene", rng, count=pools.unseen, twins=pools.unseen // 10, pairs="unseen")
    yield from _both_ways(model, unseen, "image of unseen pairs")
    all_pairs: tuple[Pairs, ...] = ("seen", "unseen")
    for number, pairs in enumerate(all_pairs):
        rng = np.random.default_rng([seed, len(_NAMES) + 1 + number])
        suffix = "" if pairs == "seen" else ", unseen pairs"
        yield f"one image, two instructions{suffix}", _instructed(model, rng, pools.instructed, pairs)
    for number, task in enumerate(TASKS):
        if "text" not in task.name:  # what is retrieved by its description is scored above
            rows = WorldRows(task.draw, (seed, 100 + number), pools.rows)
            yield task.name.replace("-", " "), _of_rows(model, [rows[index] for index in range(len(rows))])


def _both_ways(
    model: Any, items: Sequence[Item], name: str
) -> Generator[tuple[str, Score], None, tuple[np.ndarray, np.ndarray]]:
    """Scores of texts that look for items and of items that look for texts; the vectors of the former."""
    captions = [full_caption(item) for item in items]
    with TemporaryDirectory() as folder:
        files = write_files(items, Path(folder))
        queries, documents = model.encode_query(captions), model.encode_document(files)
        yield f"text to {name}", _hits(queries, documents)
        yield f"{name} to text", _hits(model.encode_query(files), model.encode_document(captions))
    return queries, documents


def _instructed(model: Any, rng: np.random.Generator, count: int, pairs: Pairs) -> Score:
    """Pictures of one thing, whose colour and shape are both named among all colours and shapes."""
    things = [random_thing(rng, pairs) for _ in range(count)]
    answers = [*COLOURS, *SHAPES]
    right = [[answers.index(getattr(thing, aspect)) for thing in things] for aspect in ("colour", "shape")]
    with TemporaryDirectory() as folder:
        files = write_files([Scene((thing,), random_paper(rng)) for thing in things], Path(folder))
        queries = [
            model.encode_query(files, instruction=INSTRUCTIONS[aspect][0]) for aspect in ("colour", "shape")
        ]
    documents = model.encode_document(answers)
    named = [
        (query @ documents.T).argmax(axis=1) == place for query, place in zip(queries, right, strict=True)
    ]
    return Score(int(np.logical_and(*named).sum()), count, len(answers))


def _of_rows(model: Any, rows: Sequence[Mapping[str, Any]]) -> Score:
    """Rows whose document comes first: a text among all texts, anything else among its hard negatives."""
    in_text = isinstance(rows[0]["document"], str)
    if not in_text:
        rows = [row for row in rows if row.get("negatives")]
    instructions = [row["query_instruction"] for row in rows]
    queries = model.encode_query([row["query"] for row in rows], instruction=instructions)
    if in_text:
        answers = sorted({row["document"] for row in rows})
        right = np.array([answers.index(row["document"]) for row in rows])
        best = (queries @ model.encode_document(answers).T).argmax(axis=1)
        return Score(int((best == right).sum()), len(rows), len(answers))
    choices = [[row["document"], *row["negatives"]] for row in rows]
    vectors = iter(model.encode_document([item for items in choices for item in items]))
    first = [
        int(np.argmax([query @ next(vectors) for _ in items])) == 0
        for query, items in zip(queries, choices, strict=True)
    ]
    return Score(sum(first), len(rows), max(map(len, choices)))


def _hits(queries: np.ndarray, documents: np.ndarray) -> Score:
    """Query i looks for document i."""
    best = (queries @ documents.T).argmax(axis=1)
    return Score(int((best == np.arange(len(queries))).sum()), len(queries), len(documents))
