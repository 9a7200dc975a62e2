"""JSON as others wrote it, from one place."""

from __future__ import annotations

from pathlib import Path

import pytest

from vlm2vec.json_file import parse_json, read_json


@pytest.mark.parametrize("text", ["", "[" * 100_000, '{"a": ' * 100_000, "[1", "nan"])
def test_whatever_is_wrong_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)


def test_bytes_that_are_not_utf_8_are_a_value_error(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'"\xff"')
    with pytest.raises(ValueError, match="utf-8"):
        read_json(tmp_path / "a.json")
