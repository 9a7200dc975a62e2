"""`vlm2vec encode` into a folder: jobs that go on."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vlm2vec import VLM2Vec, read_vectors
from vlm2vec.cli import encode as encode_command
from vlm2vec.cli import main
from vlm2vec.world.samples import write_samples

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, embedded: VLM2Vec
) -> Run:
    """Runs `vlm2vec encode` in a folder with files of each kind; gives exit code, output and error output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(encode_command, "load", lambda *_, **__: embedded)
    write_samples(tmp_path / "samples")
    for suffix in ("png", "mp4", "pdf"):
        next((tmp_path / "samples").glob(f"*.{suffix}")).rename(f"a.{suffix}")
    Path("note.txt").write_text("a red circle")

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main(["encode", *arguments])
        printed = capsys.readouterr()
        return int(end.value.code or 0), printed.out, printed.err

    return run


def flat(text: str) -> str:
    return re.sub(r"[\s│╭╮╰╯─]+", " ", text)


FILES = ("a.png", "a.mp4", "a.pdf", "note.txt")


def test_a_slash_makes_a_folder_that_goes_on(run: Run, embedded: VLM2Vec) -> None:
    code, printed, _ = run(*FILES[:2], "--output", "vectors/")
    assert code == 0
    assert re.fullmatch(r"2 rows in vectors: 2 encoded in .* s\n", printed)
    code, printed, _ = run(*FILES, "--output", "vectors")
    assert code == 0
    assert re.fullmatch(r"4 rows in vectors: 2 encoded in .* s; 2 were there\n", printed)
    vectors, rows = read_vectors("vectors")
    np.testing.assert_allclose(vectors, embedded.encode_document([Path(name) for name in FILES]), atol=5e-7)
    assert [row.id for row in rows] == list(FILES)


def test_pages_are_rows(run: Run) -> None:
    assert run("a.pdf", "note.txt", "-o", "v/", "--pages")[0] == 0
    assert [(row.id, row.page) for row in read_vectors("v")[1]] == [
        *((f"a.pdf#page={page}", page) for page in (1, 2, 3)),
        ("note.txt", None),
    ]


@pytest.mark.parametrize("source", ["list.txt", "-"])
def test_files_may_be_named_in_a_list(run: Run, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("list.txt").write_text("a.png\n\nnote.txt\n")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a.png\nnote.txt\n")))
    assert run("--files-from", source, "-o", "v/")[0] == 0
    assert [row.id for row in read_vectors("v")[1]] == ["a.png", "note.txt"]


def test_broken_files_are_rows_of_nan_and_tried_again_if_asked(run: Run) -> None:
    whole = Path("a.png").read_bytes()
    Path("cut.png").write_bytes(whole[:700])
    files = ("a.png", "cut.png", "missing.png")
    code, printed, errors = run(*files, "-o", "v/")
    assert code == 3
    assert "; 2 have no vector" in printed
    assert "2 could not be read:" in errors
    assert "missing.png: the file does not exist" in flat(errors)
    Path("cut.png").write_bytes(whole)
    again = flat(run(*files, "-o", "v/")[1])
    assert "0 encoded" in again
    assert "2 have no vector, 2 since an earlier run: --retry-failed tries them again" in again
    printed = run(*files, "-o", "v/", "--retry-failed")[1]
    assert "1 has no vector" in printed
    assert "earlier" not in printed
    lines = [json.loads(line) for line in Path("v/shard-000000.jsonl").read_text().splitlines()]
    assert [line["error_type"] for line in lines] == [None, None, "MediaError"]


def test_many_broken_files_are_not_all_listed(run: Run) -> None:
    code, _, errors = run(*(f"{index}.png" for index in range(30)), "-o", "v/")
    assert code == 1
    assert "30 could not be read:" in errors
    assert errors.count("does not exist") == 20
    assert "and more: lines with an error in v/*.jsonl" in errors


def test_a_broken_file_ends_the_job_if_asked(run: Run) -> None:
    code, _, errors = run("a.png", "missing.png", "-o", "v/", "--on-error", "raise")
    assert code == 1
    assert errors.splitlines()[-1].startswith("error: missing.png: the file does not exist")


def test_parts_and_the_size_of_shards(run: Run) -> None:
    for part in ("2/2", "1/2"):
        code, printed, _ = run(*FILES, "-o", "v/", "--part", part, "--rows-per-shard", "1")
        assert (code, printed[:11]) == (0, "2 rows in v")
    assert len(list(Path("v").glob("shard-*.npy"))) == 4
    assert [row.id for row in read_vectors("v")[1]] == list(FILES)


def test_another_instruction_or_file_is_refused_by_name(run: Run) -> None:
    run(*FILES, "-o", "v/")
    code, _, errors = run(*FILES, "-o", "v/", "--instruction", "Say it.")
    assert code == 1
    assert "instruction is 'Represent the content.' there, and 'Say it.' here" in flat(errors)
    code, _, errors = run("a.png", "note.txt", "-o", "v/")
    assert code == 1
    assert "error: input 1 (v): it is called 'a.mp4' there, and 'note.txt' here" in flat(errors)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Name files"),
        (("a.png", "--force", "-o", "v/"), "It replaces a file."),
        (("a.png", "--retry-failed", "-o", "v.npz"), "It is for a folder, as in --output v.npz/"),
        (("a.png", "--part", "1/2", "-o", "v.npz"), "It is for a folder"),
        (("a.png", "--part", "3/2", "-o", "v/"), "3/2 is no part."),
        (("a.png", "--part", "half", "-o", "v/"), "half is no part."),
        (("samples", "-o", "v/"), "a folder is one clip"),
        (("a.png", "-o", "note.txt/"), "is no folder"),
    ],
    ids=str,
)
def test_wrong_usage(run: Run, arguments: tuple[str, ...], said: str) -> None:
    code, _, errors = run(*(arguments or ("-o", "v/")))
    assert code == 2
    assert said in flat(errors)
    assert not Path("v").exists()


def test_lines_tell_how_far_it_is_where_there_is_no_terminal(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vlm2vec.jobs.progress._SECONDS_BETWEEN_LINES", 0.0)
    errors = run(*FILES, "-o", "v/")[2]
    assert re.search(r"\d\d:\d\d:\d\d 1 of 4 rows, .* rows a second, .* remain", errors)
