"""`vlm2vec fit`: what it prints, what it writes, and its exit codes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from vlm2vec import VLM2Vec
from vlm2vec.cli import main

Run = Callable[..., tuple[int, str, str]]

ROWS = [
    {"query": f"a {word}", "document": f"a red {shape}"}
    for word, shape in {"flim": "circle", "blat": "cross", "quop": "ring", "zarn": "star"}.items()
]
MIXTURE = """
sources:
  pets: {loader: rows, file: pets.jsonl, weight: 3}
  more: {loader: rows, file: more.jsonl}
training: {batch_size: 4, sub_batch_size: 2, max_steps: 3, on_error: skip}
"""


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `vlm2vec fit` in a folder with `pets.yaml` and its rows in `data`."""
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    for name in ("pets", "more"):
        Path("data", f"{name}.jsonl").write_text("\n".join(map(json.dumps, ROWS)), encoding="utf-8")
    Path("pets.yaml").write_text(MIXTURE, encoding="utf-8")

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main(["fit", *arguments])
        printed = capsys.readouterr()
        return int(end.value.code or 0), printed.out, re.sub(r"[\s│]+", " ", printed.err)

    return run


def test_it_trains_saves_and_says_what_came_of_it(run: Run) -> None:
    code, printed, _ = run("pets.yaml", "--root", "data", "--output", "model", "--device", "cpu")
    assert code == 0
    first, loss, saved = printed.strip().splitlines()
    assert first.startswith("3 steps, 12 rows in ")
    assert loss.startswith("loss ")
    assert saved == "saved in model"
    assert VLM2Vec("model").encode("a flim").shape == VLM2Vec().encode("a flim").shape


def test_the_plan_is_printed_and_nothing_is_done(run: Run) -> None:
    code, printed, _ = run(
        "pets.yaml", "--root", "data", "--print-plan", "--max-steps", "8", "--device", "cpu"
    )
    assert code == 0
    assert re.search(r"pets +4 +3 +75.00%", printed)
    assert "4 rows: 2 sub-batches of 2, each of one source" in printed
    assert "8: 32 rows, 4.0 passes" in printed
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["data", "pets.yaml"]


def test_the_plan_needs_no_weights(run: Run) -> None:
    code, printed, _ = run("pets.yaml", "--root", "data", "--print-plan", "--model", "somebody/not-at-hand")
    assert code == 0
    assert "model     somebody/not-at-hand\n" in printed


def test_a_run_goes_on_where_it_was_and_is_never_written_over(run: Run) -> None:
    command = ("pets.yaml", "--root", "data", "--output", "model", "--device", "cpu")
    assert run(*command, "--max-steps", "2")[0] == 0
    code, _, errors = run(*command)
    assert code == 2
    assert "model is not empty. Add --resume" in errors
    code, printed, _ = run(*command, "--resume")
    assert code == 0
    assert printed.startswith("3 steps, ")
    assert Path("model", "checkpoint-3").is_dir()
    Path("pets.yaml").write_text(MIXTURE.replace("on_error: skip", "temperature: 0.5"), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VLM2Vec, "__init__", lambda *_, **__: pytest.fail("the model was loaded"))
        code, _, errors = run(*command, "--resume")
    assert code == 1
    assert "temperature is 0.5, and the run began with 0.02" in errors


def test_by_default_the_folder_has_the_files_name(run: Run) -> None:
    assert run("pets.yaml", "--root", "data", "--max-steps", "1", "--device", "cpu")[0] == 0
    assert Path("vlm2vec-fit", "pets", "modules.json").is_file()


def add_bad_row() -> None:
    with Path("data", "pets.jsonl").open("a", encoding="utf-8") as file:
        file.write('\n{"query": "", "document": "a red circle"}')


def test_bad_rows_that_were_left_out_show_in_the_exit_code(run: Run) -> None:
    add_bad_row()
    code, printed, _ = run("pets.yaml", "--root", "data", "--output", "model", "--device", "cpu")
    assert code == 3
    assert "bad rows left out: 1 of pets" in printed


@pytest.mark.slow
def test_bad_rows_that_were_left_out_are_told_once_under_a_launcher(run: Run) -> None:
    add_bad_row()
    # A launcher would take any code but 0 for a crash, and start again.
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]
    command = ["vlm2vec", "fit", "pets.yaml", "--root", "data", "--output", "ranks", "--device", "cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(
        [*launch, *command], env=environment, timeout=300, check=False, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert ended.stdout.count("bad rows left out: 1 of pets") == 1


def test_a_recipe_is_known_by_name_and_its_data_are_looked_for_here(run: Run) -> None:
    code, _, errors = run("image-small", "--print-plan")
    assert code == 1
    assert f"the data folder {Path('MMEB-train').absolute()} does not exist" in errors
    assert "pass --root." in errors


def test_what_is_no_config_is_an_error(run: Run) -> None:
    code, _, errors = run("vlm2vec-v3")
    assert code == 1
    assert errors.startswith(
        "error: there is no file vlm2vec-v3, and no recipe of that name. "
        'Did you mean "vlm2vec-v1"? The recipes are '
    )
    Path("bad.yaml").write_text(MIXTURE.replace("max_steps", "max_stepz"), encoding="utf-8")
    code, _, errors = run("bad.yaml", "--root", "data", "--print-plan")
    assert code == 1
    assert errors.startswith(
        'error: bad.yaml, training: unknown setting "max_stepz". Did you mean max_steps?'
    )


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VLM2Vec, "__init__", lambda *_, **__: pytest.fail("the model was loaded"))


@pytest.mark.usefixtures("no_model")
def test_a_bad_row_is_told_before_the_model_is_loaded(run: Run) -> None:
    Path("pets.yaml").write_text(MIXTURE.replace(", on_error: skip", ""), encoding="utf-8")
    add_bad_row()
    code, _, errors = run("pets.yaml", "--root", "data")
    assert code == 1
    assert "pets, row 4: the query is empty" in errors
    for name in ("pets", "more"):  # not that the row that is left has no negative
        Path("data", f"{name}.jsonl").write_text(
            f'{json.dumps(ROWS[0])}\n{{"query": "", "document": "a red circle"}}', encoding="utf-8"
        )
    code, _, errors = run("pets.yaml", "--root", "data")
    assert code == 1
    assert "pets, row 1: the query is empty" in errors


@pytest.mark.usefixtures("no_model")
def test_a_folder_that_cannot_be_written_is_told_before_the_model_is_loaded(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, errors = run("pets.yaml", "--root", "data", "--output", "pets.yaml/model")
    assert code == 2
    assert "pets.yamlisnofolder" in errors.replace(" ", "")  # the path is long, and broken into lines

    def refuse(dir: Path) -> None:  # whoever runs this may be root, whom permissions do not stop
        raise PermissionError(13, "Permission denied", f"{dir}/x")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    code, _, errors = run("pets.yaml", "--root", "data", "--output", "new/model")
    assert (code, errors.strip()) == (1, "error: new/model: Permission denied")


@pytest.mark.parametrize("options", [(), ("--print-plan",)])
@pytest.mark.usefixtures("no_model")
def test_rows_without_any_negative_are_told_before_the_model_is_loaded(
    run: Run, options: tuple[str, ...]
) -> None:
    for name in ("pets", "more"):
        Path("data", f"{name}.jsonl").write_text(json.dumps(ROWS[0]), encoding="utf-8")
    code, _, errors = run("pets.yaml", "--root", "data", *options)
    assert code == 1
    assert "no batch can have a negative" in errors


@pytest.mark.parametrize(
    "arguments", [(), ("pets.yaml", "--root", "nowhere"), ("pets.yaml", "--max-steps", "0")]
)
def test_wrong_usage_exits_with_2(arguments: tuple[str, ...], run: Run) -> None:
    assert run(*arguments)[0] == 2


def test_help_needs_no_torch() -> None:
    code = (
        "import sys\nfrom vlm2vec.cli import main\n"
        "try:\n    main(['fit', '--help'])\nexcept SystemExit:\n    pass\nprint('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
