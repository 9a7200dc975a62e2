"""Makes cases, has a worker read them, and keeps those that end badly."""

from __future__ import annotations

import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any

from .reader import Case
from .readers import READERS

__all__ = ["Report", "Worker", "again", "fuzz"]

_ROOT = Path(__file__).parents[len(str(__package__).split("."))]
_KEPT = 2  # cases of one finding
_MAX_CPU, _MAX_WALL = 4.0, 180.0  # times the CPU time a case may take; seconds for one that takes none
_START_SECONDS = 180.0
_LOOK_SECONDS = 0.5


@dataclass
class Report:
    """What came of a run.

    Attributes:
        outcomes: How often cases were read, or refused, by the name of the error.
        findings: Folders of what was found, with one line on each.
        seconds: That it took.
        cpu_seconds: Of the processes that read.
        is_stopped: Whether it was ended by hand.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    findings: dict[Path, str] = field(default_factory=dict)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    is_stopped: bool = False

    def __str__(self) -> str:
        total = sum(self.outcomes.values())
        rate = total / max(self.seconds, 1e-9)
        lines = [f"{total} cases, {rate:.1f} a second, {self.cpu_seconds / 60:.1f} minutes of CPU time"]
        lines += [f"{count:8} {name}" for name, count in self.outcomes.most_common()]
        lines += [f"{folder}: {line}" for folder, line in self.findings.items()]
        return "\n".join(lines)


class Worker:
    """The process that reads, started when it is needed, and again when it has died; a context manager."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._started: set[str] = set()
        self._spent = 0.0  # CPU time of the processes that have ended
        self._folder = Path(tempfile.mkdtemp(prefix="vlm2vec-fuzz-"))
        self._log = self._folder / "log.txt"

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def cpu_seconds(self) -> float:
        """CPU time of all its processes and of those that they started; 0 where the system does not tell."""
        return self._spent + (_tree_seconds(self._process.pid) if self._process else 0.0)

    def read(self, name: str, case: Case) -> dict[str, Any]:
        """What comes of a case. Its files are on the disk before it is tried."""
        folder = self._folder / "case"
        shutil.rmtree(folder, ignore_errors=True)
        write_case(case, folder)
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        # Loading a model for the first time is not the case's.
        first = name not in self._started
        self._started.add(name)
        process.stdin.write(f"{name} {folder}\n")
        process.stdin.flush()
        over = self._wait(process, READERS[name].seconds * _MAX_CPU + (_START_SECONDS if first else 0))
        line = "" if over else process.stdout.readline()
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        self._spent = self.cpu_seconds  # of one that is dead, too, until it is waited for
        if over:
            process.send_signal(signal.SIGABRT)  # says where it is
        code = process.wait()
        self._process = None
        log = self._log.read_text(encoding="utf-8", errors="replace")
        log = log.partition("Extension modules:")[0][-6000:]
        where = next((part.strip() for part in log.split("\n") if f"{os.sep}vlm2vec{os.sep}" in part), "")
        finding = over or "crash"
        return {
            "outcome": finding,
            "finding": finding,
            "key": f"{finding} {code} {where[-60:]}",
            "text": f"ended with {code}\n{log}",
        }

    def _start(self) -> subprocess.Popen[str]:
        paths = [str(_ROOT), str(Path(__file__).parents[1] / "media"), os.environ.get("PYTHONPATH", "")]
        self._started = set()
        with self._log.open("w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"{__package__}.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(filter(None, paths)),
                    "HF_HUB_OFFLINE": "1",
                    "TOKENIZERS_PARALLELISM": "false",
                    "MALLOC_ARENA_MAX": "2",  # each takes address space, which is limited
                },
            )
        return self._process

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    @staticmethod
    def _wait(process: subprocess.Popen[str], seconds: float) -> str | None:
        """Waits for an answer or the end; else "time" or "hang", by its CPU time and by the clock."""
        before: float | None = None
        waited = 0.0
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)  # type: ignore[arg-type]
            while not selector.select(timeout=_LOOK_SECONDS):
                before = _cpu_seconds(process.pid) if before is None else before  # most are answered by now
                if _cpu_seconds(process.pid) - before > seconds:
                    return "time"
                waited += _LOOK_SECONDS  # not the clock's: a run may be stopped for a while
                if waited > max(_MAX_WALL, 4 * seconds):
                    return "hang"
        return None


def _cpu_seconds(pid: int, *, children: bool = False) -> float:
    """CPU time of a process, and of its children that have ended; 0 where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(ticks) for ticks in fields[11 : 15 if children else 13]) / os.sysconf("SC_CLK_TCK")


def _tree_seconds(pid: int) -> float:
    """CPU time of a process and of all that it started."""
    try:
        lists = [path.read_text(encoding="ascii") for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:
        lists = []
    below = [int(child) for children in lists for child in children.split()]
    return _cpu_seconds(pid, children=True) + sum(map(_tree_seconds, below))


def cases_of(name: str, seed: int) -> Iterator[tuple[int, Case]]:
    """The cases of a reader by number, without end: its seeds as they are, then damaged ones."""
    seeds = READERS[name].seeds()
    yield from enumerate(seeds)
    index = len(seeds)
    while True:
        rng = Random(f"{name} {seed} {index}")  # noqa: S311  # the same cases are wanted
        yield index, READERS[name].damage(rng.choice(seeds), rng, seeds)
        index += 1


def fuzz(
    name: str,
    worker: Worker,
    findings: Path,
    *,
    seed: int,
    minutes: float | None = None,
    cpu_minutes: float | None = None,
    cases: int | None = None,
    first: int = 0,
) -> Report:
    """Run a reader over cases.

    Args:
        name: Of the reader.
        worker: Reads.
        findings: Folder that gets a folder for each finding.
        seed: Of the damage; the cases of a seed are always the same.
        minutes: How long.
        cpu_minutes: CPU time of the processes that read.
        cases: How many damaged ones, beside the seeds.
        first: Number of the first case.

    Returns:
        What came of it, also if it was stopped by Ctrl-C.
    """
    report, kept, start, spent = Report(), Counter[str](), time.monotonic(), worker.cpu_seconds
    looked = start
    sound = len(READERS[name].seeds()) if cases is not None else 0
    try:
        for index, case in cases_of(name, seed):
            now = time.monotonic()
            report.seconds = now - start
            if now - looked > _LOOK_SECONDS:
                report.cpu_seconds, looked = worker.cpu_seconds - spent, now
            if minutes is not None and report.seconds > 60 * minutes:
                break
            if cpu_minutes is not None and report.cpu_seconds > 60 * cpu_minutes:
                break
            if cases is not None and index >= sound + cases:
                break
            if index < first:
                continue
            answer = worker.read(name, case)
            report.outcomes[answer["outcome"]] += 1
            if answer["finding"] is None:
                continue
            kept[answer["key"]] += 1
            if kept[answer["key"]] <= _KEPT:
                folder = findings / f"{name}-{seed}-{index}"
                shutil.rmtree(folder, ignore_errors=True)
                write_case(case, folder / "case")
                about = {"reader": name, "seed": seed, "index": index, **answer}
                (folder / "finding.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
                report.findings[folder] = f"{answer['finding']}: {answer['key']}"
    except KeyboardInterrupt:
        report.is_stopped = True
    report.cpu_seconds = worker.cpu_seconds - spent
    return report


def again(folder: Path, worker: Worker) -> dict[str, Any]:
    """What comes of a finding now."""
    about = json.loads((folder / "finding.json").read_text(encoding="utf-8"))
    files = sorted((folder / "case").rglob("*"))
    case = {
        path.relative_to(folder / "case").as_posix(): path.read_bytes() for path in files if path.is_file()
    }
    return worker.read(about["reader"], case)


def write_case(case: Case, folder: Path) -> None:
    """Lay the files of a case into a folder."""
    for name, data in case.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
