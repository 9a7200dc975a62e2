"""The command line: what it prints, what it writes, and its exit codes."""

from __future__ import annotations

import io
import itertools
import json
import os
import re
import shlex
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from vlm2vec import VLM2Vec, __version__
from vlm2vec.cli import main, report
from vlm2vec.cli.files import Item
from vlm2vec.cli.ranking import Ranked
from vlm2vec.world.samples import write_samples

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in an empty folder; gives exit code, output and error output."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return int(end.value.code or 0), printed.out, printed.err

    return run


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples")
    write_samples(folder)
    return folder


@pytest.fixture
def some(tmp_path: Path, samples: Path) -> Path:
    """A folder with one file of each kind."""
    folder = tmp_path / "some"
    folder.mkdir()
    for suffix in ("png", "mp4", "pdf"):
        source = next(samples.glob(f"*.{suffix}"))
        (folder / f"a.{suffix}").write_bytes(source.read_bytes())
    (folder / "note.txt").write_text("a red circle")
    return folder


def cut_short(clip: Path, broken: Path) -> None:
    """The clip as Matroska, whose last quarter is lost."""
    with av.open(str(clip)) as source, av.open(str(broken), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size * 3 // 4])


def flat(text: str) -> str:
    """Printed text without the frames and line breaks of its panels."""
    return re.sub(r"[\s│╭╮╰╯─]+", " ", text)


def lines_without_scores(text: str) -> set[str]:
    """Lines of words, with single spaces; the last decimals of a score are the machine's."""
    lines = {re.sub(r"\b0\.\d{3}\b", "0.", " ".join(line.split())) for line in text.splitlines()}
    return {line for line in lines if re.search(r"\w", line)}


def shown_in_readme() -> set[str]:
    """The output that README.md says `vlm2vec demo` has."""
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```text\n(.+?)\n```", readme, re.DOTALL)
    return lines_without_scores(block)


# help and version


def test_version(run: Run) -> None:
    assert run("--version")[:2] == (0, f"vlm2vec {__version__}\n")


def test_help_names_every_command(run: Run) -> None:
    code, printed, _ = run("--help")
    assert code == 0
    assert all(command in printed for command in ("demo", "index", "search", "encode", "fit"))


@pytest.mark.parametrize("command", ["demo", "index", "search", "encode", "fit"])
def test_help_of_a_command_has_exit_codes_and_an_example_that_parses(command: str, run: Run) -> None:
    code, printed, _ = run(command, "--help")
    text = flat(printed)
    assert code == 0
    assert "Exit codes: 0 " in text
    example = text[text.index("Example: vlm2vec ") + len("Example: vlm2vec ") :]
    words = shlex.split(example)
    assert words[0] == command
    # Everything but the files it names is there: the only complaint is about those.
    code, _, complaint = run(*words, "--no-such-option")
    assert code == 2
    assert re.search("No such option:? '?--no-such-option", flat(complaint))


def test_help_and_wrong_names_are_answered_before_imports_that_take_seconds(tmp_path: Path) -> None:
    # In one process, for each would need the time to start: what one of them imports, all have.
    code = """
import sys
from vlm2vec.cli import main

def answered(*arguments):
    try:
        main(arguments)
    except SystemExit as end:
        return end.code

def loaded(*names):
    return [name for name in names if name in sys.modules]

heavy = ("torch", "transformers", "sentence_transformers", "av", "lancedb")
for arguments in ("--help", "search --help", "mmeb run --help", "serch x", "fit --frob", "search x none"):
    assert answered(*arguments.split()) in (0, 2), arguments
    # Typer's way to read values, which only the last of them has.
    assert not loaded("numpy", "PIL", *heavy, *(["pydantic"] if "none" not in arguments else [])), arguments
for arguments in (
    "fit none.yaml", "search x . --model mymodel --once", "encode a.png -o a.npz --model no/such/folder",
    "index . --model some/body", "mmeb run some/body -t mini", "serve mymodel", "mmeb list -t none",
    "index . --profile vlm2vec", "mmeb compare foo bar",
):
    assert answered(*arguments.split()) == 1, arguments
    assert not loaded(*heavy), arguments
print("all are answered")
"""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tmp_path,
        env=environment,
        check=False,
    )
    assert done.stdout.endswith("all are answered\n"), done.stderr
    said = done.stderr.splitlines()
    assert "error: mymodel: there is no such folder, and an id on the hub is OWNER/NAME. Pass the folder" in (
        flat(done.stderr)
    )
    assert any("there is no profile 'vlm2vec'. Did you mean \"vlm2vec-v2\"?" in line for line in said)
    assert any(
        "there is no folder foo, and no scores were published for 'foo'. There are Col" in line
        for line in said
    )
    assert sum("some/body: there is no folder of this name, and the hub" in line for line in said) == 2


@pytest.mark.parametrize("command", [(), ("search",), ("mmeb",), ("mmeb", "download")])
def test_flags_are_shown_as_they_are_typed(command: tuple[str, ...], run: Run) -> None:
    code, printed, _ = run(*command, "--help")
    assert code == 0
    assert "--help" in printed
    assert "<bool>" not in printed
    assert "BOOLEAN" not in printed


@pytest.mark.parametrize(
    "command",
    [
        "demo",
        "index",
        "search",
        "serve",
        "encode",
        "fit",
        "doctor",
        "mmeb run",
        "mmeb download",
        "mmeb check",
    ],
)
def test_help_fits_a_terminal_of_80_columns(command: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    _, printed, _ = run(*command.split(), "--help")
    assert "…" not in printed  # nothing is cut off
    assert f"Example: vlm2vec {command}" in printed.rstrip().splitlines()[-1]  # in one line, to be copied
    ragged = [
        line
        for part in re.split(r"\n\s*\n", printed.partition("╭")[0])
        for line, following in itertools.pairwise(part.strip().splitlines())
        if len(line.rstrip()) + len(following.split()[0]) + 1 < 79
    ]
    assert not ragged  # lines end where the terminal does, and not where those of the source do


def test_it_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "vlm2vec", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == f"vlm2vec {__version__}\n"


# demo


def test_demo_ranks_right_answers_first_and_writes_the_gallery(run: Run, tmp_path: Path) -> None:
    code, printed, _ = run("demo")
    assert code == 0
    verdict = re.search(r"(\d) of 6 queries ranked their right answer first among 16 items", printed)
    assert verdict is not None
    assert int(verdict[1]) == 6
    assert len(re.findall(r"^ +1 +0\.\d{3} .+ right *$", printed, re.MULTILINE)) == 6
    gallery = tmp_path / "vlm2vec-demo" / "gallery.html"
    assert f"Gallery: {Path('vlm2vec-demo', 'gallery.html')}" in printed
    page = gallery.read_text(encoding="utf-8")
    assert page.count("<section>") == 6
    assert page.count("<img ") == 30
    for link in re.findall(r'href="([^"#]+)', page):
        assert (gallery.parent / link).is_file()
    assert shown_in_readme() <= lines_without_scores(printed)


def test_demo_writes_where_it_is_told(run: Run, tmp_path: Path) -> None:
    code, _, _ = run("demo", "--folder", "files", "--html", "page.html")
    assert code == 0
    assert (tmp_path / "page.html").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["files", "page.html"]


def test_demo_without_gallery(run: Run, tmp_path: Path) -> None:
    code, printed, _ = run("demo", "--no-html")
    assert code == 0
    assert "Gallery" not in printed
    assert not list(tmp_path.rglob("*.html"))


# search


def test_search_gives_one_result_per_image_clip_text_and_page(run: Run, some: Path) -> None:
    code, printed, _ = run("search", "a red circle", some, "--json", "--once")
    found = json.loads(printed)
    assert code == 0
    assert [row["rank"] for row in found["results"]] == [1, 2, 3, 4, 5, 6]
    assert sorted((row["file"], row["page"], row["kind"]) for row in found["results"] if not row["page"]) == [
        ("a.mp4", None, "video"),
        ("a.png", None, "image"),
        ("note.txt", None, "text"),
    ]
    assert sorted(row["page"] for row in found["results"] if row["file"] == "a.pdf") == [1, 2, 3]
    scores = [row["score"] for row in found["results"]]
    assert scores == sorted(scores, reverse=True)
    assert found["broken"] == []


def test_search_scores_are_those_of_the_model(run: Run, some: Path, embedded: VLM2Vec) -> None:
    _, printed, _ = run("search", "a red circle", some, "--json", "--instruction", "Find it.", "--once")
    score = next(row["score"] for row in json.loads(printed)["results"] if row["file"] == "a.png")
    query = embedded.encode_query("a red circle", instruction="Find it.")
    assert score == pytest.approx(float(query @ embedded.encode_document(some / "a.png")), abs=2e-6)


def test_a_query_that_cannot_be_embedded_is_told_before_files_are_read(
    run: Run, some: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(VLM2Vec, "encode_document", lambda *_, **__: pytest.fail("files were embedded"))
    code, _, errors = run("search", "word " * 40_000, some, "--once")
    assert code == 1
    assert "the model's context holds" in flat(errors)


def test_search_prints_a_table_of_the_best(run: Run, some: Path) -> None:
    code, printed, errors = run("search", "a [bold]red[/bold] circle", some, "--top", "2", "--once")
    assert code == 0
    assert "a [bold]red[/bold] circle" in printed
    assert len(re.findall(r"^ +\d +-?0\.\d{3} ", printed, re.MULTILINE)) == 2
    assert errors == ""


def test_search_writes_a_gallery(run: Run, some: Path, tmp_path: Path) -> None:
    code, _, errors = run("search", "a red circle", some, "--html", "found.html", "--once")
    assert code == 0
    assert "Gallery: found.html" in errors
    page = (tmp_path / "found.html").read_text(encoding="utf-8")
    assert 'href="some/a.png"' in page
    assert 'href="some/a.pdf#page=2"' in page
    assert "a red circle</p>" in page  # the text file's own words


def test_search_lists_broken_files_at_the_end_and_says_so_by_its_exit_code(run: Run, some: Path) -> None:
    (some / "cut.png").write_bytes((some / "a.png").read_bytes()[:700])
    (some / "empty.pdf").write_bytes(b"")
    code, printed, errors = run("search", "a red circle", some, "--json", "--once")
    assert code == 3
    broken = {row["file"]: row["reason"] for row in json.loads(printed)["broken"]}
    assert sorted(broken) == ["cut.png", "empty.pdf"]
    assert len(json.loads(printed)["results"]) == 6
    assert "2 could not be read:" in errors
    assert errors.index("cut.png: ") > 0 < errors.index("empty.pdf: ")
    assert "Traceback" not in errors


@pytest.mark.filterwarnings("default::vlm2vec.errors.VLM2VecWarning")
def test_a_clip_with_a_broken_tail_is_found_and_warned_about_once(run: Run, some: Path) -> None:
    cut_short(some / "a.mp4", some / "tail.mkv")
    code, printed, errors = run("search", "a red circle", some, "--json", "--html", "found.html", "--once")
    assert code == 0
    assert "tail.mkv" in {row["file"] for row in json.loads(printed)["results"]}
    assert errors.count("tail.mkv: the file is cut off") == 1
    assert ".py:" not in errors


def test_search_counts_files_of_other_kinds(run: Run, some: Path) -> None:
    (some / "table.csv").write_text("1, 2")
    code, _, errors = run("search", "a red circle", some, "--once")
    assert code == 0
    assert "Left out, of other kinds: 1 .csv." in errors


@pytest.mark.parametrize("content", [None, b""])
def test_search_that_finds_nothing_exits_with_1(content: bytes | None, run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    if content is not None:
        (folder / "empty.png").write_bytes(content)
    code, printed, errors = run("search", "a red circle", folder, "--once")
    assert (code, printed) == (1, "")
    assert "can be searched" in flat(errors)


def test_search_where_every_file_breaks_on_reading_exits_with_1(run: Run, some: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cut"
    folder.mkdir()
    (folder / "cut.png").write_bytes((some / "a.png").read_bytes()[:700])
    code, _, errors = run("search", "a red circle", folder, "--once")
    assert code == 1
    assert "cut.png: " in errors


@pytest.mark.parametrize(
    "arguments", [("search", "q", "no-such-folder"), ("search", "q"), ("search", "q", ".", "--top", "0")]
)
def test_wrong_usage_exits_with_2(arguments: tuple[str, ...], run: Run) -> None:
    code, _, errors = run(*arguments)
    assert code == 2
    assert "Usage: " in errors


def test_errors_of_the_package_are_one_line_without_traceback(run: Run, some: Path) -> None:
    code, _, errors = run("encode", some / "a.png", "missing.png", "--output", "v.npz")
    assert code == 1
    assert flat(errors).strip().startswith("error: ")
    assert "missing.png" in errors


def test_a_model_that_is_not_there_is_an_error_and_not_a_traceback(run: Run, some: Path) -> None:
    code, _, errors = run("search", "q", some, "--model", "no-such-folder/model", "--once")
    assert code == 1
    assert "no-such-folder" in errors


def test_search_takes_a_checkpoint_with_its_profile(run: Run, some: Path, golden: Path) -> None:
    model = str(golden / "tiny_qwen2vl")
    code, printed, _ = run(
        "search", "q", some, "--json", "--model", model, "--profile", "vlm2vec-v2", "--once"
    )
    assert code == 0
    assert len(json.loads(printed)["results"]) == 6
    code, _, errors = run("search", "q", some, "--model", model, "--once")
    assert code == 1
    assert "vlm2vec-v2" in errors  # the profiles to choose from


# encode


def test_encode_writes_vectors_and_names(run: Run, some: Path, embedded: VLM2Vec) -> None:
    files = [some / "a.png", some / "a.pdf", some / "note.txt"]
    code, printed, _ = run("encode", *files, "--output", "v.npz")
    assert code == 0
    stored = np.load("v.npz")
    assert stored["vectors"].dtype == np.float32
    assert stored["names"].tolist() == [path.as_posix() for path in files]
    np.testing.assert_allclose(stored["vectors"], embedded.encode_document(files), atol=5e-7)
    assert f"3 x {stored['vectors'].shape[1]} vectors in v.npz" in printed


def test_encode_gives_pages_and_follows_the_instruction(run: Run, some: Path, embedded: VLM2Vec) -> None:
    code, _, _ = run("encode", some / "a.pdf", "-o", "v.npz", "--pages", "--instruction", "Say the title.")
    assert code == 0
    stored = np.load("v.npz")
    assert [name.rpartition("#")[2] for name in stored["names"]] == ["page=1", "page=2", "page=3"]
    expected = embedded.encode({"pdf": some / "a.pdf", "page": 2}, instruction="Say the title.")
    np.testing.assert_allclose(stored["vectors"][1], expected, atol=5e-7)


def test_encode_never_replaces_a_file_without_force(run: Run, some: Path) -> None:
    Path("v.npz").write_text("mine")
    code, _, errors = run("encode", some / "a.png", "--output", "v.npz")
    assert code == 2
    assert "--force" in errors
    assert Path("v.npz").read_text() == "mine"
    assert run("encode", some / "a.png", "--output", "v.npz", "--force")[0] == 0
    assert np.load("v.npz")["vectors"].shape[0] == 1


def test_encode_writes_the_target_of_a_link_and_nothing_but_regular_files(
    run: Run, some: Path, tmp_path: Path
) -> None:
    target = tmp_path / "target.npz"
    Path("link.npz").symlink_to(target)
    assert run("encode", some / "a.png", "--output", "link.npz")[0] == 0
    assert np.load(target)["vectors"].shape[0] == 1
    assert Path("link.npz").is_symlink()
    os.mkfifo("pipe")
    code, _, errors = run("encode", some / "a.png", "--output", "pipe", "--force")
    assert code == 2
    assert "no regular file" in flat(errors)
    assert stat.S_ISFIFO(Path("pipe").stat().st_mode)


def test_encode_refuses_folders(run: Run, some: Path) -> None:
    code, _, errors = run("encode", some, "--output", "v.npz")
    assert code == 2
    assert "a folder is one clip" in flat(errors)


@pytest.mark.parametrize("command", [("search", "a red circle", ".", "--once"), ("demo",)])
def test_a_gallery_without_a_folder_is_wrong_usage(command: tuple[str, ...], run: Run) -> None:
    code, printed, errors = run(*command, "--html", "nowhere/g.html")
    assert code == 2
    assert "There is no folder nowhere" in flat(errors)
    assert not printed


def test_an_empty_query_is_wrong_usage(run: Run, some: Path) -> None:
    code, _, errors = run("search", " ", some, "--once")
    assert code == 2
    assert "The query is empty" in flat(errors)


def test_encode_stops_at_a_broken_file_and_writes_nothing(run: Run, some: Path, tmp_path: Path) -> None:
    cut = some / "cut.png"
    cut.write_bytes((some / "a.png").read_bytes()[:700])
    code, _, errors = run("encode", some / "a.png", cut, "--output", "v.npz")
    assert code == 1
    assert "cut.png" in errors
    assert list(tmp_path.glob("v.npz*")) == []


def test_encode_gives_nan_rows_only_when_asked(run: Run, some: Path) -> None:
    cut = some / "cut.png"
    cut.write_bytes((some / "a.png").read_bytes()[:700])
    files = [some / "missing.png", some / "a.png", cut, some / "note.txt"]
    code, _, errors = run("encode", *files, "--output", "v.npz", "--on-error", "nan")
    assert code == 3
    stored = np.load("v.npz")
    assert np.isnan(stored["vectors"]).all(axis=1).tolist() == [True, False, True, False]
    assert stored["names"].tolist() == [path.as_posix() for path in files]
    assert "2 could not be read:" in errors
    assert "missing.png" in errors


def test_encode_where_nothing_can_be_read_writes_nothing_and_loads_no_model(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(VLM2Vec, "__init__", lambda *_, **__: pytest.fail("the model was loaded"))
    code, _, errors = run("encode", "missing.png", "--output", "v.npz", "--on-error", "nan")
    assert code == 1
    assert "missing.png: the file does not exist" in flat(errors)
    assert "nothing was written" in errors
    assert list(tmp_path.glob("v.npz*")) == []


def test_encode_into_a_folder_that_is_not_there_is_wrong_usage(run: Run, some: Path) -> None:
    assert run("encode", some / "a.png", "--output", "no/v.npz")[0] == 2


LONG = "a red circle " * 1_400


def test_encode_refuses_or_shortens_long_texts(run: Run, tmp_path: Path, embedded: VLM2Vec) -> None:
    (tmp_path / "long.txt").write_text(LONG)
    code, _, errors = run("encode", "long.txt", "-o", "v.npz")
    assert code == 1
    assert errors.startswith("error: long.txt: the input has ")
    assert "--truncate of `vlm2vec encode` and `vlm2vec search`" in flat(errors)
    assert run("encode", "long.txt", "-o", "v.npz", "--truncate")[0] == 0
    expected = embedded.encode_document(LONG, truncate=True)
    np.testing.assert_allclose(np.load("v.npz")["vectors"][0], expected, atol=5e-7)


def test_search_leaves_long_texts_out_or_shortens_them(run: Run, tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text(LONG)
    (tmp_path / "note.txt").write_text("a red circle")
    code, printed, _ = run("search", "a red circle", ".", "--json", "--once")
    assert code == 3
    (broken,) = json.loads(printed)["broken"]
    assert "--truncate of `vlm2vec encode`" in broken["reason"]
    code, printed, _ = run("search", LONG, ".", "--json", "--truncate", "--once")
    assert code == 0
    assert len(json.loads(printed)["results"]) == 2


def test_names_with_brackets_and_spaces_are_printed_as_they_are(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "[red] files"
    folder.mkdir()
    Image.new("RGB", (60, 60), "red").save(folder / "a [b] c.png")
    code, printed, _ = run("search", "red", folder, "--once")
    assert code == 0
    assert "a [b] c.png" in printed


def test_a_pipe_gets_whole_names_and_no_padding(run: Run, tmp_path: Path) -> None:
    name = "a-word-" * 20 + ".png"
    Image.new("RGB", (60, 60), "red").save(tmp_path / name)
    _, printed, _ = run("search", "red", ".", "--once")
    assert name in printed
    assert printed == "\n".join(line.rstrip() for line in printed.split("\n"))


def test_a_terminal_gets_names_without_their_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "first-" * 12 + "last.png"
    printed = io.StringIO()
    monkeypatch.setattr(
        report, "out", Console(file=printed, width=80, force_terminal=True, color_system=None)
    )
    item = Item(name, tmp_path / name, "image", tmp_path / name)
    report.print_ranking("red", [Ranked(1, 0.5, item)], right=item)
    (row,) = [line for line in printed.getvalue().splitlines() if "0.500" in line]
    assert len(row) <= 80
    assert re.search(r"first-.*…\S*last\.png +image +right", row)


@pytest.mark.parametrize(
    "command", [("search", "red", ".", "--once"), ("encode", "locked.pdf", "-o", "v.npz")]
)
def test_an_encrypted_pdf_is_left_to_python(
    command: tuple[str, ...], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "media"))
    from media_making import encrypted_pdf_bytes

    (tmp_path / "locked.pdf").write_bytes(encrypted_pdf_bytes("secret"))
    code, _, errors = run(*command)
    assert code == 1
    assert "The command line cannot open it; in Python, pdf_pages(" in flat(errors)


@pytest.mark.parametrize(
    "command",
    [
        ("search", "a red circle", ".", "--once", "--html", "closed/a.html"),
        ("demo", "--html", "closed/a.html"),
        ("encode", "note.txt", "-o", "closed/v.npz"),
        ("encode", "note.txt", "-o", "closed/old", "--force"),
    ],
    ids=["search", "demo", "encode", "replace"],
)
def test_a_folder_that_cannot_be_written_is_noticed_before_any_work(
    command: tuple[str, ...], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed" / "old").touch()
    (tmp_path / "note.txt").write_text("a red circle")

    def refuse(dir: Path) -> None:  # whoever runs this may be root, whom permissions do not stop
        raise PermissionError(13, "Permission denied", f"{dir}/x")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    monkeypatch.setattr(VLM2Vec, "__init__", lambda *_, **__: pytest.fail("the model was loaded"))
    code, printed, errors = run(*command)
    assert (code, printed) == (1, "")
    name = next(word for word in command if word.startswith("closed/"))
    assert errors == f"error: {name}: Permission denied\n"


def test_a_gallery_that_may_be_written_needs_no_folder_that_may(
    run: Run, some: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(dir: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    (tmp_path / "old.html").write_text("old")
    code, *_ = run("search", "a red circle", some, "--html", "old.html", "--once")
    assert code == 0
    assert (tmp_path / "old.html").read_text(encoding="utf-8") != "old"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(28, "No space left on device", "v.npz.part"), "v.npz.part: No space left on device"),
        (OSError("odd"), "odd"),
    ],
    ids=["named", "nameless"],
)
def test_an_error_of_the_system_is_one_line(
    error: OSError, line: str, run: Run, some: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("numpy.savez", full)
    code, _, errors = run("encode", some / "note.txt", "-o", "v.npz")
    assert (code, errors) == (1, f"error: {line}\n")


def test_a_pipe_without_unicode_gets_a_table_that_it_can_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(report, "out", Console(file=pipe, highlight=False))
    report.print_ranking("red", [Ranked(1, 0.5, Item("a.png", tmp_path, "image", tmp_path))])
    pipe.flush()
    assert b"a.png" in pipe.buffer.getvalue()
