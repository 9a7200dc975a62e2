"""`vlm2vec serve`: what is wrong is said before a server starts, in a line, with an exit code."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from vlm2vec.cli import main
from vlm2vec.errors import CheckpointError

pytest.importorskip("fastapi")


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str]:
    """Exit code and what was said."""
    with pytest.raises(SystemExit) as end:
        main(["serve", *arguments])
    return end.value.code, " ".join(capsys.readouterr().err.replace("│", " ").split())


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLM2VEC_API_KEY", raising=False)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--host", "0.0.0.0"), 1, "--api-key"),  # noqa: S104
        (("--host", "a b"), 1, "host"),
        (("--api-key", "two words"), 1, "API key"),
        (("--cors-origin", "search.example.com"), 1, "origin"),
        (("--allowed-host", "https://a.example"), 1, "allowed host"),
        (("--port", "70000"), 2, "65535"),
        (("--max-request-mb", "0"), 2, "--max-request-mb"),
        (("--log-format", "xml"), 2, "xml"),
        (("--host", "192.0.2.1", "--no-auth", "--port", "0"), 1, "192.0.2.1"),
    ],
    ids=repr,
)
def test_a_wrong_option_is_named(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, said: str
) -> None:
    ended, text = refused(capsys, *arguments)
    assert ended == code
    assert said in text
    assert "Traceback" not in text
    assert "two words" not in text


def test_a_port_that_is_taken_is_an_error_before_a_model_is_loaded(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vlm2vec.cli.serve.load", None)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, text = refused(capsys, "--port", str(port))
    assert code == 1
    assert str(port) in text
    assert "--port" in text


def test_a_folder_that_is_not_there_has_no_index_to_make(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, text = refused(capsys, "--port", "0", "--index", str(tmp_path / "nowhere"))
    assert code == 2
    assert "There is no folder" in text
    assert "vlm2vec index" not in text


def test_an_index_without_lancedb_says_what_to_install(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vlm2vec-index.json").write_text('{"format": 1, "generation": 1}')
    monkeypatch.setitem(sys.modules, "lancedb", None)
    code, text = refused(capsys, "--port", "0", "--index", str(tmp_path))
    assert code == 1
    assert 'pip install ".[index]"' in text


_REFUSED = """
import socket, sys
from vlm2vec.cli import main
taken = socket.create_server(("127.0.0.1", 0))
port = str(taken.getsockname()[1])
for arguments in (["--index", "nowhere"], ["--index", "."], ["./nowhere"], ["--port", port],
                  ["--host", "0.0.0.0"]):
    try:
        main(["serve", *arguments])
    except SystemExit as end:
        print(end.code, "torch" in sys.modules)
"""


def test_what_needs_no_model_is_refused_before_torch_is_imported(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", _REFUSED]
    printed = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert printed.splitlines() == ["2 False", "2 False", "1 False", "1 False", "1 False"]


@pytest.mark.parametrize("form", ["text", "json"])
def test_it_says_that_it_loads_before_it_does(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    def load(*_: object, **__: object) -> None:
        raise CheckpointError("that was the loading")

    monkeypatch.setattr("vlm2vec.cli.serve.check_names", lambda *_: None)
    monkeypatch.setattr("vlm2vec.cli.serve.load", load)
    code, text = refused(capsys, "--port", "0", "--log-format", form, "owner/model")
    assert code == 1
    said = "loading ... model=owner/model" if form == "text" else '"loading ...", "model": "owner/model"'
    assert text.index(said) < text.index("that was the loading")


def test_a_folder_without_an_index_is_an_error(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, text = refused(capsys, "--port", "0", "--index", str(tmp_path))
    assert code == 2
    assert "vlm2vec index" in text


def test_a_model_that_is_not_there_is_an_error(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, text = refused(capsys, str(tmp_path / "nowhere"), "--port", "0")
    assert code == 1
    assert "nowhere" in text
    assert "Traceback" not in text


def test_without_the_extra_it_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "vlm2vec.cli.serve.find_spec", lambda name: None if name == "uvicorn" else found(name)
    )
    code, text = refused(capsys)
    assert code == 1
    assert 'pip install ".[serve]"' in text
    assert "uvicorn" in text
