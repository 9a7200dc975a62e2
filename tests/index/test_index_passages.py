"""A text is cut into passages that fit, at the best places, and nothing of it is lost."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm2vec import Index, VLM2Vec
from vlm2vec.errors import InputError
from vlm2vec.index.passages import paragraphs, passages


def words(text: str) -> int:
    return len(text.split())


def test_paragraphs_are_parted_by_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffone\nstill one\n \n\n two\r\n\r\nthree".encode())
    assert list(paragraphs(path)) == ["one\nstill one", " two", "three"]


def test_a_text_of_nothing_is_an_error(tmp_path: Path) -> None:
    for content in ("", "\n \n"):
        (tmp_path / "a.txt").write_text(content, encoding="utf-8")
        with pytest.raises(InputError, match="the text file is empty"):
            list(paragraphs(tmp_path / "a.txt"))


def test_a_line_without_end_is_read_in_pieces(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("word " * 100_000, encoding="utf-8")
    pieces = list(paragraphs(tmp_path / "a.txt"))
    assert max(map(len, pieces)) <= 2**17
    assert sum(map(words, pieces)) == pytest.approx(100_000, abs=len(pieces))


def test_whole_sentences_stay_whole_where_they_fit() -> None:
    text = "One two three. Four five! Six, seven eight nine ten. Eleven."
    assert list(passages([text], words, 5)) == [
        "One two three. Four five!",
        "Six, seven eight nine ten.",
        "Eleven.",
    ]
    assert list(passages([text], words, 2))[:3] == ["One two", "three.", "Four five!"]


@given(st.lists(st.text("ab .,\n", min_size=1, max_size=60), max_size=8), st.integers(1, 9))
def test_no_passage_is_too_long_and_no_letter_is_lost(texts: list[str], most: int) -> None:
    def letters(text: str) -> str:
        return re.sub(r"\s", "", text)

    def count(text: str) -> int:
        return len(letters(text))

    found = list(passages(texts, count, most))
    assert all(count(passage) <= most for passage in found)
    assert letters("".join(found)) == letters("".join(texts))


def test_passages_of_a_file_are_rows_that_fit(model: VLM2Vec, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    text = "\n\n".join(f"Paragraph {n} is about a red ring. " * 3 for n in range(20)) + " word" * 300
    (tmp_path / "files" / "a.md").write_text(text, encoding="utf-8")
    index = Index(tmp_path / "store", model, passage_tokens=60)
    assert index.sync(tmp_path / "files", show_progress_bar=False).failures == []
    rows = sorted(index.to_arrow().to_pylist(), key=lambda row: row["part"])
    assert len(rows) > 10
    joined = " ".join(row["text"] for row in rows)
    assert joined.split() == text.split()
    tokenizer = model[0].tokenizer
    assert max(len(tokenizer(row["text"])["input_ids"]) for row in rows) <= 60
    assert index.search("paragraph 7", k=1)[0].label == "text"


def test_a_text_longer_than_the_context_is_cut_and_not_refused(model: VLM2Vec, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.txt").write_text("word " * 20_000, encoding="utf-8")
    index = Index(tmp_path / "store", model, passage_tokens=10**6)
    report = index.sync(tmp_path / "files", show_progress_bar=False)
    assert report.failures == []
    assert 1 < len(index) < 40
