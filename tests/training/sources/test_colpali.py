"""The ColPali training set: Parquet files with pages, through to prompts."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import layout_making as making
import PIL.Image

from vlm2vec.inputs import Image, parse_input
from vlm2vec.training.data.rows import check_rows
from vlm2vec.training.sources import get

COLUMNS: dict[str, list[Any]] = {
    "query": ["What is the total?", "Which bar is tallest?", "Who signed?"],
    "answer": ["12 %", "B", None],
    "prompt": ["a long prompt that is not used"] * 3,
    "source": ["docvqa", "arxiv_qa", "pdf"],
    "page": ["1", "", "3"],
}


def rows_of(root: Path, limit: int | None = None) -> Any:
    return get("colpali-train").open(root, {"file": "data/train-*.parquet"}, limit)


def test_a_page_is_asked_for_its_answer(tmp_path: Path) -> None:
    making.pages(tmp_path, COLUMNS)
    rows = rows_of(tmp_path)
    row = rows[1]
    assert row["query"]["prompt"] == "<|image_pad|> Which bar is tallest?"
    assert row["document"] == {"prompt": "B"}
    (page,) = row["query"]["images"]
    assert isinstance(page, bytes)
    assert PIL.Image.open(io.BytesIO(page)).convert("RGB").getpixel((0, 0)) == (0, 128, 0)
    item = parse_input(row["query"])
    assert item.prompt == "<|image_pad|> Which bar is tallest?"
    assert [type(part) for part in item.parts] == [Image]


def test_shards_follow_one_another_in_order(tmp_path: Path) -> None:
    making.pages(tmp_path, COLUMNS, shards=3)
    assert [row["query"]["prompt"][14:] for row in rows_of(tmp_path)] == COLUMNS["query"]
    assert len(rows_of(tmp_path, limit=2)) == 2


def test_a_page_without_an_answer_is_a_bad_row(tmp_path: Path) -> None:
    making.pages(tmp_path, COLUMNS)
    report = check_rows(rows_of(tmp_path), on_error="skip")
    assert (list(report.kept), report.skipped) == ([0, 1], {"without a document": 1})
