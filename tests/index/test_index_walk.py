"""A folder is walked once, whatever its links, names and other things in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vlm2vec.index.walk import Patterns, walk


def files(folder: Path, *paths: str) -> Path:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(b"x")
    return folder


def test_hidden_files_and_indexes_are_left_out(tmp_path: Path) -> None:
    files(
        tmp_path,
        "a",
        "b/c",
        ".hidden",
        ".folder/d",
        "store/vlm2vec-index.json",
        "store/1/x",
        "new/writer.lock",
    )
    assert list(walk(tmp_path, Patterns(), store=tmp_path / "new").files) == ["a", "b/c"]


def test_sizes_and_times_are_those_of_the_files(tmp_path: Path) -> None:
    files(tmp_path, "a")
    os.utime(tmp_path / "a", ns=(5, 7))
    found = walk(tmp_path, Patterns()).files["a"]
    assert (found.path, found.size, found.modified) == ("a", 1, 7)


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_loops_of_links_end_and_each_folder_is_walked_once(tmp_path: Path) -> None:
    files(tmp_path, "a/b/file", "other/file")
    (tmp_path / "a" / "b" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "self").symlink_to("self")
    (tmp_path / "again").symlink_to(tmp_path / "a")
    (tmp_path / "link").symlink_to(tmp_path / "other" / "file")
    assert list(walk(tmp_path, Patterns()).files) == ["a/b/file", "link", "other/file"]
    found = walk(tmp_path, Patterns(follow_links=True))
    assert list(found.files) == ["a/b/file", "link", "other/file"]
    assert list(found.unreadable) == ["a/self"]


@pytest.mark.skipif(os.name == "nt", reason="such names and files are not there")
def test_broken_links_and_strange_names_are_told_and_pipes_are_not_opened(tmp_path: Path) -> None:
    files(tmp_path, "a")
    (tmp_path / "gone").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")).write_bytes(b"x")
    found = walk(tmp_path, Patterns())
    assert list(found.files) == ["a"]
    assert found.unreadable["gone"] == "No such file or directory."
    assert found.unreadable["caf\ufffd.png"] == "Its name is no UTF-8: rename it."
    assert found.hides("gone")
    assert not found.hides("a")


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        ((), (), ["a.png", "b/c.JPG", "b/d/e.png", "b/f.txt"]),
        (("*.png",), (), ["a.png", "b/d/e.png"]),
        (("*.jpg",), (), ["b/c.JPG"]),
        (("b",), (), ["b/c.JPG", "b/d/e.png", "b/f.txt"]),
        (("b/*.txt",), (), ["b/f.txt"]),
        ((), ("d",), ["a.png", "b/c.JPG", "b/f.txt"]),
        ((), ("b/d/",), ["a.png", "b/c.JPG", "b/f.txt"]),
        (("*.png",), ("a.*",), ["b/d/e.png"]),
    ],
)
def test_patterns_choose(
    tmp_path: Path, include: tuple[str, ...], exclude: tuple[str, ...], expected: list[str]
) -> None:
    files(tmp_path, "a.png", "b/c.JPG", "b/d/e.png", "b/f.txt")
    assert list(walk(tmp_path, Patterns(include, exclude)).files) == expected
