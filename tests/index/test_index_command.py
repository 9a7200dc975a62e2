"""`vlm2vec index`, and `vlm2vec search` over what it has made."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from small_files import write_picture

from vlm2vec.cli import main
from vlm2vec.world.samples import write_samples

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in an empty folder; gives exit code, output and error output."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return int(end.value.code or 0), printed.out, " ".join(printed.err.split())

    return run


def flat(text: str) -> str:
    """What a box says, on one line."""
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", text).split())


def test_a_folder_is_indexed_and_searched(run: Run, tmp_path: Path) -> None:
    write_samples(tmp_path / "files")
    code, printed, errors = run("index", "files")
    assert (code, errors) == (0, "")
    assert re.fullmatch(r"files/.vlm2vec: 12 new; 16 rows encoded in \d+\.\d s\n", printed)
    code, printed, _ = run("index", "files")
    assert printed.startswith("files/.vlm2vec: 12 unchanged; 0 rows encoded in ")
    code, printed, _ = run("search", "a large red ring moving down", "files", "--top", "2")
    assert code == 0
    assert re.search(r"1 +0\.88\d +clip-red-ring-moving-down\.mp4 +video 0:00-0:02", printed)
    code, printed, _ = run(
        "search", "a report", "files/.vlm2vec", "--json", "--where", "kind = 'pdf'", "--top", "2"
    )
    rows = json.loads(printed)["results"]
    assert [(row["kind"], row["page"] in (1, 2, 3)) for row in rows] == [("pdf", True)] * 2
    assert rows[0].keys() == {"rank", "score", "file", "page", "start", "end", "kind"}


def test_a_picture_a_clip_or_a_page_is_a_query(run: Run, tmp_path: Path) -> None:
    files = {sample.path.suffix: sample.path for sample in write_samples(tmp_path / "files")}
    run("index", "files")
    for suffix in (".png", ".mp4"):
        code, printed, _ = run("search", "--like", files[suffix], "files", "--json")
        assert (code, json.loads(printed)["results"][0]["file"]) == (0, files[suffix].name)
    code, printed, _ = run("search", "--like", files[".pdf"], "--page", "3", "files", "--json")
    found = json.loads(printed)
    assert (found["results"][0]["file"], found["results"][0]["page"]) == (files[".pdf"].name, 3)
    assert found["query"] == f"like {files['.pdf'].name}, page 3"
    code, printed, _ = run("search", "the same in red", "files", "--like", files[".png"], "--json")
    assert code == 0
    assert json.loads(printed)["query"] == f"the same in red (like {files['.png'].name})"


def test_a_folder_without_an_index_says_how_to_make_one(run: Run, tmp_path: Path) -> None:
    write_picture(tmp_path / "files" / "a.png")
    code, _, errors = run("search", "x", "files")
    assert code == 2
    assert "There is no index of files. Make one: vlm2vec index files, or add --once." in flat(errors)
    assert run("search", "x", "files", "--once")[0] == 0
    assert not (tmp_path / "files" / ".vlm2vec").exists()


def test_broken_files_are_listed_and_make_the_exit_code_3(run: Run, folder: Path) -> None:
    for expected in ("5 new", "5 unchanged"):
        code, printed, errors = run("index", folder)
        assert code == 3
        assert f"{expected}; 1 could not be read;" in printed
        assert "1 could not be read: broken.jpg: the content is not a known format." in errors
    assert run("search", "x", folder)[0] == 0


def test_the_store_can_be_elsewhere_and_is_enough(run: Run, folder: Path, tmp_path: Path) -> None:
    assert run("index", folder, "--store", "photos.index", "--exclude", "*.jpg")[0] == 0
    assert not (folder / ".vlm2vec").exists()
    write_picture(folder / "new.png", 8)
    code, printed, _ = run("index", "photos.index")
    assert (code, printed.split(";")[0]) == (0, "photos.index: 1 new, 4 unchanged")
    assert run("search", "a red circle", "photos.index")[0] == 0


def test_other_settings_are_refused_and_taken_by_reindex(run: Run, folder: Path) -> None:
    run("index", folder)
    code, _, errors = run("index", folder, "--dimensions", "64")
    assert code == 1
    assert "dimensions is 224 there, and 64 here. Use the index's own, reindex it with these" in errors
    assert run("index", folder, "--dimensions", "64", "--reindex")[0] == 3
    assert run("index", folder)[0] == 3
    assert run("search", "x", folder)[0] == 0


def test_the_gallery_shows_moments_pages_and_passages(run: Run, tmp_path: Path) -> None:
    write_samples(tmp_path / "files")
    (tmp_path / "files" / "words.md").write_text("a red circle in words", encoding="utf-8")
    run("index", "files")
    assert run("search", "a red circle", "files", "--top", "20", "--html", "found.html")[0] == 0
    page = (tmp_path / "found.html").read_text(encoding="utf-8")
    for said in ("video 0:00-0:02", "page 1", "a red circle in words", "files/words.md"):
        assert said in page


def test_a_limit_that_is_raised_lets_a_file_in(run: Run, tmp_path: Path) -> None:
    write_picture(tmp_path / "files" / "a.png", 0)
    code, _, errors = run("index", "files", "--max-image-pixels", "10")
    assert code == 3
    assert "raise --max-image-pixels" in errors
    code, printed, _ = run("index", "files", "--retry-failed")
    assert code == 0
    assert " 1 changed; 1 rows encoded" in printed


def test_a_query_has_the_limits_of_the_command(run: Run, tmp_path: Path) -> None:
    write_picture(tmp_path / "files" / "a.png", 0)
    run("index", "files")
    code, _, errors = run("search", "--like", "files/a.png", "files", "--max-image-pixels", "10")
    assert code == 1
    assert "raise --max-image-pixels" in errors
