"""Digests of rows tell another row, and stay the same where only the folder of the data is another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vlm2vec.training import Mixture, TrainingSource
from vlm2vec.training.row_sample import another_row, sample_of
from vlm2vec.training.sources.own_rows import _ToRow

START = "a page of a report, with a title and a date, in"
ROW: dict[str, Any] = {
    "query": "what does the second page say",
    "document": {"text": f"{START} two columns", "pdf": "reports/a.pdf", "pages": 2},
}


def sample(row: dict[str, Any], folder: str = "data") -> dict[str, dict[str, str]]:
    """Of one row, as the loader of JSON lines gives it."""
    return sample_of(Mixture([TrainingSource("own", [_ToRow(Path(folder))(row)])]))


def test_the_folder_of_the_data_may_be_another() -> None:
    assert another_row(sample(ROW), sample(ROW, "elsewhere")) is None


@pytest.mark.parametrize(
    "other",
    [{"pdf": "reports/b.pdf"}, {"pages": 3}, {"text": f"{START} three columns"}],
)
def test_another_file_page_or_end_of_a_text_is_another_row(other: dict[str, Any]) -> None:
    changed = {**ROW, "document": {**ROW["document"], **other}}
    assert another_row(sample(ROW), sample(changed)) == "own, row 0"
