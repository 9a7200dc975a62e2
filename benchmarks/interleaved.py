"""Two ways of doing the same work, timed in turn in one process."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Comparison:
    """Median seconds of both ways, and how many times faster ours is."""

    work: str
    ours: float
    theirs: float
    ratio: float
    runs: int


def compare(work: str, ours: Callable[[], object], theirs: Callable[[], object], *, runs: int) -> Comparison:
    """Time both in turn, after one run of each that does not count."""
    ours()
    theirs()
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(runs):
        for way, taken in zip((ours, theirs), seconds, strict=True):
            begin = time.perf_counter()
            way()
            taken.append(time.perf_counter() - begin)
    median_ours, median_theirs = (statistics.median(taken) for taken in seconds)
    return Comparison(work, median_ours, median_theirs, median_theirs / median_ours, runs)


def report(comparisons: list[Comparison], json_file: Path | None) -> None:
    """Print a table; write the numbers with the machine's name where a file is given."""
    print(f"{'work':44s} {'ours':>10s} {'theirs':>10s} {'ratio':>7s}")
    for one in comparisons:
        print(f"{one.work:44s} {one.ours * 1e3:8.1f} ms {one.theirs * 1e3:8.1f} ms {one.ratio:6.1f}x")
    if json_file is not None:
        machine = {"processor": processor(), "cores": os.cpu_count(), "python": platform.python_version()}
        content = {"machine": machine, "comparisons": [asdict(one) for one in comparisons]}
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def processor() -> str:
    """Name of the processor, as the system knows it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
