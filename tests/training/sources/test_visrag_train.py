"""VisRAG's training data: prompts by source, to the letter and to the space."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import layout_making as making
import pytest

from vlm2vec.inputs import Image, parse_input
from vlm2vec.training.data.rows import check_rows
from vlm2vec.training.sources import get
from vlm2vec.training.sources.visrag import PROMPTS

EXPECTED = {
    "SlideVQA": (
        "This query is related to retrieving a relevant presentation slide that visually presents structured "
        "information. The retrieved slide should contain the necessary text, charts, or graphics to provide "
        "the best answer to the query:  How many? ",
        "A presentation slide with text, bullet points, and diagrams.  <|image_pad|>",
    ),
    "Textbooks": (
        "This query is related to a college-level textbook, which provides structured explanations, "
        "definitions, and examples. Find the most relevant concepts or explanations that address the query: "
        " How many? ",
        "A textbook page with structured educational content and explanations.  <|image_pad|>",
    ),
    "another": ("How many? ", " <|image_pad|>"),
}


def rows_of(root: Path, name: str) -> Any:
    return get(name).open(root, {"file": "data/train-*.parquet"}, None)


@pytest.mark.parametrize("name", ["visrag-in-domain", "visrag-synthetic"])
def test_the_source_chooses_the_prompts(tmp_path: Path, name: str) -> None:
    making.pages(tmp_path, {"query": ["How many?"] * 3, "source": list(EXPECTED)})
    rows = rows_of(tmp_path, name)
    prompts = [(row["query"]["prompt"], row["document"]["prompt"]) for row in rows]
    assert prompts == list(EXPECTED.values())
    assert set(rows[0]["query"]) == {"prompt"}
    item = parse_input(rows[0]["document"])
    assert [type(part) for part in item.parts] == [Image]
    assert not check_rows(rows).skipped


def test_a_page_without_a_query_is_a_bad_row(tmp_path: Path) -> None:
    making.pages(tmp_path, {"query": ["How many?", ""], "source": ["SlideVQA", "SlideVQA"]})
    report = check_rows(rows_of(tmp_path, "visrag-in-domain"), on_error="skip")
    assert report.skipped == {"without a query": 1}


def test_every_source_has_both_prompts_and_leaves_the_last_space_to_the_loader() -> None:
    assert len(PROMPTS) == 10
    for prompt in PROMPTS.values():
        assert prompt["query"].endswith("the query: ")
        assert prompt["document"].endswith(".")
