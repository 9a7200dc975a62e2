"""Rows of your own in JSON lines: paths are relative to the data folder, texts stay texts."""

from __future__ import annotations

import json
from pathlib import Path

import layout_making as making
import pytest

from vlm2vec.errors import InputError
from vlm2vec.inputs.replace import sources_of, to_json
from vlm2vec.training.data.rows import check_rows
from vlm2vec.training.sources import get, names


def test_paths_stand_under_media_keys_and_nowhere_else(tmp_path: Path) -> None:
    making.picture(tmp_path / "cats" / "1.png")
    record = {
        "query": "cats/1.png",
        "query_instruction": "Find it.",
        "document": {"text": "cats/1.png", "image": "cats/1.png"},
        "negatives": [
            ["text", {"images": ["cats/1.png", str(tmp_path / "cats" / "1.png")]}],
            {"image": "data:image/png;base64,iVBORw0KGgo="},
        ],
    }
    (tmp_path / "rows.jsonl").write_text(json.dumps(record) + "\n", encoding="utf-8")
    rows = get("rows").open(tmp_path, {"file": "rows.jsonl"}, None)
    picture = str(tmp_path / "cats" / "1.png")
    (row,) = rows
    assert list(row) == list(record)
    assert (row["query"], row["query_instruction"]) == ("cats/1.png", "Find it.")
    assert [to_json(item, tmp_path / "cats") for item in (row["document"], *row["negatives"])] == [
        ["cats/1.png", {"image": "1.png"}],
        ["text", {"image": "1.png"}, {"image": "1.png"}],
        record["negatives"][1],
    ]
    assert str(next(sources_of(row["document"])).path) == picture
    assert not check_rows(rows).skipped


def test_a_loader_that_is_not_there_names_a_close_one() -> None:
    with pytest.raises(InputError, match=r'no loader "row". Did you mean "rows"'):
        get("row")
    assert names() == sorted(names())
