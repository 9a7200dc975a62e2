"""Damaged files of every reader: a result, or our own error, in time and memory; the same cases each time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .readers import READERS
from .runner import Worker, fuzz

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes cannot be waited for")


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    """One process for all readers: it loads torch once."""
    with Worker() as worker:
        yield worker


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_a_few_damaged_cases_end_well(name: str, worker: Worker, tmp_path: Path) -> None:
    report = fuzz(name, worker, tmp_path, seed=0, cases=READERS[name].cases)
    assert not report.findings, str(report)
    assert report.outcomes["read"], "nothing is read at all"
    assert len(report.outcomes) > 1, "nothing is refused"


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_damaged_cases_end_well(name: str, worker: Worker, tmp_path: Path) -> None:
    report = fuzz(name, worker, tmp_path, seed=1, minutes=2 / len(READERS))
    assert not report.findings, str(report)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process's CPU time by its number")
def test_a_run_ends_with_its_cpu_time(worker: Worker, tmp_path: Path) -> None:
    report = fuzz("records", worker, tmp_path, seed=2, cpu_minutes=1 / 60)
    assert 1 < report.cpu_seconds < 4
    assert report.seconds > 0.5 * report.cpu_seconds
