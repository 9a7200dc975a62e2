"""What is fuzzed: a `Reader`, and what it must not do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

__all__ = ["Case", "Reader", "WrongResultError", "each_file"]

Case = dict[str, bytes]
"""What a reader is given: files by name, laid into one folder."""


class WrongResultError(Exception):
    """What was read is no result: it is not finite, has another size than promised, or breaks a rule."""


@dataclass(frozen=True)
class Reader:
    """One part of the package that reads what others wrote.

    Attributes:
        seeds: Cases that are sound, or broken on purpose; made in the process that runs the fuzzer.
        damage: A case made from one of the seeds.
        start: Loads what is needed, in the worker, and gives what reads the folder of a case. That raises a
            `VLM2VecError` for a case that it refuses, and `WrongResultError` for a result that is none.
        seconds: CPU time that a case may take.
        cases: How many cases take about two seconds.
    """

    seeds: Callable[[], list[Case]]
    damage: Callable[[Case, Random, Sequence[Case]], Case]
    start: Callable[[], Callable[[Path], None]]
    seconds: float
    cases: int


def each_file(
    damage: Callable[[bytes, Random, Sequence[bytes]], bytes], *, only: str | None = None
) -> Callable[[Case, Random, Sequence[Case]], Case]:
    """Damage to one file of a case; other files are those of the same suffix.

    Args:
        damage: Of the content.
        only: Suffix of the files that are damaged; all if not given.
    """

    def damaged(case: Case, rng: Random, seeds: Sequence[Case]) -> Case:
        names = [name for name in case if only is None or name.endswith(only)]
        name = rng.choice(sorted(names))
        suffix = name.rpartition(".")[2]
        others = [data for seed in seeds for other, data in seed.items() if other.endswith(suffix)]
        return {**case, name: damage(case[name], rng, others)}

    return damaged
