"""Ctrl-C ends a command at once, says what that means, and gives the exit code of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vlm2vec import VLM2Vec
from vlm2vec.cli import main
from vlm2vec.cli.stop import stopped_means, stopping_at_once

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are others there")

PROGRAM = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job that a shell put aside ignores it
from vlm2vec.cli.stop import stopped_means, stopping_at_once
class Slow:
    def __del__(self): print("tidied up")
slow = Slow()
with stopping_at_once(is_program=True), stopped_means("nothing was written"):
    {work}
"""
READY = 'print("ready", flush=True); time.sleep(60)'
WORK = {
    "at work": READY,
    "loading a module": "import slow_module",
    "slow to stop": f"""
    try: {READY}
    except KeyboardInterrupt: {READY}
""",
}


@pytest.mark.parametrize("work", WORK)
def test_a_program_ends_with_one_line_and_130(work: str, tmp_path: Path) -> None:
    (tmp_path / "slow_module.py").write_text(f"import time; {READY}")
    command = [sys.executable, "-c", PROGRAM.format(work=WORK[work])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(tmp_path)])}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        for _ in range(2 if work == "slow to stop" else 1):
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGINT)
        printed, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, printed) == (130, "")
    assert said.splitlines()[0] == "stopped; nothing was written"
    assert work == "at work" or said == "stopped; nothing was written\n"


@pytest.fixture
def default_handler() -> Iterator[None]:
    """Python's own, also where a shell has put the tests aside, so that they ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.usefixtures("default_handler")
@pytest.mark.parametrize(
    ("output", "meaning"),
    [("v.npz", "nothing was written"), ("v/", "the same command goes on where it was")],
)
def test_encode_says_what_is_left(
    output: str,
    meaning: str,
    tmp_path: Path,
    embedded: VLM2Vec,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text("a red circle")
    monkeypatch.setattr("vlm2vec.cli.encode.load", lambda *_, **__: embedded)
    monkeypatch.setattr("vlm2vec.encoding.batch_forward.BatchForward.__call__", interrupt)
    with pytest.raises(SystemExit) as ended:
        main(["encode", "a.txt", "--output", output])
    assert ended.value.code == 130
    assert f"stopped; {meaning}\n" in capfd.readouterr().err
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_one_who_takes_the_signal_himself_still_does(capfd: pytest.CaptureFixture[str]) -> None:
    taken: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: taken.append(number))
    try:
        with stopping_at_once(is_program=False), stopped_means("nothing was written"):
            interrupt()
    finally:
        signal.signal(signal.SIGINT, before)
    assert taken == [signal.SIGINT]
    assert capfd.readouterr().err == ""
