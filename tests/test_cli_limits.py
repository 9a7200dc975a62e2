"""The limits of one input as options of the commands that read files of users."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from vlm2vec import Limits
from vlm2vec.cli import app, fit, main
from vlm2vec.cli import limits as cli_limits
from vlm2vec.cli.limits import as_options, with_limits

READING = (("encode",), ("index",), ("search",), ("fit",), ("mmeb", "run"))


def show(*, top: int = 3, limits: Limits) -> None:
    typer.echo(f"{top} {limits}")


def run(command: Any, *arguments: str) -> str:
    small = typer.Typer()
    small.command()(command)
    result = CliRunner().invoke(small, arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("command", READING)
def test_commands_that_read_files_have_an_option_for_each_limit(command: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200"}, color=False).stdout
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    for field in fields(Limits):
        assert f"--{field.name.replace('_', '-')} " in plain


def test_options_become_limits_and_those_left_out_their_defaults() -> None:
    expected = Limits(max_image_pixels=100, decode_seconds=1.5)
    told = run(with_limits(show), "--top", "7", "--max-image-pixels", "100", "--decode-seconds", "1.5")
    assert told == f"7 {expected}\n"
    assert run(with_limits(show)) == f"3 {Limits()}\n"


def test_a_new_field_is_an_option_with_its_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True)
    class More:
        """Limits.

        Attributes:
            max_moons: Moons of one planet that
                are counted. Others are not.
            max_rings: Its rings.
        """

        max_moons: int = 3
        max_rings: float = 0.5

    monkeypatch.setattr(cli_limits, "Limits", More)
    assert cli_limits._help() == {
        "max_moons": "Moons of one planet that are counted.",
        "max_rings": "Its rings.",
    }
    assert run(with_limits(show), "--max-moons", "9").endswith("max_moons=9, max_rings=0.5)\n")


def test_every_limit_says_what_it_is() -> None:
    said = cli_limits._help()
    assert list(said) == [field.name for field in fields(Limits)]
    assert all(words.endswith(".") for words in said.values())


def test_errors_name_options_on_the_command_line() -> None:
    assert as_options("Raise Limits.max_pdf_pages, or less.") == "Raise --max-pdf-pages, or less."


def test_a_limit_that_is_raised_lets_a_picture_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (60, 50)).save("a.png")
    with pytest.raises(SystemExit) as end:
        main(["encode", "a.png", "-o", "v.npz", "--max-image-pixels", "2999"])
    assert end.value.code == 1
    assert "raise --max-image-pixels" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(SystemExit) as end:
        main(["encode", "a.png", "-o", "v.npz", "--max-image-pixels", "3000"])
    assert end.value.code == 0
    assert np.load("v.npz")["vectors"].shape[0] == 1


def test_search_shows_what_its_limits_let_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (60, 50)).save(tmp_path / "a.png")
    (tmp_path / "b.txt").write_text("a red circle", encoding="utf-8")
    with pytest.raises(SystemExit) as end:
        main(["search", "a circle", str(tmp_path), "--once", "--max-image-pixels", "2999"])
    assert end.value.code == 3
    assert "raise --max-image-pixels" in " ".join(capsys.readouterr().err.split())


class LoadedError(Exception):
    """The model would be loaded now."""


def test_fit_gives_its_limits_to_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def load(*given: Any) -> None:
        asked.extend(given)
        raise LoadedError

    rows = [f'{{"query": "q{i}", "document": "d{i}"}}' for i in range(8)]
    (tmp_path / "pets.jsonl").write_text("\n".join(rows), encoding="utf-8")
    config = tmp_path / "pets.yaml"
    config.write_text(
        "sources: {pets: {loader: rows, file: pets.jsonl}}\n"
        "training: {batch_size: 4, sub_batch_size: 2, max_steps: 1}\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(fit, "load", load)
    where = ["--root", str(tmp_path), "--output", str(tmp_path / "out")]
    result = CliRunner().invoke(app, ["fit", str(config), *where, "--decode-seconds", "7"])
    assert isinstance(result.exception, LoadedError), result.output
    assert asked[-1] == Limits(decode_seconds=7)


def test_options_need_no_docstrings() -> None:
    command = [sys.executable, "-OO", "-m", "vlm2vec", "encode", "--help"]
    assert "--decode-seconds" in subprocess.run(command, check=True, capture_output=True, text=True).stdout
