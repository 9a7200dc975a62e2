"""What a folder holds, as items to embed: found, counted or listed, never lost."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from PIL import Image

from vlm2vec.cli.files import collect, items_of, printable
from vlm2vec.errors import MediaError
from vlm2vec.world.samples import write_samples


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples")
    write_samples(folder)
    return folder


def test_every_sample_is_found_with_its_pages(samples: Path, tmp_path: Path) -> None:
    expected = [(sample.path.name, sample.page) for sample in write_samples(tmp_path)]
    found = collect(samples)
    assert sorted((item.name, item.page) for item in found.items if item.page is None) == sorted(
        pair for pair in expected if pair[1] is None
    )
    assert [(item.name, item.page) for item in found.items if item.page] == sorted(
        pair for pair in expected if pair[1]
    )
    assert {item.kind for item in found.items} == {"image", "video", "pdf"}
    assert not found.broken
    assert not found.unknown


def test_items_come_in_order_of_folders_and_names(tmp_path: Path) -> None:
    for name in ("b/2.png", "b/10.png", "a.png", "c.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (30, 30)).save(path)
    assert [item.name for item in collect(tmp_path).items] == ["a.png", "c.png", "b/10.png", "b/2.png"]


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    Image.new("RGB", (30, 30)).save(tmp_path / ".git" / "a.png")
    Image.new("RGB", (30, 30)).save(tmp_path / ".b.png")
    found = collect(tmp_path)
    assert (found.items, found.broken, dict(found.unknown)) == ([], {}, {})


def test_media_that_is_not_what_its_name_says_is_broken(tmp_path: Path) -> None:
    (tmp_path / "page.jpg").write_text("<!doctype html><html></html>")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "cut.pdf").write_bytes(b"%PDF-1.7 and then nothing")
    broken = collect(tmp_path).broken
    assert list(broken) == ["cut.pdf", "empty.png", "page.jpg"]
    assert "HTML" in broken["page.jpg"]
    assert "empty" in broken["empty.png"]


def test_a_file_with_a_true_kind_and_a_false_name_is_used(tmp_path: Path) -> None:
    Image.new("RGB", (30, 30)).save(tmp_path / "photo.dat", "PNG")
    assert [item.kind for item in collect(tmp_path).items] == ["image"]


def test_files_of_other_kinds_are_counted_by_suffix(tmp_path: Path) -> None:
    for name in ("a.csv", "b.CSV", "script.py", "Makefile", "empty.py"):
        (tmp_path / name).write_text("" if name == "empty.py" else "x, y\n")
    found = collect(tmp_path)
    assert found.unknown == {".csv": 2, ".py": 2, "no suffix": 1}
    assert not found.broken


def test_text_files_are_items(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("a red circle")
    (tmp_path / "README.md").write_text("# a blue square")
    assert [(item.name, item.label) for item in collect(tmp_path).items] == [
        ("README.md", "text"),
        ("note.txt", "text"),
    ]


def test_a_pdf_is_one_item_unless_its_pages_are_asked_for(samples: Path) -> None:
    report = next(samples.glob("*.pdf"))
    (whole,) = items_of(report, "report.pdf", pages=False)
    assert (whole.page, whole.content, whole.full_name) == (None, report, "report.pdf")
    pages = items_of(report, "report.pdf")
    assert [page.full_name for page in pages] == [f"report.pdf#page={n}" for n in (1, 2, 3)]


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="does not exist"):
        items_of(tmp_path / "none.png", "none.png")


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="their file systems refuse such names")
def test_a_file_name_that_is_not_text_can_be_printed(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.png")
    Image.new("RGB", (30, 30)).save(path, "PNG")
    (item,) = collect(tmp_path).items
    assert item.name.encode("utf-8").decode("utf-8") == "caf\ufffd.png"
    assert printable(Path("a", "b")) == "a/b"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_cannot_be_opened_is_broken(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    try:
        assert list(collect(tmp_path).broken) == ["closed"]
    finally:
        closed.chmod(0o700)
