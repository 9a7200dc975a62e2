"""Several ways of doing the same work, timed in turn in one process."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from machine import machine, processor

__all__ = ["Comparison", "Timed", "compare", "interleave", "processor", "report", "write_json"]

Way = TypeVar("Way", bound=Hashable)


@dataclass(frozen=True)
class Timed:
    """Median seconds of one way, by the clock and of all its threads, and what its first run gave."""

    seconds: float
    cpu_seconds: float
    result: Any


@dataclass(frozen=True)
class Comparison:
    """Median seconds of both ways, and how many times faster ours is."""

    work: str
    ours: float
    theirs: float
    ratio: float
    runs: int


def interleave(ways: Mapping[Way, Callable[[], Any]], *, runs: int) -> dict[Way, Timed]:
    """Time the ways in turn, A B A B, after one run of each that does not count."""
    first = {name: way() for name, way in ways.items()}
    taken: dict[Way, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(runs):
        for name, way in ways.items():
            begin = time.perf_counter(), time.process_time()
            way()
            taken[name].append((time.perf_counter() - begin[0], time.process_time() - begin[1]))
    medians = {name: map(statistics.median, zip(*of_way, strict=True)) for name, of_way in taken.items()}
    return {name: Timed(*medians[name], first[name]) for name in ways}


def compare(work: str, ours: Callable[[], object], theirs: Callable[[], object], *, runs: int) -> Comparison:
    """Time two ways in turn."""
    timed = interleave({"ours": ours, "theirs": theirs}, runs=runs)
    mine, other = timed["ours"].seconds, timed["theirs"].seconds
    return Comparison(work, mine, other, other / mine, runs)


def report(comparisons: list[Comparison], json_file: Path | None) -> None:
    """Print a table; write the numbers with the machine's name where a file is given."""
    print(f"{'work':44s} {'ours':>10s} {'theirs':>10s} {'ratio':>7s}")
    for one in comparisons:
        print(f"{one.work:44s} {one.ours * 1e3:8.1f} ms {one.theirs * 1e3:8.1f} ms {one.ratio:6.1f}x")
    if json_file is not None:
        write_json(json_file, {"machine": machine(), "comparisons": [asdict(one) for one in comparisons]})


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """Write numbers where they can be read by the plots and the table of the README: all or none of them."""
    file.parent.mkdir(parents=True, exist_ok=True)
    whole = file.with_name(f"{file.name}.new")
    whole.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    whole.replace(file)
